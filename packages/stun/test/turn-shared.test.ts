import { describe, expect, test } from 'vitest';
import { world } from './support/internet.ts';
import { bytes, client, peer, turnServer } from './support/turn.ts';
import { TurnServer } from '../src/turn/server/turn-server.ts';

const RELAY_PORTS = [50_000, 50_099] as const;

/** Two servers on one host, as two processes would be, but for the listening port. */
async function twoServers(shared: boolean) {
  const at = world();
  const first = await turnServer(at, { shared, relayPorts: RELAY_PORTS });
  const { host } = first;
  const second = await TurnServer.listen(
    { network: host.network, clock: at.clock, random: at.random },
    {
      listeners: [{ address: host.address, port: 3479 }],
      relay: [{ address: host.address }],
      relayPorts: RELAY_PORTS,
      shared,
      credentials: { users: { alice: 'wonderland' } },
    },
  );
  const alice = await client(at, at.internet.host(), first.server.locals[0]!);
  const bob = await client(at, at.internet.host(), second.locals[0]!);
  return { at, host, servers: [first.server, second], alice, bob };
}

describe('TURN in several processes', () => {
  test.each([
    [true, ['hello']],
    [false, []],
  ])('shared is %s: a client of one reaches %j of a client of the other (C9)', async (shared, expected) => {
    const { at, servers, alice, bob } = await twoServers(shared);
    const { address } = servers[0]!.locals[0]!;
    await at.clock.runUntil(Promise.all([alice.allocation.permit([address]), bob.allocation.permit([address])]));
    alice.allocation.send(bytes('hello'), bob.allocation.relayed[0]!);
    await at.clock.advance(100);
    expect(bob.received.map(({ text }) => text)).toEqual(expected);
    await Promise.all(servers.map((server) => server.close()));
  });

  test('services of the host outside the range of relayed ports stay closed', async () => {
    const { at, host, servers, alice } = await twoServers(true);
    const below = await peer(host, RELAY_PORTS[0] - 1);
    const above = await peer(host, RELAY_PORTS[1] + 1);
    await at.clock.runUntil(alice.allocation.permit([host.address]));
    for (const service of [below, above]) alice.allocation.send(bytes('let me in'), service.at);
    await at.clock.advance(100);
    expect([...below.received, ...above.received]).toEqual([]);
    expect(servers[0]!.stats.dropped.notPermitted).toBe(2);
    await Promise.all(servers.map((server) => server.close()));
  });

  test('TCP allocations are refused, because their data connections could come to another process', async () => {
    const { at, servers } = await twoServers(true);
    const tcp = { transport: 'tcp', peerTransport: 'tcp' } as const;
    const asked = client(at, at.internet.host(), servers[0]!.locals[1]!, tcp);
    await expect(asked).rejects.toMatchObject({ code: 'stun-refused', response: { code: 442 } });
    await Promise.all(servers.map((server) => server.close()));
  });
});
