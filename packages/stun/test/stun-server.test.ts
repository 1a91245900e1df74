import { errorCode } from '@towpath/core';
import type { Endpoint } from '@towpath/net';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import * as attr from '../src/message/attributes.ts';
import { MessageClass, Method } from '../src/message/header.ts';
import { decodeStun, type StunMessage } from '../src/message/stun-message.ts';
import { StunWriter } from '../src/message/stun-writer.ts';
import { BindingResponder } from '../src/server/binding-responder.ts';
import { StunServer } from '../src/server/stun-server.ts';
import { type World, world } from './support/internet.ts';

const ID = new Uint8Array(12).map((_, at) => 200 - at);
const request = () => new StunWriter(MessageClass.Request, Method.Binding, ID);

function decoded(bytes: Uint8Array): StunMessage {
  const result = decodeStun(bytes);
  if (!result.ok) throw new Error(result.failure);
  return result.message;
}

/** A server with two addresses and ports, and a client that collects what it answers. */
async function setUp(at: World) {
  const host = at.internet.host();
  const second = host.join(at.internet.network).addresses[0]!;
  const server = await StunServer.listen(
    { network: host.network, clock: at.clock },
    { address: host.address, alternate: { address: second, port: 3479 }, software: 'test' },
  );
  const answers: { message: StunMessage; from: Endpoint }[] = [];
  const laptop = at.internet.host();
  const options = {
    address: laptop.address,
    onMessage: (data: Uint8Array, from: Endpoint) => answers.push({ message: decoded(data), from }),
  };
  const socket = await laptop.network.bindUdp(options);
  const other = await laptop.network.bindUdp(options);
  const ask = async (data: Uint8Array) => {
    socket.send(data, server.local);
    await at.clock.advance(100);
    return answers.splice(0);
  };
  return { server, socket, other, ask, addresses: [host.address, second] };
}

describe('the STUN server', () => {
  test('tells where a request came from, where the answer comes from, and its other address', async () => {
    const { server, socket, ask, addresses } = await setUp(world());
    const [answer] = await ask(request().finish());
    expect(answer!.from).toEqual(server.local);
    expect(answer!.message.get(attr.xorMappedAddress)).toEqual(socket.local);
    expect(answer!.message.get(attr.responseOrigin)).toEqual(server.local);
    expect(answer!.message.get(attr.otherAddress)).toEqual({ address: addresses[1], port: 3479 });
    expect(server.stats).toEqual({ answered: 1, ignored: 0, limited: 0 });
  });

  test.each([
    [true, true, 1, 3479],
    [true, false, 1, 3478],
    [false, true, 0, 3479],
    [false, false, 0, 3478],
  ])('answers from where CHANGE-REQUEST asks: address %s, port %s', async (address, port, index, expected) => {
    const { ask, addresses } = await setUp(world());
    const [answer] = await ask(request().add(attr.changeRequest, { address, port }).finish());
    expect(answer!.from).toEqual({ address: addresses[index], port: expected });
  });

  test('answers to another port, but not together with padding (RFC 5780 §6.1)', async () => {
    const { other, ask } = await setUp(world());
    const { port } = other.local;
    const [moved] = await ask(request().add(attr.responsePort, port).finish());
    expect(moved!.message.class).toBe(MessageClass.Success);
    const [padded] = await ask(request().add(attr.padding, new Uint8Array(100)).finish());
    expect(padded!.message.get(attr.padding)).toHaveLength(100);
    const [both] = await ask(request().add(attr.responsePort, port).add(attr.padding, new Uint8Array(100)).finish());
    expect(both!.message.get(attr.errorCode)?.code).toBe(400);
  });

  test('refuses what it does not know, and says what that is', async () => {
    const { ask } = await setUp(world());
    const strange = { ...attr.priority, type: 0x7ffe };
    const [answer] = await ask(request().add(strange, 1).finish());
    expect(answer!.message.get(attr.errorCode)?.code).toBe(420);
    expect(answer!.message.get(attr.unknownAttributes)).toEqual([0x7ffe]);
  });

  test('refuses to change its address when it has only one', async () => {
    const at = world();
    const host = at.internet.host();
    const server = await StunServer.listen({ network: host.network, clock: at.clock }, { address: host.address });
    const answers: StunMessage[] = [];
    const socket = await at.internet.host().network.bindUdp({ onMessage: (data) => answers.push(decoded(data)) });
    socket.send(request().add(attr.changeRequest, { address: true, port: false }).finish(), server.local);
    socket.send(request().finish(), server.local);
    await at.clock.advance(100);
    expect(answers[0]!.get(attr.errorCode)?.code).toBe(420);
    expect(answers[1]!.has(attr.otherAddress)).toBe(false);
  });

  test('does not answer what is no Binding request', async () => {
    const { server, ask } = await setUp(world());
    const silent = [
      new StunWriter(MessageClass.Indication, Method.Binding, ID).finish(),
      new StunWriter(MessageClass.Success, Method.Binding, ID).finish(),
      new StunWriter(MessageClass.Request, Method.Allocate, ID).finish(),
      new Uint8Array(0),
      new Uint8Array(20),
      Buffer.from('GET / HTTP/1.1\r\n\r\n'),
    ];
    for (const data of silent) expect(await ask(data)).toEqual([]);
    expect(server.stats).toMatchObject({ answered: 0, ignored: silent.length });
  });

  test('keeps answering whatever comes', async () => {
    const at = world();
    const { ask } = await setUp(at);
    const runs = 100 * Number(process.env.TOWPATH_FUZZ ?? 1);
    const base = request()
      .add(attr.changeRequest, { address: true, port: true })
      .add(attr.software, 'x')
      .fingerprint()
      .finish();
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(
          fc.uint8Array({ maxLength: 80 }),
          fc.array(fc.tuple(fc.nat(base.length - 1), fc.nat(255)), { maxLength: 6 }).map((changes) => {
            const bytes = Uint8Array.from(base);
            for (const [index, to] of changes) bytes[index] = to;
            return bytes;
          }),
        ),
        async (data) => {
          await ask(data);
          expect(await ask(request().finish())).toHaveLength(1);
        },
      ),
      { numRuns: runs },
    );
  });

  test('closes what it bound when it cannot bind everything', async () => {
    const at = world();
    const host = at.internet.host();
    const taken = await host.network.bindUdp({ address: host.address, port: 3479, onMessage() {} });
    const failed = StunServer.listen(
      { network: host.network, clock: at.clock },
      { address: host.address, alternate: { port: 3479 } },
    );
    expect(await failed.catch(errorCode)).toBe('address-in-use');
    await taken.close();
    expect(at.internet.openSockets).toBe(0);
  });
});

describe('the prepared answer', () => {
  test.each(['192.0.2.200', '2001:db8::5'])('to %s is the one that the slow path makes', (address) => {
    const from = { address, port: 54_321 };
    const origin = { address: '192.0.2.1', port: 3478 };
    const responder = new BindingResponder({ origin, other: { address: '192.0.2.2', port: 3479 }, software: 'x' });
    const plain = request().finish();
    expect(Buffer.from(responder.plainAnswer(plain, from)!)).toEqual(
      Buffer.from(responder.answer(decoded(plain), from)),
    );
  });

  test('is not given to anything but a plain Binding request', () => {
    const responder = new BindingResponder();
    const from = { address: '192.0.2.200', port: 1 };
    const others = [
      request().add(attr.software, '').finish(),
      new StunWriter(MessageClass.Indication, Method.Binding, ID).finish(),
      request().finish().subarray(0, 19),
      Buffer.concat([request().finish(), new Uint8Array(1)]),
    ];
    for (const data of others) expect(responder.plainAnswer(data, from)).toBeUndefined();
  });
});

describe('answers', () => {
  test('to one network are limited, so that the server does not flood a forged source', async () => {
    const at = world();
    const host = at.internet.host();
    const server = await StunServer.listen(
      { network: host.network, clock: at.clock },
      { address: host.address, answersPerSecond: 10 },
    );
    const answered: unknown[] = [];
    const asker = at.internet.host();
    const socket = await asker.network.bindUdp({ address: asker.address, onMessage: (data) => answered.push(data) });
    for (let count = 0; count < 100; count++) {
      socket.send(new StunWriter(MessageClass.Request, Method.Binding, at.random.bytes(12)).finish(), server.local);
    }
    await at.clock.advance(100);
    expect([answered.length, server.stats.answered, server.stats.limited]).toEqual([20, 20, 80]);
    await server.close();
  });
});
