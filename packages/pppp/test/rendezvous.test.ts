import { SeededRandom } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import type { Endpoint } from '@towpath/net';
import { natKinds, type SimulatedHost, SimulatedInternet } from '@towpath/net/simulated';
import { describe, expect, test } from 'vitest';
import { parseUid, StreamCipher } from '../src/index.ts';
import {
  decodeMessage,
  encodeMessage,
  encodeTcpFrame,
  type Message,
  NetworkKey,
  PaidInFullBytes,
} from '../src/codec/index.ts';
import type { RendezvousOptions } from '../src/rendezvous/server/options.ts';
import { RendezvousServer } from '../src/rendezvous/server/rendezvous-server.ts';
import { TcpDeframer } from '../src/codec/tcp-frame.ts';

const UID = 'TEST-000001-BCDEF';
const SERVER = { address: '198.51.100.1', port: 32100 };
const RELAY = { address: '198.51.100.7', port: 32110 };

async function world(options: RendezvousOptions = {}) {
  const clock = new VirtualClock();
  const random = new SeededRandom(7);
  const internet = new SimulatedInternet({ clock, random });
  const { network } = internet.host({ address: SERVER.address });
  const server = await RendezvousServer.listen({ network, clock, random }, { relays: [RELAY], ...options });
  return { clock, internet, server };
}

/** A UDP client of the test: keeps what it receives, in the clear. */
async function speaker(clock: VirtualClock, host: SimulatedHost, key?: string) {
  const cipher = key === undefined ? undefined : new StreamCipher(key);
  const received: Message[] = [];
  const raw: Uint8Array[] = [];
  const socket = await host.network.bindUdp({
    onMessage: (data) => {
      raw.push(data);
      received.push(decodeMessage(cipher ? cipher.decipher(data) : data) as Message);
    },
  });
  return {
    socket,
    raw,
    /** Sends, waits for the answers, and returns what came since the last call. */
    async ask(...messages: (Message | Uint8Array)[]): Promise<Message[]> {
      for (const message of messages) {
        const clear = message instanceof Uint8Array ? message : encodeMessage(message);
        socket.send(cipher ? cipher.encipher(clear) : clear, SERVER);
      }
      await clock.advance(100);
      return received.splice(0);
    },
  };
}

function login(local: Endpoint, uid = UID): Message {
  return { type: 'DEV_LGN', uid, natType: 0, version: [4, 0, 0], local };
}

describe('rendezvous (A7)', () => {
  test('tells client and device behind two NATs both addresses of the other', async () => {
    const { clock, internet, server } = await world();
    const deviceNat = internet.nat(natKinds.portRestricted);
    const clientNat = internet.nat(natKinds.portRestricted);
    const device = await speaker(clock, deviceNat.host());
    const client = await speaker(clock, clientNat.host());
    const deviceLan = { address: '192.168.1.50', port: device.socket.local.port };
    const clientLan = { address: '192.168.7.9', port: client.socket.local.port };

    const [hello, loggedIn] = await device.ask({ type: 'HELLO' }, login(deviceLan));
    expect(loggedIn).toEqual({ type: 'DEV_LGN_ACK', result: 0 });
    const [seen] = await client.ask({ type: 'HELLO' });
    const answers = await client.ask({ type: 'P2P_REQ', uid: UID, local: clientLan });
    const repeated = await client.ask({ type: 'P2P_REQ', uid: UID, local: clientLan });
    const invited = await device.ask();

    const deviceWan = (hello as { address: Endpoint }).address;
    const clientWan = (seen as { address: Endpoint }).address;
    expect(deviceWan.address).not.toBe(clientWan.address);
    expect(answers).toEqual([
      { type: 'P2P_REQ_ACK', result: 0 },
      { type: 'PUNCH_TO', address: deviceWan },
    ]);
    // The first request paid for one address; with the second both are paid for.
    expect(repeated.slice(1)).toEqual([
      { type: 'PUNCH_TO', address: deviceWan },
      { type: 'PUNCH_TO', address: deviceLan },
    ]);
    expect(invited.slice(0, 2)).toEqual([
      { type: 'PUNCH_TO', address: clientWan },
      { type: 'PUNCH_TO', address: clientLan },
    ]);
    await server.close();
  });

  test('answers a padded request in full at once', async () => {
    const { clock, internet, server } = await world();
    const device = await speaker(clock, internet.nat(natKinds.fullCone).host());
    const client = await speaker(clock, internet.nat(natKinds.fullCone).host());
    await device.ask(login({ address: '192.168.1.50', port: 41000 }));
    const local = { address: '192.168.1.2', port: 5000 };
    const request = encodeMessage({ type: 'P2P_REQ', uid: UID, local }, PaidInFullBytes.P2P_REQ);
    expect((await client.ask(request)).map(({ type }) => type)).toEqual(['P2P_REQ_ACK', 'PUNCH_TO', 'PUNCH_TO']);
    expect((await device.ask()).map(({ type }) => type)).toEqual(['PUNCH_TO', 'PUNCH_TO']);
    // The device's logins have paid for nothing more: the client pays for both.
    await client.ask(request);
    expect((await device.ask()).map(({ type }) => type)).toEqual(['PUNCH_TO', 'PUNCH_TO']);

    const list = await client.ask(encodeMessage({ type: 'LIST_REQ' }, PaidInFullBytes.LIST_REQ));
    expect(list).toEqual([{ type: 'LIST_REQ_ACK', relays: [RELAY] }]);
    const before = server.metrics.unpaidAnswers;
    await client.ask(encodeMessage({ type: 'HELLO' }, PaidInFullBytes.HELLO));
    expect(server.metrics.unpaidAnswers).toBe(before);
    await server.close();
  });

  test.each([undefined, NetworkKey.CAMERA, NetworkKey.CS2, NetworkKey.SHIX])(
    'serves a foreign client: dashless UID, family-0 local address, one request, key %s',
    async (key) => {
      const { clock, internet, server } = await world();
      const device = await speaker(clock, internet.nat(natKinds.fullCone).host());
      await device.ask(login({ address: '192.168.1.50', port: 41000 }));

      const client = await speaker(clock, internet.nat(natKinds.symmetricRandom).host(), key);
      const request = encodeMessage({ type: 'P2P_REQ', uid: parseUid('TEST000001BCDEF'), local: undefined });
      // Family 0, port big-endian, no address.
      request.set([0, 0, 0xa0, 0x28], 24);
      const answers = await client.ask({ type: 'HELLO' }, request);

      expect(answers.map(({ type }) => type)).toEqual(['HELLO_ACK', 'P2P_REQ_ACK', 'PUNCH_TO']);
      expect(client.raw[0]![0]).toBe(key === undefined ? 0xf1 : new StreamCipher(key).encipher(Uint8Array.of(0xf1))[0]);
      // The literal bytes that such clients compare with.
      if (key === undefined) expect(Buffer.from(client.raw[1]!).toString('hex')).toBe('f121000400000000');
      // The device logged in in the clear: it is invited in the clear, to the client's outer address only.
      const invited = await device.ask();
      expect(invited).toEqual([{ type: 'PUNCH_TO', address: (answers[0] as { address: Endpoint }).address }]);
      await server.close();
    },
  );

  test('answers each of several ports, so that a client sees how its NAT maps', async () => {
    const { clock, internet, server } = await world({ ports: [32100, 32101, 32102] });
    const { network } = internet.nat(natKinds.symmetricSequential).host();
    const ports: number[] = [];
    const socket = await network.bindUdp({
      onMessage: (data) => {
        const message = decodeMessage(data);
        if (message.type === 'HELLO_ACK') ports.push(message.address!.port);
      },
    });
    for (const { port } of server.endpoints) socket.send(encodeMessage({ type: 'HELLO' }), { ...SERVER, port });
    await clock.advance(100);
    expect(ports).toHaveLength(3);
    expect(ports[1]! - ports[0]!).toBe(ports[2]! - ports[1]!);
    expect(new Set(ports).size).toBe(3);
    await server.close();
  });

  test('says how long ago a device logged in, and forgets it after five minutes', async () => {
    const { clock, internet, server } = await world();
    const device = await speaker(clock, internet.host());
    const client = await speaker(clock, internet.host());
    await device.ask(login({ address: '192.168.1.50', port: 41000 }));
    await clock.advance(12_000);
    expect(await client.ask({ type: 'DEV_ONLINE_REQ', uid: UID })).toEqual([
      { type: 'DEV_ONLINE_REQ_ACK', secondsSinceLogin: 12, result: 0 },
    ]);
    await clock.advance(300_000);
    expect(await client.ask({ type: 'P2P_REQ', uid: UID, local: undefined })).toEqual([
      { type: 'P2P_REQ_ACK', result: 0xfe },
    ]);
    expect(server.metrics.connectsOffline).toBe(1);
    await server.close();
  });

  test('lists relays and invites both sides to the one that the client chose', async () => {
    const { clock, internet, server } = await world();
    const device = await speaker(clock, internet.host());
    const client = await speaker(clock, internet.host());
    await device.ask(login({ address: '192.168.1.50', port: 41000 }));
    expect(await client.ask({ type: 'LIST_REQ1', uid: UID })).toEqual([{ type: 'LIST_REQ_ACK', relays: [RELAY] }]);
    expect(await client.ask({ type: 'LIST_REQ' })).toEqual([{ type: 'LIST_REQ_ACK', relays: [RELAY] }]);
    const dsk = await client.ask({ type: 'LIST_REQ_DSK', uid: UID, dsk: '' });
    expect(dsk).toEqual([{ type: 'LIST_REQ_ACK', relays: [RELAY] }]);

    const relay = { address: RELAY.address, port: 51234 };
    const answers = await client.ask({ type: 'RLY_REQ', uid: UID, relay, magic: 0xa1b2c3d4 });
    const invitation = { type: 'RLY_TO', relay, magic: 0xa1b2c3d4 };
    expect(answers).toEqual([{ type: 'RLY_REQ_ACK', result: 0 }, invitation]);
    expect(await device.ask()).toEqual([invitation]);
    await server.close();
  });

  test('sends nobody to a relay that is not one of its own', async () => {
    const { clock, internet, server } = await world();
    const device = await speaker(clock, internet.host());
    const client = await speaker(clock, internet.host());
    await device.ask(login({ address: '192.168.1.50', port: 41000 }));
    const relay = { address: '203.0.113.99', port: 80 };
    expect(await client.ask({ type: 'RLY_REQ', uid: UID, relay, magic: 1 })).toEqual([
      { type: 'RLY_REQ_ACK', result: 0xfb },
    ]);
    expect(await device.ask()).toEqual([]);
    await server.close();
  });

  test('never passes on a public address that somebody states as its own', async () => {
    const { clock, internet, server } = await world();
    const device = await speaker(clock, internet.host());
    const client = await speaker(clock, internet.host());
    await device.ask({ type: 'HELLO' }, login({ address: '203.0.113.5', port: 41000 }));
    const answers = await client.ask(
      { type: 'HELLO' },
      { type: 'HELLO' },
      { type: 'P2P_REQ', uid: UID, local: { address: '203.0.113.6', port: 53 } },
    );
    const punches = [...answers, ...(await device.ask())].filter(({ type }) => type === 'PUNCH_TO');
    expect(punches).toHaveLength(2);
    expect(JSON.stringify(punches)).not.toContain('203.0.113');
    await server.close();
  });

  test('names the LAN address first to a neighbour behind the same NAT', async () => {
    const { clock, internet, server } = await world();
    const home = internet.nat(natKinds.portRestricted);
    const device = await speaker(clock, home.host());
    const client = await speaker(clock, home.host());
    const local = { address: '192.168.1.50', port: 41000 };
    await device.ask(login(local));
    const answers = await client.ask({ type: 'P2P_REQ', uid: UID, local: undefined });
    expect(answers[1]).toEqual({ type: 'PUNCH_TO', address: local });
    await server.close();
  });

  test('counts session reports and stays silent (0xF9)', async () => {
    const { clock, internet, server } = await world();
    const client = await speaker(clock, internet.host());
    const report = {
      type: 'REPORT_SESSION_READY',
      uid: UID,
      tableSize: 256,
      sessionsInUse: 1,
      elapsedMs: 500,
      connectMode: 0x3f,
    } as const;
    const nowhere = { local: undefined, wan: undefined, peer: undefined };
    expect(await client.ask({ ...report, ...nowhere, handle: 1 }, { ...report, ...nowhere, handle: -3 })).toEqual([]);
    expect(server.metrics).toMatchObject({ reportsOk: 1, reportsFailed: 1 });
    await server.close();
  });

  test('ignores unknown and malformed datagrams, and counts them', async () => {
    const { clock, internet, server } = await world();
    const client = await speaker(clock, internet.host());
    const answers = await client.ask(
      Uint8Array.of(0xf1, 0xf4, 0, 0),
      Uint8Array.of(0xf1, 0x20, 0, 1, 0),
      Uint8Array.of(1, 2, 3),
    );
    expect(answers).toEqual([]);
    expect(server.metrics).toMatchObject({ ignored: 1, malformed: 2 });
    await server.close();
  });

  test('closes every socket, connection and timer', async () => {
    const { clock, internet, server } = await world({ ports: [32100, 32101] });
    const client = await clock.runUntil(internet.host().network.connectTcp(SERVER, { onData: () => {} }));
    await clock.advance(100);
    expect(server.metrics.tcpConnections).toBe(1);
    await server.close();
    await server.close();
    client.destroy();
    await clock.advance(10_000);
    expect(internet.openSockets).toBe(0);
    expect(clock.pendingTimers).toBe(0);
  });

  test('refuses a relay that it could not name, before it opens anything', async () => {
    const clock = new VirtualClock();
    const random = new SeededRandom(1);
    const { network } = new SimulatedInternet({ clock, random }).host();
    const relays = [{ address: 'relay.example.org', port: 32110 }];
    await expect(RendezvousServer.listen({ network, clock, random }, { relays })).rejects.toThrow(/relay.example.org/);
    expect(clock.pendingTimers).toBe(0);
  });

  test('leaves nothing open when one of its ports is taken', async () => {
    const clock = new VirtualClock();
    const random = new SeededRandom(1);
    const internet = new SimulatedInternet({ clock, random });
    const { network } = internet.host();
    const other = await network.bindUdp({ port: 32101, onMessage: () => {} });
    await expect(RendezvousServer.listen({ network, clock, random }, { ports: [32100, 32101] })).rejects.toMatchObject({
      code: 'address-in-use',
    });
    await other.close();
    expect(internet.openSockets).toBe(0);
    expect(clock.pendingTimers).toBe(0);
  });
});

describe('secrets of devices', () => {
  const secret = 'correct-horse-1';
  const options: RendezvousOptions = { deviceSecret: (uid) => (uid === UID ? secret : undefined) };
  const local = { address: '192.168.1.50', port: 41000 };
  const withDsk = (dsk: string): Message => ({
    type: 'DEV_LGN_DSK',
    uid: UID,
    natType: 0,
    version: [4, 0, 0],
    local,
    dsk,
  });

  test('a device that has one cannot log in without it, or with another', async () => {
    const { clock, internet, server } = await world(options);
    const device = await speaker(clock, internet.host());
    expect(await device.ask(login(local))).toEqual([{ type: 'DEV_LGN_ACK', result: 0xfc }]);
    expect(await device.ask(withDsk('wrong'))).toEqual([{ type: 'DEV_LGN_ACK', result: 0xfc }]);
    expect(await device.ask(withDsk(secret))).toEqual([{ type: 'DEV_LGN_ACK', result: 0 }]);
    const other = await speaker(clock, internet.host());
    expect(await other.ask(login(local, 'TEST-000002-BCDEF'))).toEqual([{ type: 'DEV_LGN_ACK', result: 0 }]);
    expect(server.metrics).toMatchObject({ loginsRefused: 2, logins: 2 });
    await server.close();
  });

  test('a client with a wrong one is refused; without one only where it is required', async () => {
    for (const clientsNeedSecret of [false, true]) {
      const { clock, internet, server } = await world({ ...options, clientsNeedSecret });
      const device = await speaker(clock, internet.host());
      const client = await speaker(clock, internet.host());
      await device.ask(withDsk(secret));
      const ask = async (dsk: string) => {
        const [answer] = await client.ask({
          type: 'P2P_REQ_DSK',
          uid: UID,
          local,
          natType: 2,
          version: [4, 0, 0],
          dsk,
        });
        return (answer as { result: number }).result;
      };
      expect(await ask('wrong')).toBe(0xfc);
      expect(await ask(secret)).toBe(0);
      const [plain] = await client.ask({ type: 'P2P_REQ', uid: UID, local });
      expect(plain).toEqual({ type: 'P2P_REQ_ACK', result: clientsNeedSecret ? 0xfc : 0 });
      await server.close();
    }
  });

  test('prefixes that are not served are refused', async () => {
    const { clock, internet, server } = await world({ prefixes: ['OTHER'] });
    const peer = await speaker(clock, internet.host());
    expect(await peer.ask(login(local))).toEqual([{ type: 'DEV_LGN_ACK', result: 0xfd }]);
    expect(await peer.ask({ type: 'P2P_REQ', uid: UID, local })).toEqual([{ type: 'P2P_REQ_ACK', result: 0xfd }]);
    await server.close();
  });
});

describe('rendezvous over TCP', () => {
  async function tcpSpeaker(clock: VirtualClock, host: SimulatedHost, nonce?: number) {
    const received: Message[] = [];
    const forms: boolean[] = [];
    const deframer = new TcpDeframer();
    const onMessage = (message: Uint8Array, enciphered: boolean) => {
      received.push(decodeMessage(message) as Message);
      forms.push(enciphered);
    };
    const connection = await clock.runUntil(
      host.network.connectTcp(SERVER, { onData: (piece) => void deframer.push(piece, onMessage) }),
    );
    return {
      connection,
      forms,
      async ask(...messages: Message[]): Promise<Message[]> {
        for (const message of messages) connection.write(encodeTcpFrame(encodeMessage(message), nonce));
        await clock.advance(200);
        return received.splice(0);
      },
    };
  }

  test('a device whose UDP does not leave is invited to a relay, in full and in its form of frames', async () => {
    const { clock, internet, server } = await world();
    const device = await tcpSpeaker(clock, internet.nat(natKinds.portRestricted).host(), 0x7351);
    const client = await speaker(clock, internet.host());
    expect(await device.ask(login({ address: '192.168.1.50', port: 41000 }))).toEqual([
      { type: 'DEV_LGN_ACK', result: 0 },
    ]);
    const relay = { address: RELAY.address, port: 51234 };
    expect(await client.ask({ type: 'RLY_REQ', uid: UID, relay, magic: 5 })).toHaveLength(2);
    expect(await device.ask()).toEqual([{ type: 'RLY_TO', relay, magic: 5 }]);
    expect(device.forms.every(Boolean)).toBe(true);
    // Its TCP address is of no use to a client: only the LAN address is named.
    const answers = await client.ask({ type: 'P2P_REQ', uid: UID, local: undefined });
    expect(answers).toContainEqual({ type: 'PUNCH_TO', address: { address: '192.168.1.50', port: 41000 } });
    expect(answers).toHaveLength(2);
    await server.close();
  });

  test('a device is offline as soon as its connection is gone', async () => {
    const { clock, internet, server } = await world();
    const device = await tcpSpeaker(clock, internet.host());
    const client = await speaker(clock, internet.host());
    await device.ask(login({ address: '192.168.1.50', port: 41000 }));
    expect(server.metrics.devices).toBe(1);
    device.connection.destroy();
    await clock.advance(100);
    const [answer] = await client.ask({ type: 'P2P_REQ', uid: UID, local: undefined });
    expect([answer, server.metrics.devices]).toEqual([{ type: 'P2P_REQ_ACK', result: 0xfe }, 0]);
    await server.close();
  });

  test('connections that are silent, speak no frames or are too many are closed', async () => {
    const { clock, internet, server } = await world({ tcpLimits: { connectionsPerAddress: 2 } });
    const host = internet.host();
    const noise = await tcpSpeaker(clock, host);
    noise.connection.write(new Uint8Array(32).fill(0x47));
    await clock.advance(200);
    expect(server.metrics).toMatchObject({ tcpConnections: 0, tcp: { badFrames: 1 } });

    const closed: number[] = [];
    for (const i of [0, 1, 2]) {
      void host.network.connectTcp(SERVER, { onData: () => {}, onClose: () => closed.push(i) });
    }
    await clock.advance(200);
    expect(server.metrics).toMatchObject({ tcpConnections: 2, tcp: { refused: 1, unfinished: 2 } });
    await clock.advance(12_000);
    expect(server.metrics).toMatchObject({ tcpConnections: 0, tcp: { unfinished: 0, unfinishedClosed: 2 } });
    expect(closed).toHaveLength(3);
    // One that has spoken may rest longer.
    const resting = await tcpSpeaker(clock, host);
    await resting.ask({ type: 'HELLO' });
    await clock.advance(80_000);
    expect(server.metrics).toMatchObject({ tcpConnections: 1, tcp: { unfinished: 0, idleClosed: 0 } });
    await clock.advance(12_000);
    expect(server.metrics).toMatchObject({ tcpConnections: 0, tcp: { idleClosed: 1 } });
    await server.close();
  });
});
