import { SeededRandom } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import type { Endpoint } from '@towpath/net';
import { natKinds, type SimulatedHost, SimulatedInternet } from '@towpath/net/simulated';
import { expect, test } from 'vitest';
import { StreamCipher } from '../src/index.ts';
import {
  decodeMessage,
  encodeMessage,
  encodeTcpFrame,
  type Message,
  NetworkKey,
  TcpDeframer,
} from '../src/codec/index.ts';
import type { RelayOptions } from '../src/relay/server/options.ts';
import { RelayServer } from '../src/relay/server/relay-server.ts';
import { describeInBothPlanes, RELAY, relayWorld } from './relay-planes.ts';

const UID = 'TEST-000001-BCDEF';
const ALIVE = encodeMessage({ type: 'ALIVE' });

type Reservation = Extract<Message, { type: 'RLY_PORT_ACK' }>;
type Side = 'client' | 'device';

/** One socket of the test; keeps raw bytes as well as messages. */
async function udpEnd(clock: VirtualClock, host: SimulatedHost, key?: string) {
  const cipher = key === undefined ? undefined : new StreamCipher(key);
  const raw: Uint8Array[] = [];
  const socket = await host.network.bindUdp({ onMessage: (data) => raw.push(data) });
  const send = (to: Endpoint, data: Uint8Array) => socket.send(cipher ? cipher.encipher(data) : data, to);
  return {
    socket,
    send,
    take: () => raw.splice(0).map((data) => (cipher ? cipher.decipher(data) : data)),
    async ask(to: Endpoint, message: Message): Promise<Message[]> {
      send(to, encodeMessage(message));
      await clock.advance(100);
      return raw.splice(0).map((data) => decodeMessage(cipher ? cipher.decipher(data) : data) as Message);
    },
  };
}

async function tcpEnd(clock: VirtualClock, host: SimulatedHost) {
  const messages: Uint8Array[] = [];
  let closed = false;
  const deframer = new TcpDeframer();
  const connection = await clock.runUntil(
    host.network.connectTcp(RELAY, {
      onData: (piece) => void deframer.push(piece, (message) => messages.push(message.slice())),
      onClose: () => {
        closed = true;
      },
    }),
  );
  return {
    connection,
    closed: () => closed,
    send: (data: Uint8Array) => connection.write(encodeTcpFrame(data)),
    take: () => messages.splice(0),
    async ask(message: Message): Promise<Message[]> {
      connection.write(encodeTcpFrame(encodeMessage(message)));
      await clock.advance(200);
      return messages.splice(0).map((data) => decodeMessage(data) as Message);
    },
  };
}

const introduce = (magic: number, side: Side, uid = UID): Message => ({ type: 'RLY_PKT', magic, uid, side });

/** Two UDP ends behind NATs with a ready session. */
async function connected(options: RelayOptions = {}, key?: string) {
  const made = await relayWorld(options, key);
  const { clock, internet } = made;
  const client = await udpEnd(clock, internet.nat(natKinds.symmetricRandom).host(), key);
  const device = await udpEnd(clock, internet.nat(natKinds.symmetricRandom).host(), key);
  const [reserved] = (await client.ask(RELAY, { type: 'RLY_PORT', uid: undefined })) as [Reservation];
  const at = { address: RELAY.address, port: reserved.port };
  await client.ask(at, introduce(reserved.magic, 'client'));
  const ready = await device.ask(at, introduce(reserved.magic, 'device'));
  const clientReady = client.take();
  return { ...made, client, device, at, magic: reserved.magic, ready, clientReady };
}

function pattern(size: number, seed: number): Uint8Array {
  return new SeededRandom(seed).bytes(size);
}

describeInBothPlanes('relay over UDP (A7)', () => {
  test('reserves a port, learns both sides and says ready to both', async () => {
    const { relay, ready, clientReady, magic } = await connected();
    expect(ready).toEqual([{ type: 'RLY_RDY', uid: UID }]);
    expect(clientReady.map((data) => decodeMessage(data))).toEqual([{ type: 'RLY_RDY', uid: UID }]);
    expect(magic).toBeGreaterThan(0);
    expect(relay.metrics).toMatchObject({ sessions: 1, sessionsReady: 1, pendingReservations: 0 });
    await relay.close();
  });

  test('answers RLY_HELLO in four bytes', async () => {
    const { clock, internet, relay } = await relayWorld();
    const client = await udpEnd(clock, internet.host());
    expect(await client.ask(RELAY, { type: 'RLY_HELLO' })).toEqual([{ type: 'RLY_HELLO_ACK' }]);
    await relay.close();
  });

  test.each([undefined, NetworkKey.CAMERA])('passes datagrams on byte for byte both ways, key %s', async (key) => {
    const { clock, client, device, at, relay } = await connected({}, key);
    const down = [1, 4, 24, 32, 600, 1032, 1200, 1472].map((size) => pattern(size, size));
    const up = [ALIVE, pattern(900, 1), pattern(28, 2)];
    for (const data of up) client.send(at, data);
    for (const data of down) device.send(at, data);
    await clock.advance(200);
    expect(device.take()).toEqual(up);
    expect(client.take()).toEqual(down);
    expect(relay.metrics.packetsForwarded).toBe(up.length + down.length);
    await relay.close();
  });

  test('says ready again to a side that introduces itself again', async () => {
    const { client, device, at, magic, relay } = await connected();
    expect(await client.ask(at, introduce(magic, 'client'))).toEqual([{ type: 'RLY_RDY', uid: UID }]);
    expect(device.take()).toEqual([]);
    await relay.close();
  });

  test('takes the device first as well', async () => {
    const { clock, internet, relay } = await relayWorld();
    const client = await udpEnd(clock, internet.host());
    const device = await udpEnd(clock, internet.host());
    const [{ magic, port }] = (await client.ask(RELAY, { type: 'RLY_PORT', uid: UID })) as [Reservation];
    const at = { address: RELAY.address, port };
    expect(await device.ask(at, introduce(magic, 'device'))).toEqual([]);
    expect(await client.ask(at, introduce(magic, 'client'))).toEqual([{ type: 'RLY_RDY', uid: UID }]);
    expect(device.take()).toHaveLength(1);
    await relay.close();
  });

  test('lets nobody else in: wrong magic, wrong port, other UID, third address', async () => {
    const { clock, internet, client, device, at, magic, relay } = await connected();
    const stranger = await udpEnd(clock, internet.host());
    const otherPort = relay.sessionEndpoints.find(({ port }) => port !== at.port)!.port;
    expect(await stranger.ask(at, introduce(magic ^ 1, 'client'))).toEqual([]);
    expect(await stranger.ask({ ...at, port: otherPort }, introduce(magic, 'client'))).toEqual([]);
    expect(await stranger.ask(at, introduce(magic, 'device', 'TEST-000002-BCDEF'))).toEqual([]);
    expect(await stranger.ask(at, introduce(magic, 'client'))).toEqual([]);
    stranger.send(at, pattern(100, 1));
    await clock.advance(100);
    expect([client.take(), device.take()]).toEqual([[], []]);
    expect(relay.metrics).toMatchObject({ wrongMagic: 4, droppedStrangers: 1 });
    await relay.close();
  });

  test('forwards nothing before both sides are there', async () => {
    const { clock, internet, relay } = await relayWorld();
    const client = await udpEnd(clock, internet.host());
    const [{ magic, port }] = (await client.ask(RELAY, { type: 'RLY_PORT', uid: undefined })) as [Reservation];
    const at = { address: RELAY.address, port };
    expect(await client.ask(at, introduce(magic, 'client'))).toEqual([]);
    client.send(at, pattern(500, 1));
    await clock.advance(100);
    expect(client.take()).toEqual([]);
    expect(relay.metrics.droppedNotReady).toBe(1);
    await relay.close();
  });

  test('keeps two sessions of one device apart, on two ports when the client names the device', async () => {
    const { clock, internet, relay } = await relayWorld({ sessionPorts: 2 });
    const device = await udpEnd(clock, internet.host());
    const ports = new Set<number>();
    for (let i = 0; i < 2; i++) {
      const client = await udpEnd(clock, internet.host());
      const [{ magic, port }] = (await client.ask(RELAY, { type: 'RLY_PORT', uid: UID })) as [Reservation];
      ports.add(port);
      const at = { address: RELAY.address, port };
      await client.ask(at, introduce(magic, 'client'));
      expect(await device.ask(at, introduce(magic, 'device'))).toHaveLength(1);
    }
    expect([ports.size, relay.metrics.sessionsReady]).toEqual([2, 2]);
    await relay.close();
  });

  test('refuses a second session of one address on one port while the first runs, and takes it when that is stale', async () => {
    const { clock, internet, relay } = await relayWorld({ sessionPorts: 1 });
    const device = await udpEnd(clock, internet.host());
    const open = async () => {
      const client = await udpEnd(clock, internet.host());
      const [{ magic, port }] = (await client.ask(RELAY, { type: 'RLY_PORT', uid: undefined })) as [Reservation];
      const at = { address: RELAY.address, port };
      await client.ask(at, introduce(magic, 'client'));
      return device.ask(at, introduce(magic, 'device'));
    };
    expect(await open()).toHaveLength(1);
    expect(await open()).toHaveLength(0);
    expect(relay.metrics.portConflicts).toBe(1);
    await clock.advance(5_000);
    expect(await open()).toHaveLength(1);
    await relay.close();
  });
});

describeInBothPlanes('ends of a relayed session', () => {
  test('reservations die after 30 s, half a session too, a silent one too', async () => {
    const { clock, internet, relay } = await relayWorld();
    const client = await udpEnd(clock, internet.host());
    const [late] = (await client.ask(RELAY, { type: 'RLY_PORT', uid: undefined })) as [Reservation];
    const [half] = (await client.ask(RELAY, { type: 'RLY_PORT', uid: undefined })) as [Reservation];
    await client.ask({ ...RELAY, port: half.port }, introduce(half.magic, 'client'));
    expect(relay.metrics.sessions).toBe(1);
    await clock.advance(32_000);
    expect(relay.metrics).toMatchObject({ sessions: 0, endedNeverReady: 1 });
    await client.ask({ ...RELAY, port: late.port }, introduce(late.magic, 'client'));
    expect(relay.metrics).toMatchObject({ sessions: 0, wrongMagic: 1 });
    await relay.close();

    const ready = await connected();
    await ready.clock.advance(20_000);
    ready.client.send(ready.at, ALIVE);
    await ready.clock.advance(25_000);
    expect(ready.relay.metrics.sessions).toBe(1);
    await ready.clock.advance(10_000);
    expect(ready.relay.metrics).toMatchObject({ sessions: 0, endedIdle: 1 });
    await ready.relay.close();
  });

  test.each([undefined, NetworkKey.SHIX])('a CLOSE is passed on and frees the session soon, key %s', async (key) => {
    const { clock, client, device, at, relay } = await connected({}, key);
    client.send(at, encodeMessage({ type: 'CLOSE' }));
    await clock.advance(100);
    expect(device.take().map((data) => decodeMessage(data).type)).toEqual(['CLOSE']);
    await clock.advance(5_000);
    expect(relay.metrics).toMatchObject({ sessions: 0, endedByClose: 1 });
    await relay.close();
  });

  test('a relay that shuts down tells both sides and releases everything', async () => {
    const { clock, internet, client, device, relay } = await connected();
    await relay.close();
    await clock.advance(100);
    const types = (end: typeof client) => end.take().map((data) => decodeMessage(data).type);
    expect([types(client), types(device)]).toEqual([['CLOSE'], ['CLOSE']]);
    expect(relay.metrics).toMatchObject({ sessions: 0, clients: 0, sources: 0 });
    await client.socket.close();
    await device.socket.close();
    expect(internet.openSockets).toBe(0);
    expect(clock.pendingTimers).toBe(0);
  });

  test('a relay that cannot have all its ports has none', async () => {
    const clock = new VirtualClock();
    const random = new SeededRandom(1);
    const internet = new SimulatedInternet({ clock, random });
    const { network } = internet.host();
    const other = await network.bindUdp({ port: 40002, onMessage: () => {} });
    await expect(
      RelayServer.listen({ network, clock, random }, { firstSessionPort: 40000, sessionPorts: 4 }),
    ).rejects.toMatchObject({ code: 'address-in-use' });
    await other.close();
    expect(internet.openSockets).toBe(0);
    expect(clock.pendingTimers).toBe(0);
  });
});

describeInBothPlanes('relay over TCP', () => {
  test('matches a TCP client with a UDP device', async () => {
    const { clock, internet, relay } = await relayWorld();
    const client = await tcpEnd(clock, internet.nat(natKinds.portRestricted).host());
    const device = await udpEnd(clock, internet.nat(natKinds.portRestricted).host());
    expect(await client.ask({ type: 'RLY_HELLO' })).toEqual([{ type: 'RLY_HELLO_ACK' }]);
    const [{ magic, port }] = (await client.ask({ type: 'RLY_PORT', uid: UID })) as [Reservation];
    expect(await client.ask(introduce(magic, 'client'))).toEqual([]);
    const at = { address: RELAY.address, port };
    expect(await device.ask(at, introduce(magic, 'device'))).toEqual([{ type: 'RLY_RDY', uid: UID }]);
    expect(client.take().map((data) => decodeMessage(data))).toEqual([{ type: 'RLY_RDY', uid: UID }]);

    const up = [pattern(1032, 1), ALIVE];
    const down = [pattern(1, 3), pattern(1032, 4)];
    for (const data of up) client.send(data);
    for (const data of down) device.send(at, data);
    await clock.advance(300);
    expect(device.take()).toEqual(up);
    expect(client.take()).toEqual(down);
    await relay.close();
  });

  test('matches two TCP ends, and tells one when the other is gone', async () => {
    const { clock, internet, relay } = await relayWorld();
    const client = await tcpEnd(clock, internet.host());
    const device = await tcpEnd(clock, internet.host());
    const [{ magic }] = (await client.ask({ type: 'RLY_PORT', uid: undefined })) as [Reservation];
    await client.ask(introduce(magic, 'client'));
    expect(await device.ask(introduce(magic, 'device'))).toEqual([{ type: 'RLY_RDY', uid: UID }]);
    expect(client.take()).toHaveLength(1);
    client.send(pattern(1032, 9));
    await clock.advance(200);
    expect(device.take()).toEqual([pattern(1032, 9)]);
    client.connection.destroy();
    await clock.advance(200);
    expect(device.take().map((data) => decodeMessage(data).type)).toEqual(['CLOSE']);
    expect(relay.metrics.sessions).toBe(0);
    await relay.close();
  });

  test('a connection that says nothing is closed', async () => {
    const { clock, internet, relay } = await relayWorld();
    const client = await tcpEnd(clock, internet.host());
    await clock.advance(95_000);
    expect([client.closed(), relay.metrics.tcpConnections]).toEqual([true, 0]);
    await relay.close();
  });
});

describeInBothPlanes('limits of a relay', () => {
  test('sessions per client', async () => {
    const { clock, internet, relay } = await relayWorld({ limits: { sessionsPerClient: 2 } });
    const host = internet.host();
    const answers: number[] = [];
    for (let i = 0; i < 3; i++) {
      const client = await udpEnd(clock, host);
      const [reserved] = (await client.ask(RELAY, { type: 'RLY_PORT', uid: undefined })) as [Reservation | undefined];
      answers.push(reserved === undefined ? 0 : 1);
      if (reserved) await client.ask({ ...RELAY, port: reserved.port }, introduce(reserved.magic, 'client'));
    }
    expect(answers).toEqual([1, 1, 0]);
    expect(relay.metrics.reservationsRefused).toBe(1);
    const other = await udpEnd(clock, internet.host());
    expect(await other.ask(RELAY, { type: 'RLY_PORT', uid: undefined })).toHaveLength(1);
    await relay.close();
  });

  test('sessions in all; a full relay does not answer RLY_HELLO, so that clients choose another', async () => {
    const { clock, internet, relay } = await relayWorld({ limits: { sessions: 1 } });
    const client = await udpEnd(clock, internet.host());
    const [{ magic, port }] = (await client.ask(RELAY, { type: 'RLY_PORT', uid: undefined })) as [Reservation];
    await client.ask({ ...RELAY, port }, introduce(magic, 'client'));
    const other = await udpEnd(clock, internet.host());
    expect(await other.ask(RELAY, { type: 'RLY_HELLO' })).toEqual([]);
    expect(await other.ask(RELAY, { type: 'RLY_PORT', uid: undefined })).toEqual([]);
    await relay.close();
  });

  test('bytes per second of one client, and of all', async () => {
    for (const limit of ['clientBytes', 'totalBytes'] as const) {
      // With headers.
      const limits = { [limit]: { perSecond: 10_280, burst: 5_140 } };
      const { clock, client, device, at, relay } = await connected({ limits });
      device.send(at, ALIVE);
      for (let i = 0; i < 20; i++) device.send(at, pattern(1000, i));
      await clock.advance(100);
      expect(client.take().length).toBe(5);
      await clock.advance(1000);
      for (let i = 0; i < 20; i++) device.send(at, pattern(1000, i));
      await clock.advance(100);
      expect(client.take().length).toBe(5);
      expect(relay.metrics.droppedOverRate).toBe(31);
      await relay.close();
    }
  });

  test('bytes per day end the session', async () => {
    const { clock, client, device, at, relay } = await connected({ limits: { clientBytesPerDay: 3_000 } });
    for (let i = 0; i < 4; i++) device.send(at, pattern(1000, i));
    await clock.advance(2_000);
    expect(client.take().map((data) => data.length)).toEqual([1000, 1000, 1000, 4]);
    expect(relay.metrics).toMatchObject({ sessions: 0, endedOverQuota: 1, droppedOverQuota: 1 });
    expect(await client.ask(RELAY, { type: 'RLY_PORT', uid: undefined })).toEqual([]);
    await clock.advance(86_400_000);
    expect(await client.ask(RELAY, { type: 'RLY_PORT', uid: undefined })).toHaveLength(1);
    await relay.close();
  });

  test('an IPv6 address is refused with the reason', async () => {
    await expect(relayWorld({ address: '2001:db8::7' }, undefined, 'user')).rejects.toMatchObject({
      code: 'bad-argument',
      message: expect.stringContaining('PPPP uses IPv4 only'),
    });
  });

  test('size of a datagram', async () => {
    const { clock, client, device, at, relay } = await connected();
    device.send(at, pattern(1473, 1));
    await clock.advance(100);
    expect(client.take()).toEqual([]);
    expect(relay.metrics.droppedTooLarge).toBe(1);
    await relay.close();
  });

  test('bytes to a device that has never spoken in the session', async () => {
    const { clock, client, device, at, relay } = await connected();
    for (let i = 0; i < 100; i++) client.send(at, pattern(1000, i));
    await clock.advance(200);
    expect(device.take().length).toBe(65);
    device.send(at, ALIVE);
    await clock.advance(100);
    for (let i = 0; i < 100; i++) client.send(at, pattern(1000, i));
    await clock.advance(200);
    expect(device.take().length).toBe(100);
    expect(relay.metrics.droppedUnproven).toBe(35);
    await relay.close();
  });
});
