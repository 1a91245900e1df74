import type { Endpoint } from '@towpath/net';
import { describe, expect, test } from 'vitest';
import type { CloseReason, PpppSession } from '../src/index.ts';
import { decodeMessage } from '../src/codec/index.ts';
import { RelayServer } from '../src/server/index.ts';
import { SERVER_RTT_MS, World } from './connect-world.ts';

const EMPTY = { sockets: 0, timers: 0 };
const RELAYS: readonly Endpoint[] = [1, 2].map((at) => ({ address: `198.51.101.${at}`, port: 32_110 }));

/** When and why a session ends. */
function ending(world: World, session: PpppSession): { reason: CloseReason | undefined; at: number } {
  const end: { reason: CloseReason | undefined; at: number } = { reason: undefined, at: Number.NaN };
  session.attach({
    onData() {},
    onClose(reason) {
      end.reason = reason;
      end.at = world.clock.now();
    },
  });
  return end;
}

/** Messages of a type that reached the wire from one host. */
function count(world: World, from: string, type: string): () => number {
  let found = 0;
  world.internet.observe(({ event, packet }) => {
    if (event === 'sent' && packet.source === from && decodeMessage(packet.payload).type === type) found++;
  });
  return () => found;
}

describe('time to a relay', () => {
  test.each([
    ['at the usual port of a server', 0, {}, 3],
    ['that is named', 1, { relays: [RELAYS[0]!] }, 3],
    ['that the servers have to name first', 1, {}, 4],
  ] as const)('a relay %s carries early (A7)', async (_where, relays, options, roundTrips) => {
    const world = await World.make({ relays });
    await world.startDevice();
    const { session, ms } = await world.timed(world.byRelay(options));
    expect(ms).toBeLessThanOrEqual(roundTrips * SERVER_RTT_MS + 5);
    expect(ms).toBeLessThanOrEqual(3 * SERVER_RTT_MS + 50);
    expect(await world.echo(session, new Uint8Array(100))).toHaveLength(100);
    expect(await world.end(session)).toEqual(EMPTY);
  });

  test('the socket is reported, and the preferred port taken (A4, B6)', async () => {
    const world = await World.make();
    await world.startDevice();
    const ports: number[] = [];
    const { session } = await world.timed(
      world.byRelay({ localPort: 40_001, onSocket: ({ port }) => ports.push(port) }),
    );
    expect([ports, session.local.port]).toEqual([[40_001], 40_001]);
    expect(await world.end(session)).toEqual(EMPTY);
  });

  test('TCP joins in after a while when UDP brings no answer, and not when it does', async () => {
    const world = await World.make({ client: 'udpBlocked' });
    await world.startDevice();
    const quick = await world.timed(world.byRelay({ tcpAfterMs: 50 }));
    const usual = await world.timed(world.byRelay());
    expect(usual.ms - quick.ms).toBeCloseTo(250, 0);
    const only = await world.timed(world.byRelay({ transport: 'tcp' }));
    expect(only.ms).toBeLessThanOrEqual(6 * SERVER_RTT_MS + 5);
    await expect(world.clock.runUntil(world.byRelay({ transport: 'udp' }))).rejects.toMatchObject({
      code: 'server-unreachable',
    });
    expect(await world.end(quick.session, usual.session, only.session)).toEqual(EMPTY);

    const free = await World.make();
    await free.startDevice();
    const { session } = await free.timed(free.byRelay({ tcpAfterMs: 50 }));
    await free.clock.advance(5_000);
    expect(free.rendezvous[0]!.metrics.tcp.accepted + free.relays[0]!.metrics.tcp.accepted).toBe(0);
    expect(await free.end(session)).toEqual(EMPTY);
  });
});

describe('several relays', () => {
  test('the next serves when one is dead, without waiting for it', async () => {
    const world = await World.make({ relays: 2 });
    await world.startDevice();
    world.relayHosts[0]!.unplug();
    for (const relays of [undefined, RELAYS]) {
      const { session, ms } = await world.timed(world.byRelay(relays === undefined ? {} : { relays }));
      expect(session.peer.address).toBe(RELAYS[1]!.address);
      expect(ms).toBeLessThanOrEqual(4 * SERVER_RTT_MS + 5);
      await world.clock.runUntil(session.close());
    }
    expect(await world.end()).toEqual(EMPTY);
  });

  test('the next serves when the device does not come to one', async () => {
    const world = await World.make({ relays: 2 });
    await world.startDevice();
    world.internet.intercept((packet, next) => {
      if (packet.source !== world.camera.address || packet.destination !== RELAYS[0]!.address) next();
    });
    const { session, ms } = await world.timed(world.byRelay({ relays: [RELAYS[0]!, RELAYS[1]!] }));
    expect(session.peer.address).toBe(RELAYS[1]!.address);
    expect(ms).toBeLessThan(1_000);
    expect(await world.end(session)).toEqual(EMPTY);
  });

  test('the next serves when the servers do not want one', async () => {
    const world = await World.make({ relays: 2, rendezvous: { relays: [RELAYS[1]!] } });
    await world.startDevice();
    const { session, ms } = await world.timed(world.byRelay({ relays: RELAYS }));
    expect(session.peer.address).toBe(RELAYS[1]!.address);
    expect(ms).toBeLessThanOrEqual(6 * SERVER_RTT_MS);
    expect(await world.end(session)).toEqual(EMPTY);
  });

  test.each([
    ['none is named', { rendezvous: { relays: [] } }, {}, 'no-relay'],
    ['the only one is foreign', { rendezvous: { relays: [] } }, { relays: RELAYS }, 'no-relay'],
    ['all are full', { relay: { limits: { sessions: 0 } } }, {}, 'relay-unreachable'],
  ] as const)('the reason is told when %s', async (_why, make, options, code) => {
    const world = await World.make({ relays: 2, ...make });
    await world.startDevice();
    await expect(world.clock.runUntil(world.byRelay(options))).rejects.toMatchObject({ code });
    expect(await world.end()).toEqual(EMPTY);
  });

  test('a device that does not come to any relay is told from a dead relay', async () => {
    const world = await World.make();
    await world.startDevice();
    world.camera.unplug();
    const startedAt = world.clock.now();
    await expect(world.clock.runUntil(world.byRelay({ timeoutMs: 3_000 }))).rejects.toMatchObject({
      code: 'no-answer',
    });
    expect(world.clock.now() - startedAt).toBeLessThanOrEqual(3_100);
    expect(await world.end()).toEqual(EMPTY);
  });
});

describe('a session over a relay', () => {
  test.each([
    ['portRestricted', 'portRestricted', 1_000],
    ['udpBlocked', 'udpBlocked', 1_500],
  ] as const)(
    'ends with carrier-failed soon after its relay died: %s client, %s device',
    async (client, device, limitMs) => {
      const world = await World.make({ client, device });
      await world.startDevice();
      const { session } = await world.timed(world.byRelay());
      await world.clock.advance(500);
      // In the middle of a transfer, of which the client only acknowledges.
      world.sessions[0]!.write(3, new Uint8Array(5_000_000));
      await world.clock.advance(500);
      const ends = [session, world.sessions[0]!].map((each) => ending(world, each));
      const diedAt = world.clock.now();
      world.relayHosts[0]!.unplug();
      await world.clock.advance(4_000);
      expect(ends.map(({ reason }) => reason)).toEqual(['carrier-failed', 'carrier-failed']);
      for (const { at } of ends) expect(at - diedAt).toBeLessThan(limitMs);
      expect(await world.end()).toEqual(EMPTY);
    },
  );

  test('ends with carrier-failed when its relay was restarted and knows nothing of it', async () => {
    const world = await World.make({ relays: 0 });
    await world.startDevice();
    const { session } = await world.timed(world.byRelay());
    const end = ending(world, session);
    await world.clock.advance(2_000);
    const { network } = world.relayHosts[0]!;
    const cut = world.internet.intercept((packet, next) => {
      if (packet.source !== world.relayHosts[0]!.address) next();
    });
    await world.relays[0]!.close();
    await world.clock.advance(50);
    cut();
    const again = { network, clock: world.clock, random: world.random };
    world.relays[0] = await RelayServer.listen(again, { sessionPorts: 4, firstSessionPort: session.peer.port });
    await world.clock.advance(4_000);
    expect(end.reason).toBe('carrier-failed');
    expect(await world.end()).toEqual(EMPTY);
  });

  test('ends with closed-by-peer when its relay says that it stops', async () => {
    const world = await World.make();
    await world.startDevice();
    const { session } = await world.timed(world.byRelay());
    const end = ending(world, session);
    await world.clock.advance(500);
    await world.relays[0]!.close();
    await world.clock.advance(100);
    expect(end.reason).toBe('closed-by-peer');
    expect(await world.end()).toEqual(EMPTY);
  });

  test('does not take a dead device for a dead relay', async () => {
    const world = await World.make();
    await world.startDevice();
    const { session } = await world.timed(world.byRelay());
    const end = ending(world, session);
    await world.clock.advance(500);
    const diedAt = world.clock.now();
    world.camera.unplug();
    await world.clock.advance(20_000);
    expect(end.reason).toBe('timed-out');
    expect(end.at - diedAt).toBeGreaterThan(7_000);
    expect(await world.end()).toEqual(EMPTY);
  });

  test('costs no probes while it is idle, and lives on', async () => {
    const world = await World.make();
    await world.startDevice();
    const { session } = await world.timed(world.byRelay());
    await world.clock.advance(2_000);
    const probes = count(world, world.client.address, 'RLY_PKT');
    await world.clock.advance(120_000);
    expect(probes()).toBe(0);
    expect(session.closed).toBeUndefined();
    expect(await world.echo(session, new Uint8Array(10_000))).toHaveLength(10_000);
    expect(await world.end(session)).toEqual(EMPTY);
  });

  test('a busy session port is exchanged for another: five clients at once', async () => {
    for (const seed of [1, 2]) {
      const world = await World.make({ seed, relay: { sessionPorts: 8 } });
      await world.startDevice();
      const made = await Promise.all(Array.from({ length: 5 }, () => world.timed(world.byRelay())));
      expect(new Set(made.map(({ session }) => session.peer.port)).size).toBe(5);
      for (const { session, ms } of made) {
        expect(ms).toBeLessThan(3_500);
        expect(await world.echo(session, new Uint8Array(3_000))).toHaveLength(3_000);
      }
      expect(await world.end(...made.map(({ session }) => session))).toEqual(EMPTY);
    }
  });

  test('is not given up when its relay answers no questions', async () => {
    const world = await World.make({ lossRatio: 0.2 });
    await world.startDevice();
    const { session } = await world.timed(world.byRelay());
    const relay = world.relayHosts[0]!.address;
    world.internet.intercept((packet, next) => {
      const { type } = decodeMessage(packet.payload);
      if (packet.source !== relay || packet.destination !== world.deviceNat.externalAddress || type !== 'RLY_RDY')
        next();
    });
    await world.clock.advance(300_000);
    expect([session.closed, world.sessions[0]?.closed]).toEqual([undefined, undefined]);
    expect(await world.end(session)).toEqual(EMPTY);
  });

  test('a second client of the device has a session of its own', async () => {
    const world = await World.make();
    await world.startDevice();
    const first = await world.timed(world.byRelay());
    const second = await world.timed(world.byRelay());
    expect(world.sessions).toHaveLength(2);
    const echoes = await Promise.all(
      [first, second].map(({ session }, at) => world.echo(session, new Uint8Array(5_000).fill(at + 1))),
    );
    expect(echoes.map((bytes) => [bytes.length, bytes[0]])).toEqual([
      [5_000, 1],
      [5_000, 2],
    ]);
    expect(await world.end(first.session, second.session)).toEqual(EMPTY);
  });
});

describe('aborting a relay attempt', () => {
  test.each([
    ['udp', 'portRestricted'],
    ['tcp', 'udpBlocked'],
    ['auto', 'udpBlocked'],
  ] as const)('at any moment leaves nothing open, over %s (A6)', async (transport, client) => {
    const world = await World.make({ client });
    await world.startDevice();
    for (let afterMs = 0; afterMs <= 520; afterMs += 13) {
      const before = world.internet.openSockets;
      const controller = new AbortController();
      const settled = world.byRelay({ transport, signal: controller.signal }).then(
        (session) => session,
        (error: unknown) => error,
      );
      await world.clock.advance(afterMs);
      controller.abort();
      const outcome = await world.clock.runUntil(settled);
      if (outcome !== controller.signal.reason) await world.clock.runUntil((outcome as PpppSession).close());
      await world.clock.advance(300);
      expect([afterMs, world.internet.openSockets]).toEqual([afterMs, before]);
    }
    // A device that joined after its client had gone notices by its keep-alives.
    await world.clock.advance(10_000);
    expect(world.sessions.filter(({ closed }) => closed === undefined)).toEqual([]);
    expect(await world.end()).toEqual(EMPTY);
  });
});
