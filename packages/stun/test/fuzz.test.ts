import type { UdpSocket } from '@towpath/net';
import type { SimulatedHost } from '@towpath/net/simulated';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Attribute } from '../src/message/attribute.ts';
import * as attributes from '../src/message/attributes.ts';
import { encodeChannelData } from '../src/message/channel-data.ts';
import { MessageClass, Method } from '../src/message/header.ts';
import { longTermKey } from '../src/message/integrity.ts';
import { decodeStun } from '../src/message/stun-message.ts';
import { StunWriter } from '../src/message/stun-writer.ts';
import { type World, world } from './support/internet.ts';
import { ALICE, bytes, client, peer, turnServer } from './support/turn.ts';

const RUNS = 150 * Number(process.env.TOWPATH_FUZZ ?? 1);
const REALM = 'towpath';

/** Attributes with values that are often, but not always, sensible. */
const endpoint = fc.record({
  address: fc.constantFrom('11.0.0.3', '11.0.0.9', '127.0.0.1', '::1', '2600::1'),
  port: fc.nat(65_535),
});
const entry = <T>(attribute: Attribute<T>, value: fc.Arbitrary<T>) =>
  value.map(
    (one) =>
      (writer: StunWriter): void =>
        void writer.add(attribute, one),
  );
const someAttribute = fc.oneof(
  entry(attributes.requestedTransport, fc.constantFrom(6, 17, 99)),
  entry(attributes.lifetime, fc.constantFrom(0, 1, 600, 0xffffffff)),
  entry(attributes.xorPeerAddress, endpoint),
  entry(attributes.channelNumber, fc.constantFrom(0, 0x3fff, 0x4000, 0x4001, 0x7fff, 0x8000)),
  entry(attributes.data, fc.uint8Array({ maxLength: 40 })),
  entry(attributes.evenPort, fc.boolean()),
  entry(attributes.reservationToken, fc.uint8Array({ minLength: 8, maxLength: 8 })),
  entry(attributes.requestedAddressFamily, fc.constantFrom(4 as const, 6 as const)),
  entry(attributes.additionalAddressFamily, fc.constantFrom(4 as const, 6 as const)),
  entry(attributes.connectionId, fc.nat(5)),
  entry({ ...attributes.data, type: 0x7abc }, fc.uint8Array({ maxLength: 9 })),
  // Values of the wrong size for their type
  ...[
    attributes.lifetime,
    attributes.channelNumber,
    attributes.xorPeerAddress,
    attributes.evenPort,
    attributes.nonce,
  ].map(({ type }) => entry({ ...attributes.data, type }, fc.uint8Array({ maxLength: 9 }))),
);

/** What a request of the method needs, so that fuzzing gets past the first check. */
function writeSensible(writer: StunWriter, method: number): void {
  if (method === Method.Allocate) writer.add(attributes.requestedTransport, 17);
  if (method === Method.ChannelBind) writer.add(attributes.channelNumber, 0x4000);
  if (method === Method.ChannelBind || method === Method.CreatePermission || method === Method.Send) {
    writer.add(attributes.xorPeerAddress, { address: '11.0.0.3', port: 9 });
  }
}

const mutations = fc.array(fc.tuple(fc.nat(400), fc.nat(255)), { maxLength: 4 });

function mutated(data: Uint8Array, changes: readonly [number, number][]): Uint8Array {
  const copy = Uint8Array.from(data);
  for (const [at, to] of changes) if (at < copy.length) copy[at] = to;
  return copy;
}

/** A socket of a host, and the nonce that the server gives to it: one is good for one port. */
async function attackerSocket(
  at: World,
  host: SimulatedHost,
  server: { address: string; port: number },
): Promise<{ socket: UdpSocket; nonce: string }> {
  let nonce = '';
  const socket = await host.network.bindUdp({
    address: host.address,
    onMessage(data) {
      const result = decodeStun(data);
      if (result.ok && nonce === '') nonce = result.message.get(attributes.nonce) ?? '';
    },
  });
  socket.send(new StunWriter(MessageClass.Request, Method.Allocate, at.random.bytes(12)).finish(), server);
  await at.clock.advance(100);
  return { socket, nonce };
}

describe('a TURN server under fuzzed traffic', () => {
  test('survives properly signed requests of any content, and keeps its promises to others', async () => {
    const at = world();
    const { server, host } = await turnServer(at, {
      limits: { requestsPerSecondPerUser: 1e9, unauthenticatedPerSecond: 1e9, allocationsPerUser: 20 },
      nonceLifetimeMs: 1e9,
    });
    const service = await peer(host, 6379);
    const honest = await client(at, at.internet.host(), server.locals[0]!, {
      credentials: { username: 'bob', password: 'builder' },
    });
    const friend = await peer(at.internet.host());
    await at.clock.runUntil(honest.allocation.bindChannel(friend.at));
    const attacker = at.internet.host();
    const sockets: Awaited<ReturnType<typeof attackerSocket>>[] = [];
    for (let made = 0; made < 30; made++) sockets.push(await attackerSocket(at, attacker, server.locals[0]!));
    const key = longTermKey(ALICE.username, REALM, ALICE.password);

    // What follows meets allocations as well as none, whatever is drawn.
    for (const { socket, nonce } of sockets.slice(0, 10)) {
      const writer = new StunWriter(MessageClass.Request, Method.Allocate, at.random.bytes(12));
      writeSensible(writer, Method.Allocate);
      writer.add(attributes.username, ALICE.username).add(attributes.realm, REALM).add(attributes.nonce, nonce);
      socket.send(writer.integrity(key).finish(), server.locals[0]!);
    }
    await at.clock.advance(50);

    const request = fc.record({
      from: fc.nat(sockets.length - 1),
      method: fc.constantFrom(...Object.values(Method), 0x77),
      messageClass: fc.constantFrom(0 as const, 0 as const, 0 as const, 1 as const, 2 as const, 3 as const),
      attributes: fc.array(someAttribute, { maxLength: 6 }),
      changes: mutations,
      sensible: fc.boolean(),
      intact: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(request, { minLength: 1, maxLength: 20 }), async (requests) => {
        for (const { from, method, messageClass, attributes: entries, changes, sensible, intact } of requests) {
          const writer = new StunWriter(messageClass, method, at.random.bytes(12));
          const { socket, nonce } = sockets[from]!;
          if (sensible) writeSensible(writer, method);
          for (const write of entries) write(writer);
          writer.add(attributes.username, ALICE.username).add(attributes.realm, REALM).add(attributes.nonce, nonce);
          const data = writer.integrity(key).finish();
          socket.send(intact ? data : mutated(data, changes), server.locals[0]!);
          socket.send(mutated(encodeChannelData(0x4000, bytes('channel'), false), changes), server.locals[0]!);
        }
        await at.clock.advance(50);
        expect(server.stats.allocations).toBeLessThanOrEqual(21);
      }),
      { numRuns: RUNS },
    );
    honest.allocation.send(bytes('still here'), friend.at);
    await at.clock.advance(100);
    expect(friend.received.at(-1)?.text).toBe('still here');
    expect(service.received).toEqual([]);
    // The traffic was not all refused at the door.
    expect(server.stats.allocated).toBeGreaterThan(5);
    expect(Object.keys(server.stats.refused).length).toBeGreaterThan(0);
    await server.close();
    await Promise.all(
      [...sockets.map(({ socket }) => socket), service.socket, friend.socket].map((socket) => socket.close()),
    );
    await at.clock.runUntil(honest.allocation.close());
    await at.clock.advance(40_000);
    expect(at.internet.openSockets).toBe(0);
  });

  test('survives any bytes over TCP, in any pieces', async () => {
    const at = world();
    const { server } = await turnServer(at, { limits: { unauthenticatedPerSecond: 1e9 } });
    const attacker = at.internet.host();
    const base = new StunWriter(MessageClass.Request, Method.Allocate, new Uint8Array(12))
      .add(attributes.requestedTransport, 17)
      .finish();
    const piece = fc.oneof(
      fc.uint8Array({ maxLength: 60 }),
      mutations.map((changes) => mutated(base, changes)),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { maxLength: 6 }), async (pieces) => {
        const to = { address: server.locals[1]!.address, port: server.locals[1]!.port };
        const connection = await at.clock.runUntil(attacker.network.connectTcp(to, { onData() {} }));
        for (const data of pieces) connection.write(data);
        await at.clock.advance(100);
        connection.destroy();
      }),
      { numRuns: RUNS },
    );
    const honest = await client(at, at.internet.host(), server.locals[1]!, { transport: 'tcp' });
    expect(honest.allocation.alive).toBe(true);
    await at.clock.advance(1_000);
    expect(server.stats.connections).toBe(1);
    await server.close();
  });
});

describe('a TURN client', () => {
  test('survives whatever comes from its server’s address', async () => {
    const at = world();
    const { server } = await turnServer(at);
    const alice = await client(at, at.internet.host(), server.locals[0]!);
    const friend = await peer(at.internet.host());
    await at.clock.runUntil(alice.allocation.bindChannel(friend.at));
    const indication = new StunWriter(MessageClass.Indication, Method.Data, new Uint8Array(12))
      .add(attributes.xorPeerAddress, friend.at)
      .add(attributes.data, bytes('x'))
      .finish();
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array({ maxLength: 80 }),
          mutations.map((changes) => mutated(indication, changes)),
          mutations.map((changes) => mutated(encodeChannelData(0x4000, bytes('y'), false), changes)),
        ),
        (data) => {
          expect(typeof alice.allocation.handle(data, server.locals[0]!)).toBe('boolean');
        },
      ),
      { numRuns: 10 * RUNS },
    );
    expect(alice.allocation.alive).toBe(true);
    await server.close();
  });
});
