import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { StreamCipher } from '../src/cipher/stream-cipher.ts';
import type { SessionOptions } from '../src/session/options.ts';
import { streamBytes } from './channel-bytes.ts';
import { type PipeEnd, type PipeFaults, pipe } from './session-pipe.ts';

const CHANNELS = [0, 1, 2, 3, 4, 5, 6, 7];

/** Writes `bytes` on a channel in pieces, as fast as back-pressure lets it. */
function feed(end: PipeEnd, channel: number, bytes: number, pieceBytes: number): void {
  let at = 0;
  const go = () => {
    while (at < bytes) {
      const piece = streamBytes(at, Math.min(pieceBytes, bytes - at));
      at += piece.length;
      if (!end.session.write(channel, piece)) return;
    }
  };
  const drained = { channel, go };
  feeders.get(end)?.push(drained) ?? feeders.set(end, [drained]);
  end.session.attach({
    onData: (number, data) => end.streams[number]!.add(data),
    onDrain: (number) => {
      for (const feeder of feeders.get(end)!) if (feeder.channel === number) feeder.go();
    },
  });
  go();
}
const feeders = new WeakMap<PipeEnd, { channel: number; go: () => void }[]>();

describe('session streams', () => {
  test('arrive exact on all eight channels both ways through loss, duplication, delay and reordering up to 20 % (B1)', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          seed: fc.integer(),
          lossRatio: fc.double({ min: 0, max: 0.2, noNaN: true }),
          duplicateRatio: fc.double({ min: 0, max: 0.2, noNaN: true }),
          delayMs: fc.integer({ min: 0, max: 60 }),
          jitterMs: fc.integer({ min: 0, max: 30 }),
        }),
        fc.constantFrom<SessionOptions>({}, { sending: 'as-device' }),
        async (faults: PipeFaults, device) => {
          const { clock, client, device: camera } = pipe(faults, { device });
          const sizes = CHANNELS.map((channel) => 1 + channel * 4321);
          for (const channel of CHANNELS) {
            feed(client, channel, sizes[channel]!, 700);
            feed(camera, channel, sizes[channel]!, 3000);
          }
          for (let second = 0; second < 120 && !settled(client, camera); second++) await clock.advance(500);
          for (const end of [client, camera]) {
            expect(end.streams.map((stream) => stream.length)).toEqual(sizes);
            expect(end.streams.every((stream) => stream.intact)).toBe(true);
          }
          await clock.runUntil(Promise.all([client.session.close(), camera.session.close()]));
        },
      ),
      { numRuns: 25 },
    );
  });

  test('go on past index 65535, exact and once (B1)', async () => {
    const { clock, client, device } = pipe({ lossRatio: 0.02, duplicateRatio: 0.05, delayMs: 1, jitterMs: 1 });
    const bytes = 66_000 * 1024;
    feed(device, 3, bytes, 60_000);
    for (let step = 0; step < 600 && client.streams[3]!.length < bytes; step++) await clock.advance(200);
    expect(client.streams[3]).toMatchObject({ length: bytes, intact: true });
  });

  test('arrive exact in a keyed network', async () => {
    const cipher = new StreamCipher('camera');
    const { clock, client, device } = pipe({ lossRatio: 0.1, seed: 3 }, { cipher });
    feed(device, 4, 200_000, 10_000);
    await clock.advance(3000);
    expect(client.streams[4]).toMatchObject({ length: 200_000, intact: true });
    expect(device.sent[0]!.hex.startsWith('2c')).toBe(true);
  });

  test('what came before attach is delivered by it, in order', async () => {
    const { clock, client, device } = pipe({}, { attach: false });
    device.session.write(0, streamBytes(0, 3000));
    await clock.advance(50);
    expect(client.streams[0]!.length).toBe(0);
    client.attach();
    expect(client.streams[0]).toMatchObject({ length: 3000, intact: true });
    expect(device.session.bufferedBytes(0)).toBe(0);
  });

  test('a paused reader slows the writer down, and memory stays within the budget', async () => {
    const { clock, client, device } = pipe({}, { client: { receiveBudgetBytes: 64 * 1024 } });
    client.session.setPaused(3, true);
    let accepted = 0;
    while (device.session.write(3, streamBytes(accepted, 10_000))) accepted += 10_000;
    accepted += 10_000;
    await clock.advance(5000);
    expect(client.streams[3]!.length).toBe(0);
    const taken = accepted - device.session.bufferedBytes(3);
    expect(taken).toBeLessThanOrEqual(64 * 1024);
    expect(taken).toBeGreaterThan(63 * 1024);
    client.session.setPaused(3, false);
    await clock.advance(5000);
    expect(client.streams[3]).toMatchObject({ length: accepted, intact: true });
    expect(device.drains).toBe(1);
  });

  test('reports write as refused above the high-water mark and drains once', async () => {
    const { clock, client, device } = pipe({}, { device: { highWaterBytes: 100_000 } });
    expect(device.session.write(0, streamBytes(0, 400_000))).toBe(false);
    await clock.advance(1000);
    expect(device.drains).toBe(1);
    expect(client.streams[0]).toMatchObject({ length: 400_000, intact: true });
    expect(device.session.bufferedBytes(0)).toBe(0);
  });

  test('recovers a burst within a few round trips when the network comes back after 6 s', async () => {
    const { clock, client, device, state } = pipe({ delayMs: 10 });
    device.session.write(3, streamBytes(0, 100_000));
    await clock.advance(25);
    state.down = true;
    await clock.advance(6000);
    state.down = false;
    await clock.advance(1500);
    expect(client.streams[3]).toMatchObject({ length: 100_000, intact: true });
    expect(device.session.stats.retransmissions).toBeLessThan(220);
  });
});

function settled(...ends: PipeEnd[]): boolean {
  return ends.every(({ session }) => CHANNELS.every((channel) => session.bufferedBytes(channel) === 0));
}
