import { SeededRandom } from '@towpath/core';
import type { VirtualClock } from '@towpath/core/testing';
import type { Endpoint } from '@towpath/net';
import { natKinds, type SimulatedHost } from '@towpath/net/simulated';
import { describe, expect, test } from 'vitest';
import { decodeMessage, encodeMessage, encodeTcpFrame, type Message, NetworkKey } from '../src/codec/index.ts';
import { StreamCipher } from '../src/index.ts';
import type { RelayOptions } from '../src/relay/server/options.ts';
import { PLANES, type Plane } from '../../stun/test/support/planes.ts';
import { RELAY, relayWorld } from './relay-planes.ts';

const UID = 'TEST-000001-BCDEF';
const CLOSE = encodeMessage({ type: 'CLOSE' });
const ALIVE = encodeMessage({ type: 'ALIVE' });
/** A session is moved at the first sweep after it was quiet. */
const SETTLED_MS = 5_000;
const HEADER_BYTES = 28;

type Reservation = Extract<Message, { type: 'RLY_PORT_ACK' }>;

/** A datagram that begins like one of a channel, as long as asked for. */
function drw(bytes: number, index = 0): Uint8Array {
  const start = encodeMessage({ type: 'DRW', channel: 0, index, data: new Uint8Array(8) });
  return Uint8Array.from([...start, ...new SeededRandom(bytes).bytes(bytes - start.length)]);
}

async function udpEnd(clock: VirtualClock, host: SimulatedHost, key?: string) {
  const cipher = key === undefined ? undefined : new StreamCipher(key);
  const raw: Uint8Array[] = [];
  const socket = await host.network.bindUdp({ onMessage: (data) => raw.push(data) });
  const send = (to: Endpoint, data: Uint8Array) => socket.send(cipher ? cipher.encipher(data) : data, to);
  const take = () => raw.splice(0).map((data) => (cipher ? cipher.decipher(data) : data));
  const ask = async (to: Endpoint, message: Message): Promise<Message[]> => {
    send(to, encodeMessage(message));
    await clock.advance(100);
    return take().map((data) => decodeMessage(data) as Message);
  };
  return { socket, send, take, ask };
}

type End = Awaited<ReturnType<typeof udpEnd>>;

/** Opens a session whose two ends are ready and heard. */
async function introduced(clock: VirtualClock, client: End, device: End): Promise<{ at: Endpoint; magic: number }> {
  const [{ magic, port }] = (await client.ask(RELAY, { type: 'RLY_PORT', uid: undefined })) as [Reservation];
  const at = { address: RELAY.address, port };
  await client.ask(at, { type: 'RLY_PKT', magic, uid: UID, side: 'client' });
  await device.ask(at, { type: 'RLY_PKT', magic, uid: UID, side: 'device' });
  device.send(at, ALIVE);
  client.send(at, ALIVE);
  await clock.advance(100);
  return { at, magic };
}

/** Two ends behind NATs, ready, heard, and quiet for long enough to move. */
async function connected(kind: Plane, options: RelayOptions = {}, key?: string) {
  const made = await relayWorld(options, key, kind);
  const { clock, internet } = made;
  const client = await udpEnd(clock, internet.nat(natKinds.symmetricRandom).host(), key);
  const device = await udpEnd(clock, internet.nat(natKinds.symmetricRandom).host(), key);
  const { at, magic } = await introduced(clock, client, device);
  await clock.advance(SETTLED_MS);
  client.take();
  device.take();
  return { ...made, client, device, at, magic };
}

test('a relay that listens on all addresses moves sessions too (A7)', async () => {
  const options = { address: '0.0.0.0' };
  const { clock, client, device, at, relay, close } = await connected('kernel', options);
  expect(relay.metrics.kernel?.sessions).toBe(1);
  const data = drw(900);
  client.send(at, data);
  device.send(at, data);
  await clock.advance(200);
  expect([device.take(), client.take()]).toEqual([[data], [data]]);
  await close();
});

describe.each(PLANES)('a PPPP relay, data through the %s plane', (kind) => {
  const isKernel = kind === 'kernel';

  test.each([undefined, NetworkKey.CAMERA])(
    'passes datagrams on byte for byte both ways, key %s (A7, D2)',
    async (key) => {
      const { clock, client, device, at, relay, network, ended, close } = await connected(kind, {}, key);
      expect(relay.metrics.kernel?.sessions ?? 0).toBe(isKernel ? 1 : 0);
      const down = [24, 32, 600, 1_032, 1_200, 1_472].map((size) => drw(size));
      const up = [ALIVE, drw(900), drw(28)];
      const before = relay.metrics.packetsForwarded;
      for (const data of up) client.send(at, data);
      for (const data of down) device.send(at, data);
      await clock.advance(200);
      expect([device.take(), client.take()]).toEqual([up, down]);
      expect(network.forwarded).toBe(isKernel ? 8 : 0);
      expect(relay.metrics.packetsForwarded - before).toBe(isKernel ? 1 : 9);
      client.send(at, CLOSE);
      await clock.advance(100);
      expect(device.take()).toEqual([CLOSE]);
      await clock.advance(SETTLED_MS);
      expect(relay.metrics).toMatchObject({ sessions: 0, endedByClose: 1 });
      const bytes = [...up, ...down, ALIVE, ALIVE, CLOSE].reduce((sum, { length }) => sum + length, 0);
      expect(ended).toMatchObject([{ uid: UID, bytes }]);
      await close();
    },
  );

  test('lets nobody else in, and keeps larger datagrams back', async () => {
    const { clock, internet, client, device, at, relay, close } = await connected(kind);
    const stranger = await udpEnd(clock, internet.host());
    stranger.send(at, drw(100));
    for (const { port } of relay.sessionEndpoints) {
      if (port !== at.port) client.send({ ...at, port }, drw(100));
    }
    device.send(at, drw(1_473));
    await clock.advance(200);
    expect([client.take(), device.take()]).toEqual([[], []]);
    expect(relay.metrics).toMatchObject({ droppedStrangers: 4, droppedTooLarge: 1 });
    await close();
  });

  test('a session with data alone stays, one with nothing ends after 30 s', async () => {
    const { clock, client, at, relay, close } = await connected(kind);
    for (let second = 0; second < 120; second += 5) {
      client.send(at, drw(100));
      await clock.advance(5_000);
    }
    expect(relay.metrics.sessions).toBe(1);
    await clock.advance(45_000);
    expect(relay.metrics).toMatchObject({ sessions: 0, endedIdle: 1 });
    expect(relay.metrics.kernel?.sessions ?? 0).toBe(0);
    await close();
  });

  test('an address that begins another session is refused while the first runs', async () => {
    const { clock, internet, client, device, at, relay, close } = await connected(kind, { sessionPorts: 1 });
    client.send(at, drw(100));
    await clock.advance(100);
    const other = await udpEnd(clock, internet.host());
    const [{ magic }] = (await other.ask(RELAY, { type: 'RLY_PORT', uid: undefined })) as [Reservation];
    await other.ask(at, { type: 'RLY_PKT', magic, uid: UID, side: 'client' });
    device.take();
    expect(await device.ask(at, { type: 'RLY_PKT', magic, uid: UID, side: 'device' })).toEqual([]);
    expect(relay.metrics.portConflicts).toBe(1);
    client.send(at, drw(100));
    await clock.advance(100);
    expect(device.take()).toEqual([drw(100)]);
    await clock.advance(SETTLED_MS);
    const again = () => device.ask(at, { type: 'RLY_PKT', magic, uid: UID, side: 'device' });
    // The first attempt takes a session out of the kernel, where it is seen to be silent before the next.
    if (isKernel) expect(await again()).toEqual([]);
    await clock.advance(SETTLED_MS);
    expect(await again()).toEqual([{ type: 'RLY_RDY', uid: UID }]);
    await close();
  });

  test.each([1, 3])(
    "a client's bytes of a day hold within 5 % at ten times as many, for %i of its sessions together, and end them with CLOSE; another client loses nothing",
    async (count) => {
      const { clock, internet, relay, close } = await relayWorld(
        { limits: { clientBytesPerDay: 100_000 } },
        undefined,
        kind,
      );
      const host = internet.host();
      const place = async (client: SimulatedHost) => {
        const ends = [await udpEnd(clock, client), await udpEnd(clock, internet.nat(natKinds.symmetricRandom).host())];
        return { ...(await introduced(clock, ends[0]!, ends[1]!)), client: ends[0]!, device: ends[1]! };
      };
      const sessions = [];
      for (let at = 0; at < count; at++) sessions.push(await place(host));
      const neighbour = await place(internet.host());
      await clock.advance(SETTLED_MS);
      expect(relay.metrics.kernel?.sessions ?? 0).toBe(isKernel ? count + 1 : 0);
      const before = sessions.map(({ client }) => client.take());
      neighbour.client.take();
      for (let burst = 0; burst < 20; burst++) {
        for (let i = 0; i < 50; i++) {
          const { device, at } = sessions[i % count]!;
          device.send(at, drw(1_000, i));
        }
        for (let i = 0; i < 4; i++) neighbour.device.send(neighbour.at, drw(1_000, i));
        await clock.advance(100);
      }
      await clock.advance(3_000);
      const taken = sessions.map(({ client }, at) => [...before[at]!, ...client.take()]);
      const data = (each: Uint8Array[]) => each.filter(({ length }) => length === 1_000).length;
      const received = taken.reduce((sum, each) => sum + data(each), 0);
      expect(Math.abs(received * 1_028 - 100_000)).toBeLessThanOrEqual(5_000);
      expect(relay.metrics).toMatchObject({ sessions: 1, endedOverQuota: count });
      for (const each of taken) expect(each.at(-1)).toEqual(CLOSE);
      expect(data(neighbour.client.take())).toBe(80);
      const [{ client }] = sessions as [(typeof sessions)[number]];
      expect(await client.ask(RELAY, { type: 'RLY_PORT', uid: undefined })).toEqual([]);
      await clock.advance(86_400_000);
      expect(await client.ask(RELAY, { type: 'RLY_PORT', uid: undefined })).toHaveLength(1);
      await close();
    },
  );

  test.each([
    [8, 0, 0],
    [8, 1, 1],
    [100, 0, 0],
    [100, 1, 1],
    [1_444, 0, 0],
  ])(
    'payloads of %i bytes and 28 of headers count for the bytes of a day: with %i to spare, sessions left: %i',
    async (bytes, spareBytes, left) => {
      const count = 40;
      // What the ends say before any data: each introduces itself once, and is heard once, in user space.
      const heard = 2 * (ALIVE.length + HEADER_BYTES);
      const clientBytesPerDay = heard + count * (bytes + HEADER_BYTES) + spareBytes;
      const { clock, client, device, at, relay, close } = await connected(kind, { limits: { clientBytesPerDay } });
      expect(relay.metrics.kernel?.sessions ?? 0).toBe(isKernel ? 1 : 0);
      for (let i = 0; i < count; i++) device.send(at, drw(Math.max(bytes, 16), i).subarray(0, bytes));
      await clock.advance(5_000);
      expect(client.take().filter((data) => data.length === bytes)).toHaveLength(count);
      expect(relay.metrics).toMatchObject({ sessions: left, endedOverQuota: 1 - left });
      await close();
    },
  );

  test('a session that runs past the end of a day has the bytes of the next', async () => {
    const { clock, internet, relay, close } = await relayWorld(
      { limits: { clientBytesPerDay: 50_000 } },
      undefined,
      kind,
    );
    const client = await udpEnd(clock, internet.host());
    const device = await udpEnd(clock, internet.host());
    client.send((await introduced(clock, client, device)).at, CLOSE);
    // The day of a client begins with its first session.
    await clock.advance(86_370_000);
    client.take();
    const { at } = await introduced(clock, client, device);
    await clock.advance(SETTLED_MS);
    const receivedOf = async (count: number) => {
      client.take();
      for (let i = 0; i < count; i++) device.send(at, drw(1_000, i));
      await clock.advance(SETTLED_MS);
      return client.take().length;
    };
    expect(await receivedOf(40)).toBe(40);
    await clock.advance(25_000);
    expect(relay.metrics.kernel?.sessions ?? 0).toBe(isKernel ? 1 : 0);
    expect(await receivedOf(40)).toBe(40);
    expect(relay.metrics).toMatchObject({ sessions: 1, endedOverQuota: 0 });
    await close();
  });

  test('a side over TCP is served by the server', async () => {
    const { clock, internet, relay, network, close } = await relayWorld({}, undefined, kind);
    const device = await udpEnd(clock, internet.host());
    const received: Uint8Array[] = [];
    const connection = await clock.runUntil(
      internet.host().network.connectTcp(RELAY, { onData: (data) => received.push(data) }),
    );
    const [{ magic, port }] = (await device.ask(RELAY, { type: 'RLY_PORT', uid: undefined })) as [Reservation];
    const at = { ...RELAY, port };
    const introduction: Message = { type: 'RLY_PKT', magic, uid: UID, side: 'client' };
    connection.write(encodeTcpFrame(encodeMessage(introduction)));
    await clock.advance(200);
    await device.ask(at, { ...introduction, side: 'device' });
    device.send(at, ALIVE);
    await clock.advance(SETTLED_MS);
    received.length = 0;
    device.send(at, drw(500));
    connection.write(encodeTcpFrame(drw(600)));
    await clock.advance(300);
    expect(device.take().at(-1)).toEqual(drw(600));
    expect(Buffer.concat(received).length).toBeGreaterThan(500);
    expect([network.forwarded, relay.metrics.kernel?.sessions ?? 0]).toEqual([0, 0]);
    await close();
  });

  test('nothing is lost when nft dies in the middle, and all is released at the end', async () => {
    const { clock, internet, client, device, at, kernel, relay, network, close } = await connected(kind);
    let sent = 0;
    for (let turn = 0; turn < 50; turn++) {
      client.send(at, drw(200, sent++));
      if (turn % 10 === 5) kernel.children.at(-1)?.end('SIGKILL');
      await clock.advance(70);
    }
    expect(device.take()).toHaveLength(sent);
    if (isKernel) expect(network.forwarded).toBeGreaterThan(40);
    await close();
    await clock.advance(100);
    const types = (end: typeof client) => end.take().map((data) => decodeMessage(data).type);
    expect([types(client), types(device)]).toEqual([['CLOSE'], ['CLOSE']]);
    await client.socket.close();
    await device.socket.close();
    expect([internet.openSockets, kernel.tables.size, relay.metrics.sessions]).toEqual([0, 0, 0]);
    expect(clock.pendingTimers).toBe(0);
  });
});
