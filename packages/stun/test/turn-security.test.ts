import { errorCode, SeededRandom } from '@towpath/core';
import type { Endpoint, SimulatedHost, UdpSocket } from '@towpath/net';
import { describe, expect, test } from 'vitest';
import { LongTermAuth } from '../src/client/long-term-auth.ts';
import { requestWithAuth } from '../src/client/stun-client.ts';
import { type StunRequest, type StunResponse, StunTransactions } from '../src/client/stun-transactions.ts';
import * as attr from '../src/message/attributes.ts';
import { encodeChannelData } from '../src/message/channel-data.ts';
import { MessageClass, Method } from '../src/message/header.ts';
import { longTermKey } from '../src/message/integrity.ts';
import { decodeStun, type StunMessage } from '../src/message/stun-message.ts';
import { StunWriter } from '../src/message/stun-writer.ts';
import { timeLimitedCredentials } from '../src/turn/server/credentials.ts';
import { PERMISSION_LIFETIME_MS } from '../src/turn/server/options.ts';
import { type World, world } from './support/internet.ts';
import { ALICE, BOB, bytes, client, peer, turnServer } from './support/turn.ts';

const UDP = 17;

/** A client that says what it likes: raw requests over one socket. */
interface Raw {
  readonly socket: UdpSocket;
  readonly messages: StunMessage[];
  request(request: StunRequest): Promise<StunResponse>;
  signed(request: StunRequest, auth?: LongTermAuth): Promise<StunResponse>;
}

async function raw(at: World, host: SimulatedHost, server: Endpoint): Promise<Raw> {
  const { clock, random } = at;
  const messages: StunMessage[] = [];
  const transactions = new StunTransactions({ clock, random, send: (data, to) => socket.send(data, to) });
  const socket = await host.network.bindUdp({
    onMessage(data, from) {
      const result = decodeStun(data);
      if (!result.ok) return;
      messages.push(result.message);
      transactions.handle(result.message, from);
    },
  });
  const auth = new LongTermAuth(ALICE);
  return {
    socket,
    messages,
    request: (request) => clock.runUntil(transactions.request(server, request)),
    signed: (request, other = auth) => clock.runUntil(requestWithAuth(transactions, other, server, request)),
  };
}

const allocateRequest = (write?: (writer: StunWriter) => void): StunRequest => ({
  method: Method.Allocate,
  write(writer) {
    writer.add(attr.requestedTransport, UDP);
    write?.(writer);
  },
});

function codeOf(error: unknown): number {
  return (error as { response: { code: number } }).response.code;
}

describe('quotas', () => {
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

describe('somebody else’s allocation', () => {
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

describe('forbidden peers', () => {
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

describe('nonces', () => {
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

describe('floods', () => {
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

describe('requests that make no sense', () => {
  test.each<[string, number, number, (writer: StunWriter) => void]>([
    ['without a transport', Method.Allocate, 400, () => {}],
    ['for an unknown transport', Method.Allocate, 442, (writer) => writer.add(attr.requestedTransport, 99)],
    ['for TCP over UDP', Method.Allocate, 400, (writer) => writer.add(attr.requestedTransport, 6)],
    [
      'for a family that is not relayed',
      Method.Allocate,
      440,
      (writer) => writer.add(attr.requestedTransport, UDP).add(attr.requestedAddressFamily, 6),
    ],
    [
      'with both family attributes',
      Method.Allocate,
      400,
      (writer) =>
        writer
          .add(attr.requestedTransport, UDP)
          .add(attr.requestedAddressFamily, 4)
          .add(attr.additionalAddressFamily, 6),
    ],
    [
      'for IPv4 in addition',
      Method.Allocate,
      400,
      (writer) => writer.add(attr.requestedTransport, UDP).add(attr.additionalAddressFamily, 4),
    ],
    [
      'for an even port by token',
      Method.Allocate,
      400,
      (writer) =>
        writer
          .add(attr.requestedTransport, UDP)
          .add(attr.evenPort, false)
          .add(attr.reservationToken, new Uint8Array(8)),
    ],
    [
      'with a token that nobody gave out',
      Method.Allocate,
      508,
      (writer) => writer.add(attr.requestedTransport, UDP).add(attr.reservationToken, new Uint8Array(8)),
    ],
    [
      'with DONT-FRAGMENT, which cannot be honoured',
      Method.Allocate,
      420,
      (writer) => writer.add(attr.requestedTransport, UDP).add(attr.dontFragment, true),
    ],
    ['to refresh nothing', Method.Refresh, 437, () => {}],
    ['to permit on nothing', Method.CreatePermission, 437, () => {}],
    ['to bind a channel on nothing', Method.ChannelBind, 437, () => {}],
    ['to connect on nothing', Method.Connect, 437, () => {}],
    ['to bind an unknown connection', Method.ConnectionBind, 400, (writer) => writer.add(attr.connectionId, 5)],
    ['of an unknown method', 0x77, 400, () => {}],
  ])('%s are refused', async (_what, method, code, write) => {
    const at = world();
    const { server } = await turnServer(at);
    const one = await raw(at, at.internet.host(), server.locals[0]!);
    const refused = await one
      .signed({ method, write: (writer) => void write(writer) })
      .catch((error: unknown) => error);
    expect(codeOf(refused)).toBe(code);
    expect(server.stats.allocations).toBe(0);
    await server.close();
  });

  test.each<[string, number, number, (writer: StunWriter) => void]>([
    ['to refresh another family', Method.Refresh, 443, (writer) => writer.add(attr.requestedAddressFamily, 6)],
    ['to permit nobody', Method.CreatePermission, 400, () => {}],
    [
      'to permit another family',
      Method.CreatePermission,
      443,
      (writer) => writer.add(attr.xorPeerAddress, { address: '2600::1', port: 0 }),
    ],
    [
      'to bind no channel',
      Method.ChannelBind,
      400,
      (writer) => writer.add(attr.xorPeerAddress, { address: '11.0.0.50', port: 5 }),
    ],
    [
      'to bind a channel below the range',
      Method.ChannelBind,
      400,
      (writer) => writer.add(attr.channelNumber, 0x3fff).add(attr.xorPeerAddress, { address: '11.0.0.50', port: 5 }),
    ],
    [
      'to bind a channel above the range',
      Method.ChannelBind,
      400,
      (writer) => writer.add(attr.channelNumber, 0x8000).add(attr.xorPeerAddress, { address: '11.0.0.50', port: 5 }),
    ],
    ['to allocate twice', Method.Allocate, 437, (writer) => writer.add(attr.requestedTransport, UDP)],
    [
      'to connect on a UDP allocation',
      Method.Connect,
      400,
      (writer) => writer.add(attr.xorPeerAddress, { address: '11.0.0.50', port: 5 }),
    ],
  ])('%s are refused on an allocation', async (_what, method, code, write) => {
    const at = world();
    const { server } = await turnServer(at);
    const one = await raw(at, at.internet.host(), server.locals[0]!);
    await one.signed(allocateRequest());
    const refused = await one
      .signed({ method, write: (writer) => void write(writer) })
      .catch((error: unknown) => error);
    expect(codeOf(refused)).toBe(code);
    expect(server.stats.allocations).toBe(1);
    await server.close();
  });

  test('a channel keeps its peer and a peer its channel until they expire', async () => {
    const at = world();
    const { server } = await turnServer(at);
    const one = await raw(at, at.internet.host(), server.locals[0]!);
    await one.signed(allocateRequest((writer) => writer.add(attr.lifetime, 3_600)));
    const bind = (channel: number, port: number): StunRequest => ({
      method: Method.ChannelBind,
      write: (writer) =>
        writer.add(attr.channelNumber, channel).add(attr.xorPeerAddress, { address: '11.0.0.50', port }),
    });
    await one.signed(bind(0x4000, 1));
    await one.signed(bind(0x4000, 1));
    await one.signed(bind(0x4001, 2));
    for (const clash of [bind(0x4000, 2), bind(0x4001, 1), bind(0x4002, 1), bind(0x4000, 3)]) {
      expect(codeOf(await one.signed(clash).catch((error: unknown) => error))).toBe(400);
    }
    await at.clock.advance(601_000);
    await one.signed(bind(0x4000, 2));
    await server.close();
  });

  test('a repeated Allocate gets the same answer and no second allocation', async () => {
    const at = world();
    const { server } = await turnServer(at);
    const host = at.internet.host();
    const one = await raw(at, host, server.locals[0]!);
    const stop = at.internet.intercept((packet, next) => {
      next();
      if (packet.source === host.address) next();
    });
    await one.signed(allocateRequest());
    await at.clock.advance(100);
    stop();
    const successes = one.messages.filter((message) => message.class === MessageClass.Success);
    expect(new Set(successes.map(({ bytes: content }) => Buffer.from(content).toString('hex'))).size).toBe(1);
    expect(server.stats).toMatchObject({ allocations: 1, allocated: 1 });
    await server.close();
  });
});
