import { describe, expect, it } from 'vitest';
import { PeerTraffic } from '../../src/connection/peer-traffic.ts';

describe('PeerTraffic', () => {
  /** Readings every `everyMs` of a peer that so much is received from and sent to in each interval. */
  function read(
    traffic: PeerTraffic,
    fromMs: number,
    everyMs: number,
    intervals: readonly (readonly [number, number])[],
  ) {
    let [receivedBytes, sentBytes] = [0, 0];
    const changes = [traffic.take(fromMs, { receivedBytes, sentBytes })];
    for (const [at, [received, sent]] of intervals.entries()) {
      receivedBytes += received;
      sentBytes += sent;
      changes.push(traffic.take(fromMs + (at + 1) * everyMs, { receivedBytes, sentBytes }));
    }
    return changes;
  }

  it('says what was carried since the reading before, and nothing for the first', () => {
    const changes = read(new PeerTraffic(), 1_000, 200, [
      [96, 128],
      [0, 64],
    ]);
    expect(changes).toEqual([
      undefined,
      { receivedBytes: 96, sentBytes: 128, sinceMs: 1_000, isBusy: false, fellSilent: false },
      { receivedBytes: 0, sentBytes: 64, sinceMs: 1_200, isBusy: false, fellSilent: false },
    ]);
  });

  it.each([
    [200, 3],
    [500, 1],
  ])('tells once, after half a second, that a busy peer fell silent, with a reading every %i ms', (everyMs, silent) => {
    const busy = Array.from({ length: 4 }, () => [2_000, 100] as const);
    const quiet = Array.from({ length: 8 }, () => [0, 50] as const);
    const changes = read(new PeerTraffic(), 0, everyMs, [...busy, ...quiet]).map(
      (change) => change?.fellSilent === true,
    );
    expect(changes.flatMap((fell, at) => (fell ? [at] : []))).toEqual([4 + silent]);
    expect(
      read(new PeerTraffic(), 0, everyMs, busy)
        .slice(1)
        .every((change) => change?.isBusy),
    ).toBe(true);
  });

  it('tells every half second that much is sent and nothing comes back', () => {
    const changes = read(
      new PeerTraffic(),
      0,
      250,
      Array.from({ length: 8 }, () => [0, 10_000] as const),
    );
    expect(changes.filter((change) => change?.fellSilent)).toHaveLength(4);
  });

  it('takes a ping for use, and the echoes of an idle peer not, whatever the readings', () => {
    for (const everyMs of [200, 5_000]) {
      const [pinged, idle] = [new PeerTraffic(), new PeerTraffic()];
      const perReading = Math.ceil((everyMs / 1_000) * 128);
      read(
        pinged,
        0,
        everyMs,
        Array.from({ length: 50 }, () => [perReading, perReading] as const),
      );
      // Two echoes and their answers at once, and a handshake.
      read(idle, 0, everyMs, [[0, 0], [400, 400], ...Array.from({ length: 50 }, () => [0, 0] as const)]);
      expect([pinged.isInUse, idle.isInUse]).toEqual([true, false]);
    }
  });

  it('is right when the counters begin anew', () => {
    const traffic = new PeerTraffic();
    traffic.take(0, { receivedBytes: 5_000, sentBytes: 5_000 });
    expect(traffic.take(200, { receivedBytes: 0, sentBytes: 10 })).toMatchObject({ receivedBytes: 0, sentBytes: 0 });
  });
});
