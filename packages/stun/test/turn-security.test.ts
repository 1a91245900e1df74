import { errorCode } from '@towpath/core';
import { expect, test } from 'vitest';
import { LongTermAuth } from '../src/client/long-term-auth.ts';
import type { StunRequest } from '../src/client/stun-transactions.ts';
import * as attr from '../src/message/attributes.ts';
import { encodeChannelData } from '../src/message/channel-data.ts';
import { MessageClass, Method } from '../src/message/header.ts';
import { longTermKey, PasswordAlgorithm } from '../src/message/integrity.ts';
import { StunWriter } from '../src/message/stun-writer.ts';
import { timeLimitedCredentials } from '../src/turn/server/credentials.ts';
import { world } from './support/internet.ts';
import { describeInBothPlanes } from './support/planes.ts';
import { allocateRequest, codeOf, raw } from './support/raw-client.ts';
import { ALICE, BOB, bytes, client, peer, turnServer } from './support/turn.ts';

describeInBothPlanes('somebody else’s allocation', () => {
  test('cannot be refreshed, used or released by another user of the same address and port (441)', async () => {
    const at = world();
    const { server } = await turnServer(at);
    const one = await raw(at, at.internet.host(), server.locals[0]!);
    await one.signed(allocateRequest());
    const bob = new LongTermAuth(BOB);
    const release: StunRequest = { method: Method.Refresh, write: (writer) => writer.add(attr.lifetime, 0) };
    const permit: StunRequest = {
      method: Method.CreatePermission,
      write: (writer) => writer.add(attr.xorPeerAddress, { address: '11.0.0.77', port: 0 }),
    };
    for (const request of [release, permit]) {
      expect(codeOf(await one.signed(request, bob).catch((error: unknown) => error))).toBe(441);
    }
    expect(server.stats.allocations).toBe(1);
    await server.close();
  });

  test('cannot be used from another port, not even with its channel number', async () => {
    const at = world();
    const { server } = await turnServer(at);
    const host = at.internet.host();
    const alice = await client(at, host, server.locals[0]!);
    const friend = await peer(at.internet.host());
    await at.clock.runUntil(alice.allocation.bindChannel(friend.at));
    const thief = await peer(host);
    thief.socket.send(encodeChannelData(0x4000, bytes('stolen'), false), server.locals[0]!);
    const send = new StunWriter(MessageClass.Indication, Method.Send, at.random.bytes(12))
      .add(attr.xorPeerAddress, friend.at)
      .add(attr.data, bytes('stolen too'));
    thief.socket.send(send.finish(), server.locals[0]!);
    await at.clock.advance(100);
    expect(friend.received).toEqual([]);
    expect(server.stats.dropped.notPermitted).toBe(2);
    await server.close();
  });

  test('is not made again when its request is repeated from other ports, which would fill the quota of the user', async () => {
    const at = world();
    const { server } = await turnServer(at, { limits: { allocationsPerUser: 4 } });
    const host = at.internet.host();
    const one = await raw(at, host, server.locals[0]!);
    const sent: Uint8Array[] = [];
    const send = one.socket.send.bind(one.socket);
    one.socket.send = (data, to) => {
      sent.push(Uint8Array.from(data));
      return send(data, to);
    };
    await one.signed(allocateRequest());
    expect(server.stats.allocations).toBe(1);
    const request = sent.at(-1)!;
    for (let turn = 0; turn < 6; turn++) {
      const thief = await peer(host);
      thief.socket.send(request, server.locals[0]!);
      await at.clock.advance(50);
      const tcp = await at.clock.runUntil(
        host.network.connectTcp(server.locals[0]!, { onData: () => {} }).catch(() => undefined),
      );
      tcp?.write(request);
      await at.clock.advance(50);
      tcp?.destroy();
    }
    expect(server.stats.allocations).toBe(1);
    await server.close();
  });

  test('does not end through a forged, unsigned or wrongly signed request from its own address', async () => {
    const at = world();
    const { server } = await turnServer(at);
    const one = await raw(at, at.internet.host(), server.locals[0]!);
    await one.signed(allocateRequest());
    const nonce = one.messages.at(0)!.get(attr.nonce)!;
    const forged = (key: string) => ({
      method: Method.Refresh,
      key: longTermKey('alice', 'towpath', key),
      write: (writer: StunWriter) =>
        writer.add(attr.lifetime, 0).add(attr.username, 'alice').add(attr.realm, 'towpath').add(attr.nonce, nonce),
    });
    expect((await one.request(forged('guess'))).message.get(attr.errorCode)?.code).toBe(401);
    const unsigned = await one.request({ method: Method.Refresh, write: (writer) => writer.add(attr.lifetime, 0) });
    expect(unsigned.message.get(attr.errorCode)?.code).toBe(401);
    expect(server.stats.allocations).toBe(1);
    expect((await one.request(forged(ALICE.password))).message.class).toBe(MessageClass.Success);
    expect(server.stats.allocations).toBe(0);
    await server.close();
  });

  test('a reserved port goes to the user who reserved it', async () => {
    const at = world();
    const { server } = await turnServer(at);
    const one = await raw(at, at.internet.host(), server.locals[0]!);
    const first = await one.signed(allocateRequest((writer) => writer.add(attr.evenPort, true)));
    const token = Uint8Array.from(first.message.get(attr.reservationToken)!);
    const even = first.message.get(attr.xorRelayedAddress)!.port;
    expect(even % 2).toBe(0);
    const claim = allocateRequest((writer) => writer.add(attr.reservationToken, token));
    const thief = await raw(at, at.internet.host(), server.locals[0]!);
    expect(codeOf(await thief.signed(claim, new LongTermAuth(BOB)).catch((error: unknown) => error))).toBe(508);
    const two = await raw(at, at.internet.host(), server.locals[0]!);
    const second = await two.signed(claim);
    expect(second.message.get(attr.xorRelayedAddress)!.port).toBe(even + 1);
    await server.close();
    await at.clock.advance(1_000);
    await Promise.all([one, two, thief].map(({ socket }) => socket.close()));
    expect(at.internet.openSockets).toBe(0);
  });

  test('an unclaimed reservation ends after half a minute', async () => {
    const at = world();
    const { server } = await turnServer(at);
    const one = await raw(at, at.internet.host(), server.locals[0]!);
    const first = await one.signed(allocateRequest((writer) => writer.add(attr.evenPort, true)));
    const token = Uint8Array.from(first.message.get(attr.reservationToken)!);
    await at.clock.advance(31_000);
    const two = await raw(at, at.internet.host(), server.locals[0]!);
    const late = two.signed(allocateRequest((writer) => writer.add(attr.reservationToken, token)));
    expect(codeOf(await late.catch((error: unknown) => error))).toBe(508);
    await server.close();
  });
});

describeInBothPlanes('forbidden peers', () => {
  test.each([
    '127.0.0.1',
    '10.1.2.3',
    '192.168.1.1',
    '169.254.1.1',
    '100.64.0.1',
    '224.0.0.1',
    '255.255.255.255',
    '0.0.0.0',
  ])('%s gets neither a permission nor a channel (403)', async (address) => {
    const at = world();
    const { server } = await turnServer(at);
    const alice = await client(at, at.internet.host(), server.locals[0]!);
    const refused = { code: 'stun-refused', response: { code: 403 } };
    await expect(at.clock.runUntil(alice.allocation.permit([address]))).rejects.toMatchObject(refused);
    await expect(at.clock.runUntil(alice.allocation.bindChannel({ address, port: 80 }))).rejects.toMatchObject(refused);
    await server.close();
  });

  test('a service on the server itself cannot be reached, another client’s relayed port can', async () => {
    const at = world();
    const { server, host } = await turnServer(at);
    const service = await peer(host, 6379);
    const alice = await client(at, at.internet.host(), server.locals[0]!);
    const bob = await client(at, at.internet.host(), server.locals[0]!, { credentials: BOB });
    await at.clock.runUntil(alice.allocation.bindChannel(service.at));
    await at.clock.runUntil(bob.allocation.permit([host.address]));
    alice.allocation.send(bytes('FLUSHALL'), service.at);
    alice.allocation.send(bytes('hello'), bob.allocation.relayed[0]!);
    await at.clock.advance(200);
    expect(service.received).toEqual([]);
    expect(bob.received.map(({ text }) => text)).toEqual(['hello']);
    await server.close();
  });

  test('nobody without a permission reaches the client', async () => {
    const at = world();
    const { server } = await turnServer(at);
    const alice = await client(at, at.internet.host(), server.locals[0]!);
    const stranger = await peer(at.internet.host());
    stranger.socket.send(bytes('spam'), alice.allocation.relayed[0]!);
    await at.clock.advance(200);
    expect(alice.received).toEqual([]);
    expect(server.stats.dropped.notPermitted).toBe(1);
    await server.close();
  });

  test('data is not sent to a peer without a permission', async () => {
    const at = world();
    const { server } = await turnServer(at);
    const alice = await client(at, at.internet.host(), server.locals[0]!);
    const friend = await peer(at.internet.host());
    alice.allocation.send(bytes('hello?'), friend.at);
    await at.clock.advance(200);
    expect(friend.received).toEqual([]);
    await server.close();
  });
});

describeInBothPlanes('nonces', () => {
  test('expire, and belong to one address', async () => {
    const at = world();
    const { server } = await turnServer(at, { nonceLifetimeMs: 10_000 });
    const one = await raw(at, at.internet.host(), server.locals[0]!);
    await one.signed(allocateRequest());
    const nonce = one.messages[0]!.get(attr.nonce)!;
    const refresh = {
      method: Method.Refresh,
      key: longTermKey('alice', 'towpath', ALICE.password),
      write: (writer: StunWriter) =>
        writer.add(attr.username, 'alice').add(attr.realm, 'towpath').add(attr.nonce, nonce),
    };
    expect((await one.request(refresh)).message.class).toBe(MessageClass.Success);
    const elsewhere = await raw(at, at.internet.host(), server.locals[0]!);
    expect((await elsewhere.request(refresh)).message.get(attr.errorCode)?.code).toBe(438);
    await at.clock.advance(11_000);
    expect((await one.request(refresh)).message.get(attr.errorCode)?.code).toBe(438);
    await server.close();
  });
});

describeInBothPlanes('credentials that are not good any more', () => {
  const SECRET = 'secret of the relay';
  const permit: StunRequest = {
    method: Method.CreatePermission,
    write: (writer) => writer.add(attr.xorPeerAddress, { address: '11.0.0.77', port: 0 }),
  };
  const bind: StunRequest = {
    method: Method.ChannelBind,
    write: (writer) =>
      writer.add(attr.channelNumber, 0x4001).add(attr.xorPeerAddress, { address: '11.0.0.77', port: 9 }),
  };
  const refresh: StunRequest = { method: Method.Refresh, write: (writer) => writer.add(attr.lifetime, 600) };
  const requests = [refresh, permit, bind];

  test('are refused at Refresh, CreatePermission and ChannelBind after they expired, and the allocation is gone', async () => {
    const at = world();
    const { server } = await turnServer(at, { credentials: { secrets: [SECRET] } });
    const one = await raw(at, at.internet.host(), server.locals[0]!);
    const auth = new LongTermAuth(timeLimitedCredentials(SECRET, 'ann', 60_000, at.clock.wallTime()));
    await one.signed(allocateRequest(), auth);
    for (const request of requests) await one.signed(request, auth);
    await at.clock.advance(61_000);
    for (const request of requests) {
      expect(codeOf(await one.signed(request, auth).catch((error: unknown) => error))).toBe(401);
    }
    expect(server.stats.allocations).toBe(0);
    const late = new LongTermAuth(timeLimitedCredentials(SECRET, 'ann', 60_000, at.clock.wallTime()));
    expect(codeOf(await one.signed(refresh, late).catch((error: unknown) => error))).toBe(437);
    await server.close();
  });

  test('that are newer, of the same user, go on with the same allocation; those of another user do not', async () => {
    const at = world();
    const { server } = await turnServer(at, { credentials: { secrets: [SECRET] } });
    const one = await raw(at, at.internet.host(), server.locals[0]!);
    const named = (user: string) => new LongTermAuth(timeLimitedCredentials(SECRET, user, 60_000, at.clock.wallTime()));
    await one.signed(allocateRequest(), named('ann'));
    for (const request of requests) {
      await at.clock.advance(50_000);
      for (const each of [refresh, request]) await one.signed(each, named('ann'));
      expect(codeOf(await one.signed(refresh, named('ben')).catch((error: unknown) => error))).toBe(441);
    }
    expect(server.stats.allocations).toBe(1);
    await at.clock.advance(59_000);
    expect(server.stats.allocations).toBe(1);
    await at.clock.advance(1_500);
    expect(server.stats.allocations).toBe(0);
    await server.close();
  });

  test('give no lifetime that is longer than their own', async () => {
    const at = world();
    const { server } = await turnServer(at, { credentials: { secrets: [SECRET] } });
    const one = await raw(at, at.internet.host(), server.locals[0]!);
    const auth = new LongTermAuth(timeLimitedCredentials(SECRET, 'ann', 60_000, at.clock.wallTime()));
    const allocated = await one.signed(allocateRequest(), auth);
    await at.clock.advance(20_000);
    const refreshed = await one.signed(refresh, auth);
    expect([allocated, refreshed].map(({ message }) => message.get(attr.lifetime))).toEqual([60, 40]);
    const fixed = await turnServer(at, { credentials: { users: { ann: 'a password' } } });
    const other = await raw(at, at.internet.host(), fixed.server.locals[0]!);
    const long = await other.signed(allocateRequest(), new LongTermAuth({ username: 'ann', password: 'a password' }));
    expect(long.message.get(attr.lifetime)).toBe(600);
    await Promise.all([server.close(), fixed.server.close()]);
  });

  test('that nobody can prove are looked up nowhere', async () => {
    const at = world();
    const asked: string[] = [];
    const isRevoked = (_name: string, user: string) => asked.push(user) === 0;
    const { server } = await turnServer(at, { credentials: { secrets: [SECRET], isRevoked } });
    const one = await raw(at, at.internet.host(), server.locals[0]!);
    const { username } = timeLimitedCredentials(SECRET, 'ann', 60_000, at.clock.wallTime());
    const guessed = new LongTermAuth({ username, password: 'guessed' });
    expect(codeOf(await one.signed(allocateRequest(), guessed).catch((error: unknown) => error))).toBe(401);
    expect(asked).toEqual([]);
    await server.close();
  });

  test('are refused after they were revoked, and their allocations end', async () => {
    const at = world();
    const removed = new Set<string>();
    const credentials = { secrets: [SECRET], isRevoked: (_name: string, user: string) => removed.has(user) };
    const { server } = await turnServer(at, { credentials });
    const named = (user: string) => timeLimitedCredentials(SECRET, user, 600_000, at.clock.wallTime());
    const ann = await client(at, at.internet.host(), server.locals[0]!, { credentials: named('ann') });
    const ben = await client(at, at.internet.host(), server.locals[0]!, { credentials: named('ben') });
    removed.add('ann');
    const refused = ann.allocation.permit(['11.0.0.77']).catch((error: unknown) => error);
    expect(await at.clock.runUntil(refused)).toMatchObject({ code: 'stun-unauthenticated' });
    expect(server.endAllocations((_name, user) => removed.has(user))).toBe(1);
    expect(server.stats.allocations).toBe(1);
    await at.clock.runUntil(ben.allocation.permit(['11.0.0.77']));
    await server.close();
  });

  test('can be replaced by the client before they expire', async () => {
    const at = world();
    const { server } = await turnServer(at, { credentials: { secrets: [SECRET] } });
    const fresh = () => timeLimitedCredentials(SECRET, 'ann', 3_600_000, at.clock.wallTime());
    const ann = await client(at, at.internet.host(), server.locals[0]!, { credentials: fresh() });
    for (let hour = 0; hour < 5; hour++) {
      await at.clock.advance(3_000_000);
      ann.allocation.replaceCredentials(fresh());
    }
    expect([ann.lost, server.stats.allocations]).toEqual([[], 1]);
    await server.close();
  });
});

describeInBothPlanes('answers to authenticated requests', () => {
  test.each([
    [
      'an unknown attribute (420)',
      420,
      { method: Method.Refresh, write: (w: StunWriter) => w.add({ ...attr.priority, type: 0x7abc }, 1) },
    ],
    ['an unknown method (400)', 400, { method: 0x00f }],
    [
      'an unknown address family (443)',
      443,
      {
        method: Method.Refresh,
        write: (w: StunWriter) => w.add({ ...attr.priority, type: attr.requestedAddressFamily.type }, 0x07000000),
      },
    ],
    ['a second allocation (437)', 437, allocateRequest()],
    [
      'a peer that is not allowed (403)',
      403,
      {
        method: Method.CreatePermission,
        write: (w: StunWriter) => w.add(attr.xorPeerAddress, { address: '127.0.0.1', port: 0 }),
      },
    ],
    ['a channel without a number (400)', 400, { method: Method.ChannelBind }],
  ])('are signed: %s', async (_what, code, request) => {
    const at = world();
    const { server } = await turnServer(at);
    const one = await raw(at, at.internet.host(), server.locals[0]!);
    await one.signed(allocateRequest());
    expect(codeOf(await one.signed(request).catch((error: unknown) => error))).toBe(code);
    const key = longTermKey(ALICE.username, 'towpath', ALICE.password, PasswordAlgorithm.Sha256);
    expect(one.messages.at(-1)!.checkIntegrity(key)).toBe('valid');
    await server.close();
  });
});

describeInBothPlanes('a request that was changed on its way', () => {
  const echo = (...algorithms: number[]) =>
    algorithms.map((algorithm) => ({ algorithm, parameters: new Uint8Array(0) }));
  const { Md5, Sha256 } = PasswordAlgorithm;

  test.each([
    ['a list of algorithms that is shorter than what was offered', echo(Md5), echo(Md5), 400],
    ['a list in another order', echo(Md5, Sha256), echo(Md5), 400],
    ['a choice without a list', undefined, echo(Md5), 400],
    ['a list without a choice', echo(Sha256, Md5), undefined, 400],
    ['an algorithm that was not offered', echo(Sha256, Md5), echo(77), 400],
    ['the list that was offered', echo(Sha256, Md5), echo(Md5), undefined],
  ])('with %s (RFC 8489 §9.2.4)', async (_what, offered, chosen, code) => {
    const at = world();
    const { server } = await turnServer(at);
    const one = await raw(at, at.internet.host(), server.locals[0]!);
    const challenge = (await one.request(allocateRequest())).message;
    const realm = challenge.get(attr.realm)!;
    const answered = one.request({
      ...allocateRequest((writer) =>
        writer
          .add(attr.username, ALICE.username)
          .add(attr.realm, realm)
          .add(attr.nonce, challenge.get(attr.nonce)!)
          .addIf(attr.passwordAlgorithms, offered)
          .addIf(attr.passwordAlgorithm, chosen),
      ),
      key: longTermKey(ALICE.username, realm, ALICE.password, Md5),
      integrity: 'sha256',
    });
    // A client must not heed a 400 that is not signed.
    expect(await answered.then(() => 'answered', errorCode)).toBe(code === undefined ? 'answered' : 'stun-timed-out');
    const message = one.messages.at(-1)!;
    expect(message.get(attr.errorCode)?.code).toBe(code);
    expect(server.stats.allocations).toBe(code === undefined ? 1 : 0);
    await server.close();
  });
});

describeInBothPlanes('an answer is signed (RFC 8489 §9.2.4)', () => {
  const { Md5, Sha256 } = PasswordAlgorithm;
  const listed = (...algorithms: number[]) =>
    algorithms.map((algorithm) => ({ algorithm, parameters: new Uint8Array(0) }));

  test.each([
    ['by SHA-256 where the client chose MD5 for its key', Md5, 'sha256', 'sha256'],
    ['by SHA-256 where the client chose SHA-256', Sha256, 'sha256', 'sha256'],
    ['by SHA-1 where the client chose none', undefined, 'sha1', 'sha1'],
    ['by SHA-1 where the client chose none and signed by SHA-256', undefined, 'sha256', 'sha1'],
  ] as const)('%s', async (_what, algorithm, asked, answered) => {
    const at = world();
    const { server } = await turnServer(at);
    const one = await raw(at, at.internet.host(), server.locals[0]!);
    const challenge = (await one.request(allocateRequest())).message;
    const realm = challenge.get(attr.realm)!;
    const key = longTermKey(ALICE.username, realm, ALICE.password, algorithm ?? Md5);
    await one
      .request({
        ...allocateRequest((writer) => {
          writer.add(attr.username, ALICE.username).add(attr.realm, realm).add(attr.nonce, challenge.get(attr.nonce)!);
          if (algorithm === undefined) return writer;
          return writer
            .add(attr.passwordAlgorithms, listed(Sha256, Md5))
            .add(attr.passwordAlgorithm, listed(algorithm));
        }),
        key,
        integrity: asked,
      })
      .catch(errorCode);
    const message = one.messages.at(-1)!;
    expect([message.class, message.checkIntegrity(key)]).toEqual([MessageClass.Success, 'valid']);
    const has = [attr.messageIntegrity, attr.messageIntegritySha256].map((attribute) => message.has(attribute));
    expect(has).toEqual([answered === 'sha1', answered === 'sha256']);
    await server.close();
  });
});

describeInBothPlanes('a draining server', () => {
  test('redirects before it challenges, so that no client takes its nonce to the other server', async () => {
    const at = world();
    const { server } = await turnServer(at);
    const elsewhere = { address: '11.0.0.99', port: 3478 };
    const early = await raw(at, at.internet.host(), server.locals[0]!);
    await early.signed(allocateRequest());
    server.drain(elsewhere);
    const late = await raw(at, at.internet.host(), server.locals[0]!);
    const { message } = await late.request(allocateRequest());
    expect(message.get(attr.errorCode)?.code).toBe(300);
    expect(message.get(attr.alternateServer)).toEqual(elsewhere);
    expect(message.has(attr.nonce)).toBe(false);
    await early.signed({ method: Method.Refresh, write: (writer) => writer.add(attr.lifetime, 600) });
    expect(server.stats).toMatchObject({ allocations: 1, refused: { 300: 1 } });
    await server.close();
  });
});
