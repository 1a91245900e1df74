import { expect, test } from 'vitest';
import type { StunRequest } from '../src/client/stun-transactions.ts';
import * as attr from '../src/message/attributes.ts';
import { MessageClass, Method } from '../src/message/header.ts';
import type { StunWriter } from '../src/message/stun-writer.ts';
import { world } from './support/internet.ts';
import { describeInBothPlanes } from './support/planes.ts';
import { allocateRequest, codeOf, raw, UDP } from './support/raw-client.ts';
import { turnServer } from './support/turn.ts';

describeInBothPlanes('requests that make no sense', () => {
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
      'for an unknown family',
      Method.Allocate,
      440,
      (writer) =>
        writer
          .add(attr.requestedTransport, UDP)
          .add({ ...attr.priority, type: attr.requestedAddressFamily.type }, 7 << 24),
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
