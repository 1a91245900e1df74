import type { Endpoint } from '@towpath/net';
import { describe, expect, test } from 'vitest';
import { encodeMessage } from '../src/codec/index.ts';
import { UID, World } from './connect-world.ts';

const EMPTY = { sockets: 0, timers: 0 };
const PORT = 32_100;
const GARBAGE = new TextEncoder().encode('HTTP/1.0 400 Bad Request\r\n');

type Answer = (request: Uint8Array) => Uint8Array;

/** Hosts that answer every datagram, and every piece over TCP, with something. */
class Answering implements AsyncDisposable {
  readonly #world: World;
  readonly #open: { close(): Promise<void> }[] = [];

  constructor(world: World) {
    this.#world = world;
  }

  async at(address: string, answer: Answer): Promise<Endpoint> {
    const { network } = this.#world.internet.host({ address });
    const socket = await network.bindUdp({ port: PORT, onMessage: (data, from) => socket.send(answer(data), from) });
    const listener = await network.listenTcp({
      port: PORT,
      onConnection: (connection) => ({ onData: (data) => void connection.write(answer(data)) }),
    });
    this.#open.push(socket, listener);
    return { address, port: PORT };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const each of this.#open) await each.close();
    expect(await this.#world.end()).toEqual(EMPTY);
  }
}

describe('what was named as a rendezvous server and is none', () => {
  test.each<[string, Answer]>([
    ['garbage', () => GARBAGE],
    ['one byte', () => Uint8Array.of(0xf1)],
    ['a message of an unknown type', () => Uint8Array.of(0xf1, 0x99, 0, 0)],
    ['the request itself', (request) => request],
  ])('is told as such, soon, when it answers %s (A5)', async (_what, answer) => {
    const world = await World.make();
    await using answering = new Answering(world);
    const servers = [await answering.at('198.51.100.77', answer), await answering.at('198.51.100.78', answer)];
    for (const connect of [world.byRendezvous.bind(world), world.byRelay.bind(world)]) {
      const startedAt = world.clock.now();
      await expect(world.clock.runUntil(connect({ servers }))).rejects.toMatchObject({
        code: 'not-pppp',
        target: UID,
        message: `198.51.100.77:32100, 198.51.100.78:32100 answered with something that is not PPPP. Next: check the addresses and ports of the rendezvous servers, and the network key where there is one.`,
      });
      expect(world.clock.now() - startedAt).toBeLessThan(600);
    }
  });

  test('is told as such over TCP too', async () => {
    const world = await World.make({ client: 'udpBlocked' });
    await using answering = new Answering(world);
    const servers = [await answering.at('198.51.100.77', () => GARBAGE)];
    const startedAt = world.clock.now();
    await expect(world.clock.runUntil(world.byRelay({ servers, transport: 'tcp' }))).rejects.toMatchObject({
      code: 'not-pppp',
    });
    expect(world.clock.now() - startedAt).toBeLessThan(2_500);
  });

  test('is told beside the servers that are silent, when their time is over', async () => {
    const world = await World.make();
    await using answering = new Answering(world);
    const foreign = await answering.at('198.51.100.77', () => GARBAGE);
    const servers = [foreign, { address: '198.51.100.99', port: PORT }];
    for (const connect of [world.byRendezvous.bind(world), world.byRelay.bind(world)]) {
      await expect(world.clock.runUntil(connect({ servers }))).rejects.toMatchObject({
        code: 'server-unreachable',
        message: expect.stringContaining(
          '198.51.100.77:32100 answered with something that is not PPPP, and 198.51.100.99:32100 did not answer. Next: ',
        ),
      });
    }
  });

  test('delays neither the refusal nor the help of those that are', async () => {
    const world = await World.make();
    await using answering = new Answering(world);
    const servers = [await answering.at('198.51.100.77', () => GARBAGE), ...world.servers];
    const startedAt = world.clock.now();
    await expect(world.clock.runUntil(world.byRendezvous({ servers }))).rejects.toMatchObject({
      code: 'device-offline',
    });
    expect(world.clock.now() - startedAt).toBeLessThan(1_000);
    await world.startDevice();
    const { session } = await world.timed(world.byRendezvous({ servers }));
    const relayed = await world.timed(world.byRelay({ servers }));
    expect([session.pathKind, relayed.session.pathKind]).toEqual(['p2p', 'relay']);
    for (const open of [session, relayed.session]) await world.clock.runUntil(open.close());
  });

  test('is asked on after a stray datagram or two', async () => {
    const world = await World.make();
    await using answering = new Answering(world);
    let sent = 0;
    const servers = [
      await answering.at('198.51.100.77', () =>
        sent++ < 2 ? GARBAGE : encodeMessage({ type: 'P2P_REQ_ACK', result: 0xff }),
      ),
    ];
    await expect(world.clock.runUntil(world.byRendezvous({ servers }))).rejects.toMatchObject({ code: 'wrong-uid' });
  });
});
