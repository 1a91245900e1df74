import type { NatKind } from '@towpath/net/simulated';
import { describe, expect, test } from 'vitest';
import { SERVER_RTT_MS, World } from './connect-world.ts';

const KINDS: readonly NatKind[] = [
  'open',
  'fullCone',
  'portRestricted',
  'symmetricSequential',
  'symmetricRandom',
  'udpBlocked',
];
const INDEPENDENT: ReadonlySet<NatKind> = new Set(['open', 'fullCone', 'portRestricted']);
const PAIRS = KINDS.flatMap((client) => KINDS.map((device): [NatKind, NatKind] => [client, device]));

/** One side maps endpoint-independently, and nobody has to guess random ports to get past a port-dependent filter. */
function isDirect(client: NatKind, device: NatKind): boolean {
  if (client === 'udpBlocked' || device === 'udpBlocked') return false;
  if (client === 'portRestricted' && device === 'symmetricRandom') return false;
  if (client === 'symmetricRandom' && device === 'portRestricted') return false;
  return INDEPENDENT.has(client) || INDEPENDENT.has(device);
}

const DIRECT = PAIRS.filter(([client, device]) => isDirect(client, device));
const RELAYED = PAIRS.filter(([client, device]) => !isDirect(client, device));

const DATA = new Uint8Array(20_000).map((_, at) => at * 7);

describe('rendezvous through every pair of NATs', () => {
  test.each(DIRECT)('a %s client reaches a %s device directly (A2, A7)', async (client, device) => {
    const world = await World.make({ client, device });
    await world.startDevice();
    const { session, ms } = await world.timed(world.byRendezvous());
    expect(session).toMatchObject({ role: 'client', pathKind: 'p2p', uid: 'TEST-000001-BCDEF' });
    expect(world.sessions.at(-1)).toMatchObject({ role: 'device', pathKind: 'p2p' });
    expect(ms).toBeLessThanOrEqual(4 * SERVER_RTT_MS + 50);
    expect(await world.echo(session, DATA)).toEqual(Buffer.from(DATA));
    expect(await world.end(session)).toEqual({ sockets: 0, timers: 0 });
  });

  test.each(RELAYED)('a %s client learns that a %s device needs a relay', async (client, device) => {
    const world = await World.make({ client, device });
    await world.startDevice();
    const code = client === 'udpBlocked' ? 'server-unreachable' : 'no-answer';
    await expect(world.clock.runUntil(world.byRendezvous())).rejects.toMatchObject({ code });
    expect(world.sessions).toEqual([]);
    expect(await world.end()).toEqual({ sockets: 0, timers: 0 });
  });
});

describe('relay through every pair of NATs', () => {
  test.each(PAIRS)('carries a %s client to a %s device (A7)', async (client, device) => {
    const world = await World.make({ client, device });
    await world.startDevice();
    const { session, ms } = await world.timed(world.byRelay());
    expect(session).toMatchObject({ role: 'client', pathKind: 'relay', uid: 'TEST-000001-BCDEF' });
    expect(world.sessions.at(-1)).toMatchObject({ role: 'device', pathKind: 'relay' });
    expect(ms).toBeLessThanOrEqual(client === 'udpBlocked' ? 700 : 6 * SERVER_RTT_MS);
    expect(await world.echo(session, DATA)).toEqual(Buffer.from(DATA));
    const udp = client === 'udpBlocked' ? 0 : 1;
    expect(world.relays[0]?.metrics).toMatchObject({
      sessionsReady: 1,
      tcpConnections: 1 - udp + (device === 'udpBlocked' ? 1 : 0),
    });
    expect(await world.end(session)).toEqual({ sockets: 0, timers: 0 });
  });
});

describe('both ways at once', () => {
  test.each(DIRECT)(
    'a %s client still reaches a %s device directly while it asks relays (A2)',
    async (client, device) => {
      const world = await World.make({ client, device });
      await world.startDevice();
      const relaying = world.timed(world.byRelay());
      const [direct, relay] = await Promise.all([world.timed(world.byRendezvous()), relaying]);
      expect(direct.session.pathKind).toBe('p2p');
      expect(direct.ms).toBeLessThanOrEqual(6 * SERVER_RTT_MS + 50);
      expect(relay.session.pathKind).toBe('relay');
      expect(await world.end(direct.session, relay.session)).toEqual({ sockets: 0, timers: 0 });
    },
  );
});
