import { errorCode, SeededRandom } from '@towpath/core';
import { expect, test } from 'vitest';
import { LongTermAuth } from '../src/client/long-term-auth.ts';
import type { StunRequest } from '../src/client/stun-transactions.ts';
import * as attr from '../src/message/attributes.ts';
import { MessageClass, Method } from '../src/message/header.ts';
import { StunWriter } from '../src/message/stun-writer.ts';
import { timeLimitedCredentials } from '../src/turn/server/credentials.ts';
import { PERMISSION_LIFETIME_MS } from '../src/turn/server/options.ts';
import { world } from './support/internet.ts';
import { describeInBothPlanes } from './support/planes.ts';
import { allocateRequest, codeOf, raw, UDP } from './support/raw-client.ts';
import { BOB, bytes, client, peer, turnServer } from './support/turn.ts';

describeInBothPlanes('quotas', () => {
  test('a user gets as many allocations as its quota and not one more, and gets one back when it ends', async () => {
    const at = world();
    const { server } = await turnServer(at, { limits: { allocationsPerUser: 2 } });
    const [first] = [
      await client(at, at.internet.host(), server.locals[0]!),
      await client(at, at.internet.host(), server.locals[0]!),
    ];
    const third = client(at, at.internet.host(), server.locals[0]!);
    await expect(third).rejects.toMatchObject({ code: 'stun-refused', response: { code: 486 } });
    await client(at, at.internet.host(), server.locals[0]!, { credentials: BOB });
    await at.clock.runUntil(first.allocation.close());
    await client(at, at.internet.host(), server.locals[0]!);
    expect(server.stats).toMatchObject({ allocations: 3, users: 2, refused: { 486: 1 } });
    await server.close();
  });

  test('a user cannot get around its quota with fresh time-limited names', async () => {
    const at = world();
    const { server } = await turnServer(at, { credentials: { secrets: ['s'] }, limits: { allocationsPerUser: 1 } });
    const named = (lifetimeMs: number) => timeLimitedCredentials('s', 'carol', lifetimeMs, at.clock.wallTime());
    await client(at, at.internet.host(), server.locals[0]!, { credentials: named(60_000) });
    const second = client(at, at.internet.host(), server.locals[0]!, { credentials: named(120_000) });
    await expect(second).rejects.toMatchObject({ response: { code: 486 } });
    await server.close();
  });

  test('all users together get as many allocations as the server allows', async () => {
    const at = world();
    const { server } = await turnServer(at, { limits: { allocations: 2 } });
    await client(at, at.internet.host(), server.locals[0]!);
    await client(at, at.internet.host(), server.locals[0]!, { credentials: BOB });
    const third = client(at, at.internet.host(), server.locals[0]!, { credentials: BOB });
    await expect(third).rejects.toMatchObject({ response: { code: 486 } });
    await server.close();
  });

  test('a user cannot relay more than its bandwidth', async () => {
    const at = world();
    const { server } = await turnServer(at, { limits: { bytesPerSecondPerUser: 10_000 } });
    const alice = await client(at, at.internet.host(), server.locals[0]!);
    const friend = await peer(at.internet.host());
    await at.clock.runUntil(alice.allocation.bindChannel(friend.at));
    for (let tenth = 0; tenth < 100; tenth++) {
      for (let packet = 0; packet < 5; packet++) alice.allocation.send(new Uint8Array(1_000), friend.at);
      await at.clock.advance(100);
    }
    // Ten seconds of rate, and the burst of one second.
    expect(server.stats.bytesToPeers).toBeGreaterThanOrEqual(108_000);
    expect(server.stats.bytesToPeers).toBeLessThanOrEqual(111_000);
    expect(server.stats.dropped.bandwidth).toBeGreaterThan(300);
    await server.close();
  });

  test('a user cannot send more requests than its rate', async () => {
    const at = world();
    const { server, host } = await turnServer(at, { limits: { requestsPerSecondPerUser: 10 } });
    const alice = await client(at, at.internet.host(), server.locals[0]!);
    const asked = Array.from({ length: 100 }, (_, index) =>
      alice.allocation.permit([`11.0.1.${index}`]).catch(errorCode),
    );
    await at.clock.advance(50);
    expect(server.stats.dropped.rate).toBeGreaterThan(70);
    await at.clock.runUntil(Promise.all(asked));
    expect(host.address).not.toBe('');
    await server.close();
  });

  test('permissions and channels are limited per allocation, and expired ones make room', async () => {
    const at = world();
    const { server } = await turnServer(at, {
      limits: { requestsPerSecondPerUser: 100_000 },
      maxLifetimeMs: 3_600_000,
    });
    const one = await raw(at, at.internet.host(), server.locals[0]!);
    await one.signed(allocateRequest((writer) => writer.add(attr.lifetime, 3_600)));
    const permit = (from: number, count: number): StunRequest => ({
      method: Method.CreatePermission,
      write(writer) {
        for (let index = from; index < from + count; index++)
          writer.add(attr.xorPeerAddress, { address: `11.0.${index >> 8}.${index & 255}`, port: 0 });
      },
    });
    for (let from = 0; from < 500; from += 20) await one.signed(permit(from, 20));
    expect(codeOf(await one.signed(permit(500, 20)).catch((error: unknown) => error))).toBe(508);
    await one.signed(permit(500, 12));
    await at.clock.advance(PERMISSION_LIFETIME_MS + 1_000);
    await one.signed(permit(1_000, 20));
    await server.close();
  });
});

describeInBothPlanes('floods', () => {
  test('of unauthenticated requests are answered at a limited rate and cost no memory', async () => {
    const at = world();
    const { server } = await turnServer(at, { limits: { unauthenticatedPerSecond: 50 } });
    const attacker = await peer(at.internet.host());
    let answered = 0;
    at.internet.observe(({ packet }) => {
      if (packet.source === server.locals[0]!.address && packet.destination === attacker.at.address) answered++;
    });
    const random = new SeededRandom(5);
    for (let tenth = 0; tenth < 10; tenth++) {
      for (let count = 0; count < 500; count++) {
        const request = new StunWriter(MessageClass.Request, Method.Allocate, random.bytes(12)).add(
          attr.requestedTransport,
          UDP,
        );
        attacker.socket.send(request.finish(), server.locals[0]!);
      }
      await at.clock.advance(100);
    }
    expect(server.stats.dropped.rate).toBeGreaterThan(4_000);
    expect(answered).toBeLessThan(700);
    expect(server.stats).toMatchObject({ allocations: 0, users: 0 });
    // Others are served meanwhile.
    const alice = await client(at, at.internet.host(), server.locals[0]!);
    expect(alice.allocation.alive).toBe(true);
    await server.close();
  });

  test('what is authenticated takes nothing from the rate of what is not', async () => {
    const at = world();
    // Twenty answers at once: one challenge for each of twenty new clients of one network.
    const { server } = await turnServer(at, { limits: { unauthenticatedPerSecond: 10 } });
    const host = at.internet.host();
    for (let count = 0; count < 20; count++) await client(at, host, server.locals[0]!);
    expect(server.stats).toMatchObject({ allocations: 20, unauthenticated: 20 });
    expect(server.stats.dropped.rate).toBe(0);
    await server.close();
  });

  test('of connections end at the limit, and idle ones are closed', async () => {
    const at = world();
    const { server, host } = await turnServer(at, { limits: { connections: 20 } });
    const attacker = at.internet.host();
    let closed = 0;
    for (let count = 0; count < 50; count++) {
      const onClose = () => {
        closed++;
      };
      await at.clock.runUntil(
        attacker.network.connectTcp({ address: host.address, port: 3478 }, { onData() {}, onClose }),
      );
    }
    await at.clock.advance(1_000);
    expect(server.stats.connections).toBe(20);
    expect(closed).toBe(30);
    await at.clock.advance(61_000);
    expect(server.stats.connections).toBe(0);
    await server.close();
  });
});

describeInBothPlanes('quotas of groups (A3)', () => {
  const secrets = ['s'];
  /** `ann.home`: the group follows the point. */
  const groupOf = (user: string) => user.split('.')[1];
  const named = (at: ReturnType<typeof world>, user: string) =>
    timeLimitedCredentials('s', user, 3_600_000, at.clock.wallTime());

  test('users of one group share its allocations; others, and those without a group, have their own', async () => {
    const at = world();
    const groups = [{ name: 'party', groupOf, allocations: 2, bytesPerSecond: Number.POSITIVE_INFINITY }];
    const { server } = await turnServer(at, { credentials: { secrets }, groups });
    const allocate = (user: string) =>
      client(at, at.internet.host(), server.locals[0]!, { credentials: named(at, user) });
    const ann = await allocate('ann.home');
    await allocate('ben.home');
    await expect(allocate('cat.home')).rejects.toMatchObject({ response: { code: 486 } });
    await allocate('ann.work');
    await allocate('dan');
    expect(server.stats).toMatchObject({ allocations: 4, refused: { 486: 1 }, quotaReached: { party: 1 } });
    expect([...server.users].toSorted()).toEqual(['ann.home', 'ann.work', 'ben.home', 'dan']);
    await at.clock.runUntil(ann.allocation.close());
    await allocate('cat.home');
    await server.close();
  });

  test('reserved ports count for the group, and end', async () => {
    const at = world();
    const groups = [{ name: 'party', groupOf, allocations: 2, bytesPerSecond: Number.POSITIVE_INFINITY }];
    const { server } = await turnServer(at, { credentials: { secrets }, groups });
    const one = await raw(at, at.internet.host(), server.locals[0]!);
    const reserving = allocateRequest((writer) => writer.add(attr.evenPort, true));
    await one.signed(reserving, new LongTermAuth(named(at, 'ann.home')));
    const ben = () => client(at, at.internet.host(), server.locals[0]!, { credentials: named(at, 'ben.home') });
    await expect(ben()).rejects.toMatchObject({ response: { code: 486 } });
    await at.clock.advance(31_000);
    await ben();
    await server.close();
  });

  test('users of one group share its bandwidth, below their own', async () => {
    const at = world();
    const groups = [{ name: 'party', groupOf, allocations: 10, bytesPerSecond: 10_000 }];
    const limits = { bytesPerSecondPerUser: 1_000_000 };
    const { server } = await turnServer(at, { credentials: { secrets }, groups, limits });
    const friend = await peer(at.internet.host());
    const clients = [];
    for (const user of ['ann.home', 'ben.home', 'ann.work']) {
      const one = await client(at, at.internet.host(), server.locals[0]!, { credentials: named(at, user) });
      await at.clock.runUntil(one.allocation.bindChannel(friend.at));
      clients.push(one);
    }
    for (let second = 0; second < 10; second++) {
      for (let packet = 0; packet < 20; packet++) {
        for (const [index, one] of clients.entries()) one.allocation.send(bytes(`${index}`.padEnd(1_000)), friend.at);
      }
      await at.clock.advance(1_000);
    }
    const from = (...indexes: string[]) => friend.received.filter(({ text }) => indexes.includes(text[0]!)).length;
    // Ten a second for each group, and the burst of one second; the slots of each tick are shared in order.
    expect(from('0', '1')).toBeGreaterThanOrEqual(95);
    expect(from('0', '1')).toBeLessThanOrEqual(115);
    expect(from('2')).toBeGreaterThanOrEqual(95);
    expect(from('2')).toBeLessThanOrEqual(115);
    expect(server.stats.dropped.bandwidth).toBe(600 - from('0', '1', '2'));
    await server.close();
  });
});
