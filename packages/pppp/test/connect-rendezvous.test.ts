import { describe, expect, test } from 'vitest';
import { type NatView, StreamCipher } from '../src/index.ts';
import { decodeMessage, encodeMessage, type Message, NetworkKey } from '../src/codec/index.ts';
import { SERVER_RTT_MS, UID, World } from './connect-world.ts';

const EMPTY = { sockets: 0, timers: 0 };

/** Messages of a type that a host sent, with the time and where to. */
function watch(world: World, from: string): { at: number; to: string; message: Message }[] {
  const sent: { at: number; to: string; message: Message }[] = [];
  world.internet.observe((event) => {
    if (event.event !== 'sent' || event.packet.source !== from) return;
    const { destination, destinationPort, payload } = event.packet;
    const message = decodeMessage(payload);
    if (message.type === 'malformed' || message.type === 'unknown') return;
    sent.push({ at: event.atMs, to: `${destination}:${destinationPort}`, message });
  });
  return sent;
}

describe('rendezvous', () => {
  test('is direct within two round trips to the server behind two port-restricted NATs (A2, A8)', async () => {
    const world = await World.make();
    await world.startDevice();
    const { session, ms } = await world.timed(world.byRendezvous());
    expect(ms).toBeLessThanOrEqual(2 * SERVER_RTT_MS + 5);
    expect(session.peer.address).toBe(world.deviceNat.externalAddress);
    expect(await world.end(session)).toEqual(EMPTY);
  });

  test('reports its own socket, and takes the preferred port (A4, B6)', async () => {
    const world = await World.make();
    await world.startDevice();
    const ports: number[] = [];
    const { session } = await world.timed(
      world.byRendezvous({ localPort: 40_001, onSocket: ({ port }) => ports.push(port) }),
    );
    expect(ports).toEqual([40_001]);
    expect(session.local.port).toBe(40_001);
    expect(await world.end(session)).toEqual(EMPTY);
  });

  test.each([
    ['portRestricted', 'endpoint-independent'],
    ['symmetricSequential', 'destination-dependent'],
  ] as const)('tells by two servers how a %s NAT maps', async (client, mapping) => {
    const world = await World.make({ client, device: 'fullCone' });
    await world.startDevice();
    const views: NatView[] = [];
    const { session } = await world.timed(world.byRendezvous({ onNat: (view) => views.push(view) }));
    expect(views[0]).toMatchObject({ mapping: 'unknown', wanAddresses: [{ server: world.servers[0] }] });
    expect(views.at(-1)?.mapping).toBe(mapping);
    expect(views.at(-1)?.wanAddresses.map(({ address }) => address.address)).toEqual(
      [1, 2].map(() => world.clientNat.externalAddress),
    );
    expect(await world.end(session)).toEqual(EMPTY);
  });

  test('prefers the LAN address of a device in the same network', async () => {
    const world = await World.make();
    await world.startDevice();
    const neighbour = world.deviceNat.host({ name: 'neighbour' });
    const { session, ms } = await world.timed(world.byRendezvous({ network: neighbour.network }));
    expect(session.peer.address).toBe(world.camera.address);
    expect(ms).toBeLessThanOrEqual(SERVER_RTT_MS + 5);
    expect(world.sessions[0]?.pathKind).toBe('lan');
    expect(await world.end(session)).toEqual(EMPTY);
  });

  test('one server that knows the device outweighs one that does not and one that is dead', async () => {
    const world = await World.make({ servers: 3 });
    await world.startDevice({}, { servers: [world.servers[1]!] });
    await world.rendezvous[2]!.close();
    const { session, ms } = await world.timed(world.byRendezvous());
    expect(ms).toBeLessThanOrEqual(2 * SERVER_RTT_MS + 5);
    expect(await world.end(session)).toEqual(EMPTY);
  });

  test('repeats a lost request after the measured round trip, not after a second (A8)', async () => {
    const world = await World.make({ servers: 1 });
    await world.startDevice();
    const sent = watch(world, world.client.address);
    let lost = 0;
    world.internet.intercept((packet, next) => {
      const isRequest = decodeMessage(packet.payload).type === 'P2P_REQ';
      if (!isRequest || lost++ > 0) next();
    });
    const { session, ms } = await world.timed(world.byRendezvous());
    const requests = sent.filter(({ message }) => message.type === 'P2P_REQ');
    expect(requests).toHaveLength(2);
    expect(requests[1]!.at - requests[0]!.at).toBeLessThan(160);
    expect(ms).toBeLessThan(240);
    expect(await world.end(session)).toEqual(EMPTY);
  });

  test('never punches what is no host, and no more than a few addresses of one server', async () => {
    const world = await World.make({ servers: 1 });
    const evil = world.internet.host({ address: '198.51.100.66' });
    const server = { address: evil.address, port: 32_100 };
    const socket = await evil.network.bindUdp({
      port: server.port,
      onMessage(data, from) {
        if (decodeMessage(data).type !== 'P2P_REQ') return;
        const wrong = ['0.0.0.0', '255.255.255.255', '224.0.0.1', '127.0.0.1'].map((address) => ({ address, port: 9 }));
        const many = Array.from({ length: 50 }, (_, at) => ({ address: `11.1.1.${at}`, port: 1000 }));
        for (const address of [...wrong, { address: '11.2.2.2', port: 0 }, ...many]) {
          socket.send(encodeMessage({ type: 'PUNCH_TO', address }), from);
        }
      },
    });
    const sent = watch(world, world.client.address);
    const failed = world.byRendezvous({ servers: [server], portGuess: 0, timeoutMs: 2000 });
    await expect(world.clock.runUntil(failed)).rejects.toMatchObject({ code: 'no-answer' });
    const punched = new Set(sent.filter(({ message }) => message.type === 'PUNCH_PKT').map(({ to }) => to));
    expect([...punched]).toEqual(Array.from({ length: 8 }, (_, at) => `11.1.1.${at}:1000`));
    await socket.close();
    expect(await world.end()).toEqual(EMPTY);
  });

  test('guesses neighbouring ports in three widening rounds, and none when told so', async () => {
    for (const portGuess of [0, 2]) {
      const world = await World.make({ servers: 1, device: 'symmetricRandom' });
      await world.startDevice({}, { portGuess: 0 });
      const sent = watch(world, world.client.address);
      await expect(world.clock.runUntil(world.byRendezvous({ portGuess }))).rejects.toMatchObject({
        code: 'no-answer',
      });
      const ports = sent
        .filter(({ message, to }) => message.type === 'PUNCH_PKT' && to.startsWith(world.deviceNat.externalAddress))
        .map(({ to }) => Number(to.split(':')[1]));
      const known = ports[0]!;
      const distances = [...new Set(ports.map((port) => Math.abs(port - known)))].sort((a, b) => a - b);
      expect(distances).toEqual(portGuess === 0 ? [0] : [0, 1, 2, 3, 4, 5, 6]);
      expect(ports.filter((port) => port === known + 1)).toHaveLength(portGuess === 0 ? 0 : 3);
      expect(await world.end()).toEqual(EMPTY);
    }
  });

  test('works in a keyed network without a plaintext datagram', async () => {
    const cipher = new StreamCipher(NetworkKey.CAMERA);
    const world = await World.make();
    const plain: string[] = [];
    world.internet.observe(({ event, packet }) => {
      if (event === 'sent' && packet.protocol === 'udp' && packet.payload[0] === 0xf1) plain.push(packet.source);
    });
    await world.startDevice({ keys: [NetworkKey.CAMERA], plaintext: false }, { cipher });
    const { session } = await world.timed(world.byRendezvous({ cipher }));
    const relayed = await world.timed(world.byRelay({ cipher }));
    expect(await world.echo(session, new Uint8Array(3000).fill(7))).toHaveLength(3000);
    expect(await world.echo(relayed.session, new Uint8Array(3000).fill(8))).toHaveLength(3000);
    expect(plain).toEqual([]);
    expect(await world.end(session, relayed.session)).toEqual(EMPTY);
  });

  test('aborting closes socket and timers at once, and tells the device (A6)', async () => {
    const world = await World.make({ device: 'symmetricRandom' });
    await world.startDevice();
    const open = world.internet.openSockets;
    const timers = world.clock.pendingTimers;
    const sent = watch(world, world.client.address);
    const controller = new AbortController();
    const failed = world.byRendezvous({ signal: controller.signal }).catch((error: unknown) => error);
    await world.clock.advance(60);
    expect(world.internet.openSockets).toBe(open + 1);
    controller.abort();
    expect(await failed).toBe(controller.signal.reason);
    expect(world.internet.openSockets).toBe(open);
    expect(sent.at(-1)?.message.type).toBe('CLOSE');
    await world.clock.advance(2_000);
    expect(world.clock.pendingTimers).toBeLessThanOrEqual(timers);
    expect(await world.end()).toEqual(EMPTY);
  });

  test('an abort after success does not touch the session', async () => {
    const world = await World.make();
    await world.startDevice();
    const controller = new AbortController();
    const { session } = await world.timed(world.byRendezvous({ signal: controller.signal }));
    controller.abort();
    await world.clock.advance(20_000);
    expect(session.closed).toBeUndefined();
    expect(await world.end(session)).toEqual(EMPTY);
  });
});

describe('what servers refuse', () => {
  test('servers that do not answer are named', async () => {
    const world = await World.make();
    await Promise.all(world.rendezvous.map((server) => server.close()));
    for (const connecting of [world.byRendezvous(), world.byRelay()]) {
      await expect(world.clock.runUntil(connecting)).rejects.toMatchObject({
        code: 'server-unreachable',
        target: UID,
        message: expect.stringContaining('198.51.100.1:32100, 198.51.100.2:32100'),
      });
    }
    expect(await world.end()).toEqual(EMPTY);
  });

  test('a server whose port is closed is told apart from one that is silent, and delays no other (A5)', async () => {
    const world = await World.make();
    const [closed, open] = world.servers;
    await world.rendezvous[0]!.close();
    const silent = { address: '198.51.100.99', port: 32_100 };
    for (const connect of [world.byRendezvous.bind(world), world.byRelay.bind(world)]) {
      await expect(
        world.clock.runUntil(connect({ servers: [closed!, silent], ...{ transport: 'udp' } })),
      ).rejects.toMatchObject({
        code: 'server-unreachable',
        message: expect.stringContaining(
          '(198.51.100.99:32100); port closed at 198.51.100.1:32100 (ICMP port unreachable). Next: ',
        ),
      });
    }
    await world.startDevice();
    const { session } = await world.timed(world.byRendezvous({ servers: [closed!, open!] }));
    expect(await world.end(session)).toEqual(EMPTY);
  });

  test('a device that is not logged in is offline, after one round trip, both ways', async () => {
    const world = await World.make();
    const startedAt = world.clock.now();
    await expect(world.clock.runUntil(world.byRendezvous())).rejects.toMatchObject({ code: 'device-offline' });
    expect(world.clock.now() - startedAt).toBeLessThanOrEqual(SERVER_RTT_MS + 1);
    await expect(world.clock.runUntil(world.byRelay())).rejects.toMatchObject({ code: 'device-offline' });
    expect(world.clock.now() - startedAt).toBeLessThanOrEqual(5 * SERVER_RTT_MS);
    expect(await world.end()).toEqual(EMPTY);
  });

  test('a device whose login has expired is offline', async () => {
    const world = await World.make();
    await world.startDevice();
    await world.registration?.close();
    await world.clock.advance(301_000);
    await expect(world.clock.runUntil(world.byRendezvous())).rejects.toMatchObject({ code: 'device-offline' });
    expect(await world.end()).toEqual(EMPTY);
  });

  test('a wrong secret is told from a right one, on both sides', async () => {
    const secret = 'open-sesame-4711';
    const world = await World.make({ rendezvous: { deviceSecret: () => secret, clientsNeedSecret: true } });
    const refused: string[] = [];
    await world.startDevice({}, { secret: 'guess' });
    world.registration?.events.on('refused', ({ error }) => refused.push(error.code));
    world.registration?.refresh();
    await world.clock.advance(500);
    expect(refused).toEqual(['wrong-secret', 'wrong-secret']);
    expect(world.registration?.status.map(({ state }) => state)).toEqual(['refused', 'refused']);
    await world.registration?.close();
    await world.device?.close();

    await world.startDevice({}, { secret });
    for (const wrong of [undefined, 'guess']) {
      const options = wrong === undefined ? {} : { secret: wrong };
      await expect(world.clock.runUntil(world.byRendezvous(options))).rejects.toMatchObject({ code: 'wrong-secret' });
    }
    await expect(world.clock.runUntil(world.byRelay({ secret: 'guess' }))).rejects.toMatchObject({
      code: 'wrong-secret',
      message: expect.stringContaining('secret'),
    });
    const { session } = await world.timed(world.byRendezvous({ secret }));
    const relayed = await world.timed(world.byRelay({ secret }));
    expect([session.pathKind, relayed.session.pathKind]).toEqual(['p2p', 'relay']);
    expect(await world.end(session, relayed.session)).toEqual(EMPTY);
  });

  test('a prefix that is not served, and a UID that the servers call invalid', async () => {
    const world = await World.make({ rendezvous: { prefixes: ['OTHER'] } });
    await expect(world.clock.runUntil(world.byRendezvous())).rejects.toMatchObject({ code: 'unknown-device' });

    const strict = world.internet.host({ address: '198.51.100.77' });
    const socket = await strict.network.bindUdp({
      port: 32_100,
      onMessage: (_data, from) => socket.send(encodeMessage({ type: 'P2P_REQ_ACK', result: 0xff }), from),
    });
    const servers = [{ address: strict.address, port: 32_100 }];
    await expect(world.clock.runUntil(world.byRendezvous({ servers }))).rejects.toMatchObject({ code: 'wrong-uid' });
    await socket.close();
    expect(await world.end()).toEqual(EMPTY);
  });

  test('a secret that does not fit, a UID that is none, and no servers are refused before anything is sent', async () => {
    const world = await World.make();
    const sent = watch(world, world.client.address);
    for (const connect of [world.byRendezvous.bind(world), world.byRelay.bind(world)]) {
      await expect(connect({ uid: 'nonsense!' })).rejects.toMatchObject({ code: 'uid-invalid' });
      await expect(world.clock.runUntil(connect({ servers: [] }))).rejects.toMatchObject({ code: 'bad-argument' });
      const secret = 'far too long to be a secret';
      await expect(world.clock.runUntil(connect({ secret }))).rejects.toMatchObject({ code: 'field-out-of-range' });
    }
    expect(sent).toEqual([]);
    expect(await world.end()).toEqual(EMPTY);
  });
});

test('servers that drop datagrams longer than their header says are served too', async () => {
  const world = await World.make({ servers: 1 });
  await world.startDevice();
  world.internet.intercept(({ protocol, destination, payload }, next) => {
    const exact = payload.length === 4 + ((payload[2]! << 8) | payload[3]!);
    if (exact || protocol !== 'udp' || destination !== world.servers[0]!.address) next();
  });
  const { session, ms } = await world.timed(world.byRendezvous());
  expect(ms).toBeLessThan(1000);
  expect(await world.end(session)).toEqual(EMPTY);
});
