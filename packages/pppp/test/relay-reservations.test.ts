import { SeededRandom } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import { DelegatingNetwork, type Endpoint, type Network, type TcpListenOptions } from '@towpath/net';
import { SimulatedInternet } from '@towpath/net/simulated';
import { describe, expect, test } from 'vitest';
import { StreamCipher } from '../src/index.ts';
import {
  decodeMessage,
  encodeMessage,
  encodeTcpFrame,
  type Message,
  NetworkKey,
  TcpDeframer,
} from '../src/codec/index.ts';
import { RelayServer } from '../src/relay/server/relay-server.ts';
import { RendezvousServer } from '../src/rendezvous/server/rendezvous-server.ts';
import { StubNetwork } from './stub-network.ts';
import { World } from './connect-world.ts';

const UID = 'TEST-000001-BCDEF';
const OTHER_UID = 'TEST-000002-BCDEF';
const PORT = 32110;
const CLIENT = { address: '192.0.2.77', port: 7 };
const DEVICE = { address: '192.0.2.9', port: 9 };

type Granted = { magic: number; port: number };

async function stub(sessionPorts: number) {
  const network = new StubNetwork();
  const clock = new VirtualClock();
  const components = { network, clock, random: new SeededRandom(5) };
  const relay = await RelayServer.listen(components, { tcpPort: false, port: PORT, sessionPorts });
  const take = (to: Endpoint) => network.take(to.address, to.port).map((data) => decodeMessage(data) as Message);
  return {
    clock,
    relay,
    network,
    take,
    reserve(from: Endpoint, uid?: string): Granted {
      network.deliver(PORT, from, encodeMessage({ type: 'RLY_PORT', uid }));
      return take(from)[0] as Extract<Message, { type: 'RLY_PORT_ACK' }>;
    },
    introduce(side: 'client' | 'device', from: Endpoint, { magic, port }: Granted, uid = UID): string[] {
      network.deliver(port, from, encodeMessage({ type: 'RLY_PKT', magic, uid, side }));
      return take(from).map(({ type }) => type);
    },
  };
}

function client(at: number): Endpoint {
  return { address: `192.0.2.${100 + at}`, port: 7 };
}

describe('session ports of a relay (A7)', () => {
  test('clients that ask at once for one device get a port each, before anybody has used his', async () => {
    const { reserve, introduce, relay } = await stub(8);
    const granted = Array.from({ length: 8 }, (_, at) => reserve(client(at), UID));
    expect(new Set(granted.map(({ port }) => port)).size).toBe(8);
    for (const [at, each] of granted.entries()) {
      expect(introduce('client', client(at), each)).toEqual([]);
      expect(introduce('device', DEVICE, each)).toEqual(['RLY_RDY']);
    }
    expect(relay.metrics).toMatchObject({ sessionsReady: 8, portConflicts: 0 });
    // None is left, which nobody is refused for.
    expect(reserve(client(9), UID).magic).toBeGreaterThan(0);
    await relay.close();
  });

  test('a port on which the device has only a reservation is preferred to one on which it has a session', async () => {
    const { reserve, introduce, relay } = await stub(2);
    const used = reserve(client(0), UID);
    introduce('client', client(0), used);
    introduce('device', DEVICE, used);
    const pending = [1, 2, 3, 4].map((at) => reserve(client(at), UID).port);
    expect(new Set(pending).size).toBe(1);
    expect(pending).not.toContain(used.port);
    await relay.close();
  });

  test('a client that does not name its devices gets a port for each as well', async () => {
    const { reserve, introduce, relay } = await stub(4);
    const granted = [1, 2, 3, 4].map(() => reserve(CLIENT));
    expect(new Set(granted.map(({ port }) => port)).size).toBe(4);
    const [first] = granted as [Granted];
    introduce('client', CLIENT, first);
    expect([1, 2, 3].map(() => reserve(CLIENT).port)).not.toContain(first.port);
    await relay.close();
  });

  test('a port is free again when its reservation has expired, or its session is over', async () => {
    const { clock, reserve, introduce, relay } = await stub(2);
    const lost = reserve(client(0), UID);
    await clock.advance(31_000);
    const used = reserve(client(1), UID);
    introduce('client', client(1), used);
    expect(reserve(client(2), OTHER_UID).magic).toBeGreaterThan(0);
    await clock.advance(65_000);
    const ports = [reserve(client(3), UID), reserve(client(4), UID)].map(({ port }) => port);
    expect(new Set(ports).size).toBe(2);
    expect(ports).toContain(lost.port);
    expect(relay.metrics.sessions).toBe(0);
    await relay.close();
  });

  test('a client on TCP that waits at a busy port asks for another over the same connection', async () => {
    const clock = new VirtualClock();
    const random = new SeededRandom(7);
    const internet = new SimulatedInternet({ clock, random });
    const address = '198.51.100.7';
    await using relay = await RelayServer.listen(
      { network: internet.host({ address }).network, clock, random },
      { sessionPorts: 2 },
    );
    const heard: Message[] = [];
    const deframer = new TcpDeframer();
    const connection = await clock.runUntil(
      internet.host().network.connectTcp(
        { address, port: PORT },
        {
          onData: (piece) => void deframer.push(piece, (data) => heard.push(decodeMessage(data.slice()) as Message)),
        },
      ),
    );
    const ask = async (message: Message) => {
      connection.write(encodeTcpFrame(encodeMessage(message)));
      await clock.advance(200);
      return heard.splice(0);
    };
    const [first] = (await ask({ type: 'RLY_PORT', uid: UID })) as [Granted & Message];
    await ask({ type: 'RLY_PKT', magic: first.magic, uid: UID, side: 'client' });
    const [second] = (await ask({ type: 'RLY_PORT', uid: UID })) as [Granted & Message];
    expect(second.port).not.toBe(first.port);
    const [third] = (await ask({ type: 'RLY_PORT', uid: UID })) as [Granted & Message];
    await ask({ type: 'RLY_PKT', magic: second.magic, uid: UID, side: 'client' });
    expect(relay.metrics).toMatchObject({ sessions: 1, portConflicts: 0 });

    const device = await internet.host().network.bindUdp({ onMessage: () => {} });
    const introduction = encodeMessage({ type: 'RLY_PKT', magic: second.magic, uid: UID, side: 'device' });
    device.send(introduction, { address, port: second.port });
    await clock.advance(200);
    expect(heard.splice(0)).toEqual([{ type: 'RLY_RDY', uid: UID }]);
    // A session that runs is not given up for another.
    expect(await ask({ type: 'RLY_PKT', magic: third.magic, uid: UID, side: 'client' })).toEqual([]);
    expect(relay.metrics).toMatchObject({ sessionsReady: 1, portConflicts: 1 });
  });

  test('a client on TCP reaches a device that cannot come to the first port, without no-answer', async () => {
    const world = await World.make({ client: 'udpBlocked', relay: { sessionPorts: 4 } });
    await world.startDevice();
    let busy: number | undefined;
    world.internet.intercept((packet, next) => {
      const introduces = packet.payload.length > 1 && decodeMessage(packet.payload).type === 'RLY_PKT';
      if (packet.protocol === 'udp' && introduces) busy ??= packet.destinationPort;
      if (packet.destinationPort !== busy) next();
    });
    const { session, ms } = await world.timed(world.byRelay({ transport: 'tcp' }));
    expect(ms).toBeLessThan(2_500);
    expect(await world.echo(session, new Uint8Array(10_000))).toHaveLength(10_000);
    expect(await world.end(session)).toEqual({ sockets: 0, timers: 0 });
  });
});

describe('a CLOSE before both sides are there', () => {
  test.each([
    ['client', 'device'],
    ['device', 'client'],
  ] as const)('of the %s ends the session, and the %s that comes later is told', async (side, other) => {
    const { clock, network, reserve, introduce, relay } = await stub(4);
    const at = { client: CLIENT, device: DEVICE };
    const granted = reserve(CLIENT, UID);
    introduce(side, at[side], granted);
    network.deliver(granted.port, at[side], encodeMessage({ type: 'CLOSE' }));
    expect(introduce(other, at[other], granted)).toEqual(['CLOSE']);
    expect(introduce(other, at[other], granted)).toEqual(['CLOSE']);
    expect(relay.metrics).toMatchObject({ sessionsReady: 0, droppedNotReady: 0 });
    await clock.advance(5_000);
    expect(relay.metrics).toMatchObject({ sessions: 0, endedByClose: 1 });
    expect(introduce(other, at[other], granted)).toEqual([]);
    expect(network.sent).toEqual([]);
    await relay.close();
  });

  test('is understood in the cipher of its side', async () => {
    const { network, reserve, introduce, relay } = await stub(4);
    const cipher = new StreamCipher(NetworkKey.SHIX);
    const granted = reserve(CLIENT, UID);
    const introduction = encodeMessage({ type: 'RLY_PKT', magic: granted.magic, uid: UID, side: 'client' });
    network.deliver(granted.port, CLIENT, cipher.encipher(introduction));
    network.deliver(granted.port, CLIENT, cipher.encipher(encodeMessage({ type: 'CLOSE' })));
    expect(introduce('device', DEVICE, granted)).toEqual(['CLOSE']);
    await relay.close();
  });

  test('of a stranger ends nothing', async () => {
    const { network, reserve, introduce, relay } = await stub(4);
    const granted = reserve(CLIENT, UID);
    introduce('client', CLIENT, granted);
    network.deliver(granted.port, { address: '203.0.113.5', port: 7 }, encodeMessage({ type: 'CLOSE' }));
    expect(introduce('device', DEVICE, granted)).toEqual(['RLY_RDY']);
    await relay.close();
  });

  test('of a client that aborts leaves the device no session for its keep-alives to end', async () => {
    const world = await World.make();
    await world.startDevice();
    for (let afterMs = 0; afterMs <= 300; afterMs += 13) {
      const controller = new AbortController();
      const settled = world.byRelay({ transport: 'udp', signal: controller.signal }).then(
        (session) => session.close(),
        () => undefined,
      );
      await world.clock.advance(afterMs);
      controller.abort();
      await world.clock.runUntil(settled);
      await world.clock.advance(200);
      expect([afterMs, world.sessions.filter(({ closed }) => closed === undefined).length]).toEqual([afterMs, 0]);
    }
    expect(await world.end()).toEqual({ sockets: 0, timers: 0 });
  });
});

describe('a UDP port and the TCP port of the same number', () => {
  /** The first `busy` TCP ports that are wanted are held by somebody else. */
  function crowded(busy: number) {
    const clock = new VirtualClock();
    const random = new SeededRandom(7);
    const internet = new SimulatedInternet({ clock, random });
    const { network } = internet.host();
    let wanted = 0;
    const holding: Network = Object.assign(new DelegatingNetwork({ network }), {
      async listenTcp(options: TcpListenOptions) {
        const hold = wanted++ < busy;
        const other = hold ? await network.listenTcp({ ...options, onConnection: () => ({ onData() {} }) }) : undefined;
        try {
          return await network.listenTcp(options);
        } finally {
          await other?.close();
        }
      },
    });
    return { components: { network: holding, clock, random }, internet, wanted: () => wanted };
  }

  test.each(['relay', 'rendezvous'] as const)('are chosen by the system until both are free: %s', async (kind) => {
    const { components, internet, wanted } = crowded(5);
    const server =
      kind === 'relay'
        ? await RelayServer.listen(components, { port: 0, sessionPorts: 1 })
        : await RendezvousServer.listen(components, { ports: [0, 0] });
    const udp = server instanceof RelayServer ? server.endpoint : server.endpoints[0];
    expect(wanted()).toBe(6);
    expect(server.tcpEndpoint?.port).toBe(udp?.port);
    expect(internet.openSockets).toBe(3);
    await server.close();
    expect(internet.openSockets).toBe(0);
  });

  test.each([
    ['one that was asked for is not exchanged', 40_000, 1],
    ['a machine without free ports is not searched for ever', 0, 16],
  ])('%s', async (_name, port, tries) => {
    const { components, internet, wanted } = crowded(100);
    await expect(RelayServer.listen(components, { port })).rejects.toMatchObject({ code: 'address-in-use' });
    await expect(RendezvousServer.listen(components, { ports: [port] })).rejects.toMatchObject({
      code: 'address-in-use',
    });
    expect(wanted()).toBe(2 * tries);
    expect(internet.openSockets).toBe(0);
    expect(components.clock.pendingTimers).toBe(0);
  });
});
