import type { PathHealth } from '@towpath/core';
import { expect, test } from 'vitest';
import * as attr from '../src/message/attributes.ts';
import { MessageClass, Method } from '../src/message/header.ts';
import { StunWriter } from '../src/message/stun-writer.ts';
import { TurnAllocation } from '../src/turn/client/turn-allocation.ts';
import { TurnServer } from '../src/turn/server/turn-server.ts';
import { world } from './support/internet.ts';
import { describeInBothPlanes } from './support/planes.ts';
import { ALICE, bytes, client, peer, turnServer } from './support/turn.ts';

describeInBothPlanes('a client of a relay', () => {
  test.each([
    ['that is used', 100, 6_000],
    ['that is idle', 120_000, 16_000],
  ])('%s notices over UDP that the relay was restarted, within seconds (F)', async (_what, idleMs, withinMs) => {
    const at = world();
    const { server, host } = await turnServer(at);
    const alice = await client(at, at.internet.host(), server.locals[0]!);
    const friend = await peer(at.internet.host());
    await at.clock.runUntil(alice.allocation.bindChannel(friend.at));
    alice.allocation.send(bytes('hello'), friend.at);
    await at.clock.advance(idleMs);
    await server.close();
    const again = await TurnServer.listen(
      { network: host.network, clock: at.clock, random: at.random },
      {
        listeners: [{ address: host.address }],
        relay: [{ address: host.address }],
        credentials: { users: { alice: ALICE.password } },
      },
    );
    const before = at.clock.now();
    while (alice.lost.length === 0 && at.clock.now() - before < 60_000) await at.clock.advance(100);
    expect(alice.lost).toEqual(['turn-allocation-lost']);
    expect(at.clock.now() - before).toBeLessThanOrEqual(withinMs);
    await again.close();
  });

  test('that is asked to verify notices within a second that the relay was restarted, also while an old question is awaited', async () => {
    const at = world();
    const { server, host } = await turnServer(at);
    const alice = await client(at, at.internet.host(), server.locals[0]!);
    await at.clock.advance(5_000);
    await server.close();
    // The relay is away for so long that it is asked rarely, and each time for long.
    await at.clock.advance(125_600);
    const options = {
      listeners: [{ address: host.address }],
      relay: [{ address: host.address }],
      credentials: { users: { alice: ALICE.password } },
    };
    const again = await TurnServer.listen({ network: host.network, clock: at.clock, random: at.random }, options);
    const before = at.clock.now();
    alice.allocation.verify();
    while (alice.lost.length === 0 && at.clock.now() - before < 1_000) await at.clock.advance(50);
    expect(alice.lost).toEqual(['turn-allocation-lost']);
    await again.close();
  });

  test.each(['tcp', 'udp'] as const)('notices within 10 s that a used relay is gone over %s (F)', async (transport) => {
    const at = world();
    const { server } = await turnServer(at);
    const health: PathHealth[] = [];
    const lost: string[] = [];
    const handlers = {
      onData() {},
      onLost: ({ code }: { code: string }) => void lost.push(code),
      onHealth: (one: PathHealth) => void health.push(one),
    };
    const local = server.locals[transport === 'udp' ? 0 : 1]!;
    const alice = await client(at, at.internet.host(), local, { transport, handlers });
    const friend = await peer(at.internet.host());
    await at.clock.runUntil(alice.allocation.bindChannel(friend.at));
    const talk = async (ms: number) => {
      for (let passed = 0; passed < ms; passed += 500) {
        alice.allocation.send(bytes('data'), friend.at);
        await at.clock.advance(500);
      }
    };
    await talk(10_000);
    expect(health).toEqual([]);
    const restore = at.internet.intercept(() => {});
    await talk(10_000);
    expect(health).toContain('dead');
    restore();
    await talk(30_000);
    // A connection that carried nothing for so long is given up; a UDP allocation is still there.
    expect(lost).toEqual(transport === 'tcp' ? ['turn-allocation-lost'] : []);
    if (transport === 'udp') expect(health.at(-1)).toBe('good');
    await at.clock.runUntil(alice.allocation.close());
    await server.close();
    await at.clock.advance(120_000);
    expect(at.clock.pendingTimers).toBe(0);
  });

  test('that was killed gets a new allocation on the same socket and port', async () => {
    const at = world();
    const { server } = await turnServer(at);
    const { clock, random } = at;
    const host = at.internet.host();
    const init = { server: server.locals[0]!, credentials: ALICE, handlers: { onData() {} } };
    const socket = await host.network.bindUdp({ port: 40_000 });
    await clock.runUntil(TurnAllocation.open({ clock, random, socket }, init));
    // The process dies: its socket goes, the allocation stays.
    await socket.close();
    const next = await host.network.bindUdp({ port: 40_000 });
    const allocation = await clock.runUntil(TurnAllocation.open({ clock, random, socket: next }, init));
    expect([allocation.alive, server.stats.allocations]).toEqual([true, 1]);
    await clock.runUntil(allocation.close());
    await Promise.all([next.close(), server.close()]);
  });

  test('hears of ICMP errors that the relay reports (RFC 8656 §11.5)', async () => {
    const at = world();
    const { server } = await turnServer(at);
    const errors: unknown[] = [];
    const handlers = { onData() {}, onIcmpError: (from: unknown, icmp: unknown) => void errors.push([from, icmp]) };
    const alice = await client(at, at.internet.host(), server.locals[0]!, { handlers });
    const friend = { address: '11.0.0.77', port: 9 };
    const icmp = { type: 3, code: 3, data: 0 };
    const indication = new StunWriter(MessageClass.Indication, Method.Data, at.random.bytes(12))
      .add(attr.xorPeerAddress, friend)
      .add(attr.icmp, icmp);
    expect(alice.allocation.handle(indication.finish(), server.locals[0]!)).toBe(true);
    expect(errors).toEqual([[friend, icmp]]);
    await at.clock.runUntil(alice.allocation.close());
    await server.close();
  });
});
