import { type Random, SeededRandom } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import type { Endpoint } from '@towpath/net';
import { describe, expect, test } from 'vitest';
import { connectByRelay, connectByRendezvous } from '../src/index.ts';
import { encodeMessage, type Message } from '../src/codec/index.ts';
import { DeviceRegistration, PpppDevice } from '../src/device/index.ts';
import { StubNetwork } from './stub-network.ts';

/** Datagrams per target; TOWPATH_FUZZ multiplies it, for long runs. */
const COUNT: number = Math.round(5_000 * Number(process.env.TOWPATH_FUZZ ?? 1));

const UID = 'TEST-000001-BCDEF';
const SERVERS: readonly Endpoint[] = [1, 2].map((at) => ({ address: `198.51.100.${at}`, port: 32_100 }));
const RELAY: Endpoint = { address: '198.51.101.1', port: 32_110 };

const anywhere = (random: Random): Endpoint => ({
  address: [11, random.integer(0, 255), random.integer(0, 255), random.integer(0, 255)].join('.'),
  port: random.integer(0, 65_535),
});

/** What a server or relay may say, with contents of its own choice, some of it damaged. */
function hostile(random: Random): Uint8Array {
  const uid = random.next() < 0.5 ? UID : 'OTHER-000002-BCDEF';
  const result = random.integer(0, 1) * random.integer(0xf8, 0xff);
  const magic = random.integer(0, 3);
  const messages: Message[] = [
    { type: 'HELLO_ACK', address: anywhere(random) },
    { type: 'P2P_REQ_ACK', result: 0 },
    { type: 'PUNCH_TO', address: anywhere(random) },
    { type: 'LIST_REQ_ACK', relays: Array.from({ length: random.integer(0, 8) }, () => anywhere(random)) },
    { type: 'RLY_HELLO_ACK' },
    { type: 'RLY_PORT_ACK', magic, port: random.integer(0, 65_535) },
    { type: 'RLY_REQ_ACK', result: random.next() < 0.5 ? 0 : 0xfb },
    { type: 'RLY_TO', relay: anywhere(random), magic },
    { type: 'RLY_RDY', uid: 'OTHER-000002-BCDEF' },
    { type: 'DEV_LGN_ACK', result },
    { type: 'PUNCH_PKT', uid },
    { type: 'CLOSE' },
  ];
  const datagram = encodeMessage(messages[random.integer(0, messages.length - 1)]!);
  if (random.next() < 0.2) datagram[random.integer(0, datagram.length - 1)] = random.integer(0, 255);
  return random.next() < 0.1 ? datagram.subarray(0, random.integer(0, datagram.length)) : datagram;
}

/** Addresses that were sent to, servers left out. */
function reached(network: StubNetwork): Set<string> {
  const servers = new Set(SERVERS.map(({ address }) => address));
  return new Set(network.sent.filter(({ to }) => !servers.has(to.address)).map(({ to }) => `${to.address}:${to.port}`));
}

describe('hostile servers and relays', () => {
  test.each(['rendezvous', 'relay'] as const)('cannot break a client by %s, nor have it flood', async (way) => {
    const network = new StubNetwork();
    const clock = new VirtualClock();
    const random = new SeededRandom(5);
    const options = { network, clock, random, uid: UID, servers: SERVERS, timeoutMs: 60_000 };
    const ports: number[] = [];
    const onSocket = ({ port }: Endpoint) => ports.push(port);
    const connecting =
      way === 'relay'
        ? connectByRelay({ ...options, onSocket, transport: 'udp' })
        : connectByRendezvous({ ...options, onSocket });
    const outcome = connecting.catch((error: unknown) => error);
    await clock.advance(1);
    for (let at = 0; at < COUNT; at++) {
      const from = at % 3 === 0 ? RELAY : SERVERS[at % 2]!;
      network.deliver(ports[0]!, from, hostile(random));
      if (at % 10 === 0) await clock.advance(10);
    }
    const { length } = network.sent;
    // Addresses that servers may name, with all their guesses; or relays and session ports.
    expect(reached(network).size).toBeLessThanOrEqual(way === 'relay' ? 64 : 256);
    expect(length).toBeLessThan(4 * COUNT);
    await clock.runUntil(clock.sleep(70_000));
    expect(await outcome).toMatchObject({ code: expect.any(String) });
    expect([network.openSockets, clock.pendingTimers]).toEqual([0, 0]);
  });

  test('cannot break a device, nor have it flood', async () => {
    const network = new StubNetwork();
    const clock = new VirtualClock();
    const random = new SeededRandom(6);
    const device = await PpppDevice.open({ network, clock }, { uid: UID, searchPort: false, onSession() {} });
    const registration = new DeviceRegistration(
      { device, network, clock, random },
      { servers: SERVERS, transport: 'udp' },
    );
    for (let at = 0; at < COUNT; at++) {
      network.deliver(device.listen.port, SERVERS[at % 2]!, hostile(random));
      if (at % 10 === 0) await clock.advance(10);
    }
    // 64 clients a second with 37 ports each at most, and 32 relays.
    const seconds = clock.now() / 1000;
    expect(network.sent.length / seconds).toBeLessThan(64 * 42 * 2);
    // A server may punch like anybody else.
    expect(device.sessions.length).toBeLessThanOrEqual(SERVERS.length);
    await clock.runUntil(Promise.all([registration.close(), device.close()]));
    await clock.advance(1_000);
    expect([network.openSockets, clock.pendingTimers]).toEqual([0, 0]);
  });
});
