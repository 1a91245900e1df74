import type { Clock } from '@towpath/core';
import { describe, expect, test } from 'vitest';
import { timeLimitedCredentials } from '../src/turn/server/credentials.ts';
import { TurnServer } from '../src/turn/server/turn-server.ts';
import { type World, world } from './support/internet.ts';
import { closeWith, describeInBothPlanes, relayHost } from './support/planes.ts';
import { bytes, client, peer } from './support/turn.ts';

const SECRET = 'a secret that is long enough';
/** Permissions and channels of a client that refreshes them end later. */
const LIFE_MS = 400_000;

/** A relay of time-limited credentials that listens on one transport, and a client of it. */
async function scene(transport: 'udp' | 'tcp' | 'tls', peerTransport: 'udp' | 'tcp' = 'udp') {
  const at = world();
  const host = at.internet.host();
  const { network, plane } = await relayHost(at, { network: host.network, addresses: [host.address] });
  const server = await TurnServer.listen(
    { network, clock: at.clock, random: at.random, plane },
    {
      listeners: [{ transport, address: host.address, tls: { cert: '', key: '' } }],
      relay: [{ address: host.address }],
      credentials: { secrets: [SECRET] },
    },
  );
  const credentials = fresh(at);
  const alice = await client(at, at.internet.host(), server.locals[0]!, {
    transport,
    tls: { insecure: true },
    peerTransport,
    credentials,
  });
  return { at, server: closeWith(server, plane), alice, expiresAtMs: credentials.expiresAtMs };
}

const fresh = ({ clock }: World) => timeLimitedCredentials(SECRET, 'alice', LIFE_MS, clock.wallTime());

describeInBothPlanes('credentials that expire (A4)', () => {
  describe.each(['udp', 'tcp', 'tls'] as const)('over %s', (transport) => {
    test.each(['permission', 'channel'] as const)('end a %s at that second, both ways', async (kind) => {
      const { at, server, alice, expiresAtMs } = await scene(transport);
      const friend = await peer(at.internet.host());
      const arrive = async (text: string) => {
        alice.allocation.send(bytes(text), friend.at);
        friend.socket.send(bytes(text), alice.allocation.relayed[0]!);
        await at.clock.advance(200);
        return [friend, alice].map(({ received }) => received.at(-1)?.text === text);
      };
      if (kind === 'permission') await at.clock.runUntil(alice.allocation.permit([friend.at.address]));
      else await at.clock.runUntil(alice.allocation.bindChannel(friend.at));
      await at.clock.advance(expiresAtMs - at.clock.wallTime() - 1_000);
      expect(await arrive('a second before')).toEqual([true, true]);
      await at.clock.advance(expiresAtMs - at.clock.wallTime());
      expect(server.stats.allocations).toBe(0);
      expect(await arrive('at that second')).toEqual([false, false]);
      await at.clock.advance(60_000);
      expect(alice.lost).toHaveLength(1);
      await server.close();
    });

    test('that are replaced in time end nothing', async () => {
      const { at, server, alice } = await scene(transport);
      const friend = await peer(at.internet.host());
      await at.clock.runUntil(alice.allocation.bindChannel(friend.at));
      for (let round = 0; round < 8; round++) {
        await at.clock.advance(LIFE_MS - 60_000);
        alice.allocation.replaceCredentials(fresh(at));
      }
      alice.allocation.send(bytes('still'), friend.at);
      await at.clock.advance(200);
      expect([friend.received.at(-1)?.text, alice.lost, server.stats.allocated]).toEqual(['still', [], 1]);
      await server.close();
    });
  });

  test('credentials that are replaced a second before they expire are shown to the relay at once (A4)', async () => {
    const { at, server, alice, expiresAtMs } = await scene('udp');
    await at.clock.advance(expiresAtMs - at.clock.wallTime() - 1_000);
    alice.allocation.replaceCredentials(fresh(at));
    await at.clock.advance(60_000);
    expect([alice.lost, server.stats.allocations]).toEqual([[], 1]);
    await server.close();
  });

  test('a connection to a peer (RFC 6062) ends with the credentials (A4)', async () => {
    const { at, server, alice, expiresAtMs } = await scene('tcp', 'tcp');
    const ends: string[] = [];
    const host = at.internet.host();
    const listener = await host.network.listenTcp({
      address: host.address,
      onConnection: () => ({ onData() {}, onClose: () => void ends.push('peer') }),
    });
    const handlers = { onData() {}, onClose: () => void ends.push('client') };
    await at.clock.runUntil(alice.allocation.connectTcp(listener.local, handlers));
    await at.clock.advance(expiresAtMs - at.clock.wallTime() - 1_000);
    expect(ends).toEqual([]);
    await at.clock.advance(1_200);
    expect(ends.toSorted()).toEqual(['client', 'peer']);
    await listener.close();
    await server.close();
  });
});

test('a system clock that is set forward ends them within a minute, one that is set back does not end them early (A4)', async () => {
  for (const [stepMs, left] of [
    [LIFE_MS, 0],
    [-LIFE_MS, 1],
  ] as const) {
    const at = world();
    let offsetMs = 0;
    const clock: Clock = {
      now: () => at.clock.now(),
      wallTime: () => at.clock.wallTime() + offsetMs,
      sleep: (delayMs, signal) => at.clock.sleep(delayMs, signal),
      timer: (delayMs, callback) => at.clock.timer(delayMs, callback),
    };
    const host = at.internet.host();
    const server = await TurnServer.listen(
      { network: host.network, clock, random: at.random },
      {
        listeners: [{ address: host.address }],
        relay: [{ address: host.address }],
        credentials: { secrets: [SECRET] },
      },
    );
    await client(at, at.internet.host(), server.locals[0]!, { credentials: fresh(at) });
    offsetMs = stepMs;
    await at.clock.advance(61_000);
    expect(server.stats.allocations).toBe(left);
    if (left === 1) await at.clock.advance(LIFE_MS);
    expect(server.stats.allocations).toBe(left);
    await server.close();
  }
});
