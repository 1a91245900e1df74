import { describe, expect, test } from 'vitest';
import { decodeMessage, encodeMessage, type Message } from '../src/codec/index.ts';
import { DeviceRegistration, PpppDevice } from '../src/device/index.ts';
import { RelayServer, RendezvousServer } from '../src/server/index.ts';
import { SERVER_RTT_MS, UID, World } from './connect-world.ts';

const EMPTY = { sockets: 0, timers: 0 };

/** When the camera sent a message of a type, and where to. */
function sentBy(world: World, type: Message['type']): { at: number; to: string }[] {
  const sent: { at: number; to: string }[] = [];
  world.internet.observe(({ event, packet, atMs }) => {
    if (event !== 'sent' || packet.source !== world.camera.address || packet.protocol !== 'udp') return;
    if (decodeMessage(packet.payload).type !== type) return;
    sent.push({ at: Math.round(atMs), to: `${packet.destination}:${packet.destinationPort}` });
  });
  return sent;
}

describe('the login of a device', () => {
  test('is made at every server at once, and again every 30 s (A7)', async () => {
    const world = await World.make();
    const logins = sentBy(world, 'DEV_LGN');
    await world.startDevice();
    expect(world.registration?.status).toEqual(
      world.servers.map((server) => ({
        server,
        state: 'online',
        over: 'udp',
        wan: { address: world.deviceNat.externalAddress, port: world.device!.listen.port },
      })),
    );
    await world.clock.advance(60_000);
    expect(logins.map(({ at }) => at)).toEqual([0, 0, 30_000, 30_000, 60_000, 60_000]);
    expect(await world.end()).toEqual(EMPTY);
  });

  test('is repeated after 1 s and 3 s where no answer comes, and succeeds once the server is back', async () => {
    const world = await World.make({ servers: 1 });
    await world.rendezvous[0]!.close();
    const logins = sentBy(world, 'DEV_LGN');
    await world.startDevice({}, { transport: 'udp', intervalMs: 10_000 });
    await world.clock.advance(8_000);
    expect(logins.map(({ at }) => at)).toEqual([0, 1_000, 3_000, 10_000, 11_000]);
    expect(world.registration?.status[0]?.state).toBe('silent');
    const components = { network: world.serverHosts[0]!.network, clock: world.clock, random: world.random };
    world.rendezvous[0] = await RendezvousServer.listen(components);
    await world.clock.advance(3_000);
    expect(world.registration?.status[0]?.state).toBe('online');
    expect(await world.end()).toEqual(EMPTY);
  });

  test('is made anew at once when the network has changed', async () => {
    const world = await World.make();
    await world.startDevice();
    world.deviceNat.changeExternalAddress();
    await expect(world.clock.runUntil(world.byRendezvous({ timeoutMs: 1_000 }))).rejects.toMatchObject({
      code: 'no-answer',
    });
    world.registration?.refresh();
    // A login from another address counts when it is repeated.
    await world.clock.advance(1_100);
    const { session } = await world.timed(world.byRendezvous());
    expect(session.peer.address).toBe(world.deviceNat.externalAddress);
    expect(await world.end(session)).toEqual(EMPTY);
  });

  test('goes over TCP while UDP is not answered, and back', async () => {
    const world = await World.make();
    let blocked = true;
    world.internet.intercept((packet, next) => {
      const ofCamera = packet.source === world.camera.address && packet.protocol === 'udp';
      if (!blocked || !ofCamera) next();
    });
    await world.startDevice();
    expect(world.registration?.status.map(({ over, state }) => `${state} ${over}`)).toEqual([
      'online tcp',
      'online tcp',
    ]);
    const relayed = await world.timed(world.byRelay());
    expect(await world.echo(relayed.session, new Uint8Array(5_000))).toHaveLength(5_000);
    blocked = false;
    await world.clock.advance(40_000);
    expect(world.registration?.status.map(({ over, state }) => `${state} ${over}`)).toEqual([
      'online udp',
      'online udp',
    ]);
    expect(world.rendezvous[0]!.metrics.tcpConnections).toBe(0);
    const direct = await world.timed(world.byRendezvous());
    expect(direct.ms).toBeLessThanOrEqual(2 * SERVER_RTT_MS + 5);
    expect(relayed.session.closed).toBeUndefined();
    expect(await world.end(relayed.session, direct.session)).toEqual(EMPTY);
  });

  test('a lost connection to a server is opened again', async () => {
    const world = await World.make({ device: 'udpBlocked' });
    await world.startDevice();
    const before = world.rendezvous[0]!.metrics.tcp.accepted;
    world.deviceNat.rebind();
    world.registration?.refresh();
    await world.clock.advance(60_000);
    expect(world.rendezvous[0]!.metrics.tcp.accepted).toBeGreaterThan(before);
    const { session } = await world.timed(world.byRelay());
    expect(session.pathKind).toBe('relay');
    expect(await world.end(session)).toEqual(EMPTY);
  });

  test('a connection that died without a word is replaced at the next login, or at once when told', async () => {
    for (const refreshed of [false, true]) {
      const world = await World.make({ device: 'udpBlocked', servers: 1 });
      const ports = new Set<number>();
      let dead = new Set<number>();
      world.internet.intercept((packet, next) => {
        if (packet.source === world.camera.address && packet.protocol === 'tcp') ports.add(packet.sourcePort);
        if (!dead.has(packet.sourcePort)) next();
      });
      await world.startDevice();
      dead = new Set(ports);
      if (refreshed) {
        world.registration?.refresh();
        await world.clock.advance(1_000);
      } else {
        await world.clock.advance(62_000);
      }
      const { session } = await world.timed(world.byRelay());
      expect(session.pathKind).toBe('relay');
      expect(await world.end(session)).toEqual(EMPTY);
    }
  });

  test('needs a server, and a secret that fits', async () => {
    const world = await World.make();
    const { network } = world.camera;
    const { clock, random } = world;
    const device = await PpppDevice.open({ network, clock }, { uid: UID, searchPort: false, onSession() {} });
    const register = (options: { servers: []; secret?: string } | { secret: string }) =>
      new DeviceRegistration({ device, network, clock, random }, { servers: world.servers, ...options });
    expect(() => register({ servers: [] })).toThrow(expect.objectContaining({ code: 'bad-argument' }));
    expect(() => register({ secret: 'far too long to be a secret' })).toThrow(
      expect.objectContaining({ code: 'field-out-of-range' }),
    );
    await device.close();
    expect(await world.end()).toEqual(EMPTY);
  });
});

describe('what a device is told by others', () => {
  test('strangers can neither have it punch nor invite it', async () => {
    const world = await World.make({ device: 'fullCone' });
    await world.startDevice();
    const sent = [sentBy(world, 'PUNCH_PKT'), sentBy(world, 'RLY_PKT')];
    const stranger = await world.internet.host().network.bindUdp({ onMessage() {} });
    const device = world.registration!.status[0]!.wan!;
    const victim = { address: '11.9.9.9', port: 9 };
    stranger.send(encodeMessage({ type: 'PUNCH_TO', address: victim }), device);
    stranger.send(encodeMessage({ type: 'RLY_TO', relay: victim, magic: 7 }), device);
    stranger.send(encodeMessage({ type: 'RLY_RDY', uid: UID }), device);
    await world.clock.advance(1_000);
    expect(sent).toEqual([[], []]);
    expect(world.sessions).toEqual([]);
    await stranger.close();
    expect(await world.end()).toEqual(EMPTY);
  });

  test('an invitation that nobody follows up is given up after three seconds, and a flood of them is bounded', async () => {
    const world = await World.make({ servers: 1 });
    await world.startDevice();
    const introductions = sentBy(world, 'RLY_PKT');
    const relay = { address: '198.51.101.1', port: 40_000 };
    const device = { address: world.deviceNat.externalAddress, port: world.device!.listen.port };
    await world.rendezvous[0]!.close();
    const hostile = await world.serverHosts[0]!.network.bindUdp({ port: world.servers[0]!.port, onMessage: () => {} });
    for (let at = 0; at < 100; at++) {
      hostile.send(encodeMessage({ type: 'RLY_TO', relay: { ...relay, port: relay.port + at }, magic: 7 }), device);
    }
    await world.clock.advance(10_000);
    await hostile.close();
    expect(new Set(introductions.map(({ to }) => to)).size).toBe(32);
    const times = introductions.filter(({ to }) => to.endsWith(':40000')).map(({ at }) => at);
    expect(times.length).toBeGreaterThan(20);
    expect(times.at(-1)! - times[0]!).toBeLessThanOrEqual(3_300);
    expect(await world.end()).toEqual(EMPTY);
  });

  test('a device that is full says so over the relay at once', async () => {
    const world = await World.make();
    await world.startDevice({ maxSessions: 1 });
    const first = await world.timed(world.byRelay());
    const second = await world.timed(world.byRelay());
    await world.clock.advance(100);
    expect(second.session.closed).toBe('closed-by-peer');
    expect(world.sessions).toHaveLength(1);
    expect(first.session.closed).toBeUndefined();
    await world.clock.advance(15_000);
    expect(await world.end(first.session)).toEqual(EMPTY);
  });

  test('a client that comes again over the same port of a restarted relay replaces its old session', async () => {
    const world = await World.make({ relays: 0, relay: { sessionPorts: 1 } });
    await world.startDevice();
    const old = await world.timed(world.byRelay());
    await world.clock.advance(2_000);
    const { address, network } = world.relayHosts[0]!;
    const cut = world.internet.intercept((packet, next) => {
      if (packet.source !== address) next();
    });
    await world.relays[0]!.close();
    await world.clock.advance(50);
    cut();
    const components = { network, clock: world.clock, random: world.random };
    const options = { sessionPorts: 1, firstSessionPort: old.session.peer.port };
    world.relays[0] = await RelayServer.listen(components, options);
    const { session } = await world.timed(world.byRelay());
    expect(session.peer).toEqual(old.session.peer);
    expect(world.sessions.map(({ closed }) => closed)).toEqual(['closed-by-peer', undefined]);
    expect(await world.echo(session, new Uint8Array(5_000))).toHaveLength(5_000);
    expect(await world.end(session, old.session)).toEqual(EMPTY);
  });

  test('a closed registration is quiet at once, and its sessions go on', async () => {
    for (const device of ['portRestricted', 'udpBlocked'] as const) {
      const world = await World.make({ device });
      await world.startDevice();
      const { session } = await world.timed(world.byRelay());
      await world.registration?.close();
      const logins = sentBy(world, 'DEV_LGN');
      await world.clock.advance(60_000);
      expect(logins).toEqual([]);
      expect(session.closed).toBeUndefined();
      expect(await world.echo(session, new Uint8Array(5_000))).toHaveLength(5_000);
      expect(await world.end(session)).toEqual(EMPTY);
    }
  });
});
