import { createLog, SeededRandom, silentLog } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import { SimulatedInternet } from '@towpath/net/simulated';
import { RelayServer, RendezvousServer } from '@towpath/pppp/server';
import { decodeMessage } from '@towpath/pppp/codec';
import { describe, expect, test } from 'vitest';
import {
  ARTEMIS_KEEPALIVE_INTERVAL,
  CameraClient,
  CMD_HEARTBEAT,
  ConnectionMode,
  ConnectionThreadState,
  DEFAULT_CONFIG,
  DEFAULT_LAN_PORTS,
  DeviceCommands,
  HEARTBEAT_INTERVAL_SEC,
  HeartbeatManager,
  MAX_CONNECTION_RETRIES,
  ParallelConnectionManager,
  wrapHeartbeat,
} from '../src/compat/index.ts';
import { CameraEmulator, paddedPictures } from '../src/emulator/index.ts';
import { connectCamera } from '../src/index.ts';

const CAMERA = '192.168.43.1';
const UID = 'TEST-000001-BCDEF';

async function world(init: ConstructorParameters<typeof CameraEmulator>[1] = {}) {
  const clock = new VirtualClock();
  const random = new SeededRandom(1);
  const internet = new SimulatedInternet({ clock, random });
  const lan = internet.lan({ subnet: '192.168.43.0/24', link: { delayMs: 2 } });
  const host = lan.host({ address: CAMERA });
  const emulator = new CameraEmulator(
    { network: host.network, clock, random },
    { pictures: paddedPictures(), ...init },
  );
  await clock.runUntil(emulator.start());
  const components = { network: lan.host({ address: '192.168.43.20' }).network, clock, random };
  return { clock, internet, lan, host, emulator, components };
}

describe('names of the documents', () => {
  test('the result, its states and its modes have their names (A1, A5, D6)', async () => {
    const { clock, components } = await world();
    const manager = new ParallelConnectionManager(CAMERA, components);
    const { success, info } = await clock.runUntil(manager.connectParallel());
    if (!success) throw new Error(info.error);
    expect(info.success).toBe(true);
    expect([ConnectionMode.P2P, ConnectionMode.LAN]).toContain(info.mode);
    const states = Object.values(info.threadsInfo).map(({ state }) => state);
    expect(states.filter((state) => state === ConnectionThreadState.SUCCESS)).toHaveLength(1);
    expect(info.threadsInfo.relayConnectThread.state).toBe(ConnectionThreadState.NOT_STARTED);
    expect(Object.keys(info)).not.toContain('info');
    expect(manager.statistics.snapshot()[info.mode]).toMatchObject({ wins: 1 });
    await clock.runUntil(info.session.close());
  });

  test('adaptiveTimeout: time limits follow the measured connect times, unless it is switched off (A8)', async () => {
    const { clock, host, emulator, components } = await world();
    for (const adaptiveTimeout of [true, false]) {
      host.firewall.options = { policy: 'open' };
      const manager = new ParallelConnectionManager(CAMERA, { ...components, adaptiveTimeout, maxConnectionTime: 9 });
      const { success, info } = await clock.runUntil(manager.connectParallel({ enableLan: false }));
      if (!success) throw new Error(info.error);
      await clock.runUntil(info.session.close());
      host.firewall.options = { policy: 'closed' };
      const { info: failed } = await clock.runUntil(manager.connectParallel({ enableLan: false }));
      expect(failed.elapsedTime).toBeCloseTo(adaptiveTimeout ? 3 : 9, 1);
    }
    await clock.runUntil(emulator.close());
  });

  test.each([[undefined], [32_100], [32_110]])(
    'relayServer and relayPort %o: the session port is negotiated with that host (A7)',
    async (relayPort) => {
      const clock = new VirtualClock();
      const random = new SeededRandom(1);
      const internet = new SimulatedInternet({ clock, random });
      const server = internet.host({ address: '198.51.100.1' });
      internet.names.set('relay.example.com', ['198.51.100.1']);
      const serving = { network: server.network, clock, random };
      const relay = await RelayServer.listen(serving, { sessionPorts: 2 });
      const rendezvous = await RendezvousServer.listen(serving, {
        relays: [{ address: '198.51.100.1', port: 32_110 }],
      });
      const emulator = new CameraEmulator(
        { network: internet.host().network, clock, random },
        {
          uid: UID,
          searchPort: false,
          servers: [{ address: '198.51.100.1', port: 32_100 }],
          pictures: paddedPictures(),
        },
      );
      await clock.runUntil(emulator.start());
      await clock.advance(4_000);
      const manager = new ParallelConnectionManager(UID, {
        network: internet.host().network,
        clock,
        random,
        relayServer: 'relay.example.com',
        ...(relayPort === undefined ? {} : { relayPort }),
      });
      const only = { enableP2p: false, enableLan: false, enableRelay: true };
      const { success, info } = await clock.runUntil(manager.connectParallel(only));
      if (!success) throw new Error(info.error);
      expect(info).toMatchObject({ mode: ConnectionMode.RELAY, winningThread: 'relayConnectThread' });
      expect([32_100, 32_110]).not.toContain(info.destinationPort);
      await clock.runUntil(info.session.close());
      await clock.runUntil(Promise.all([emulator.close(), rendezvous.close(), relay.close()]));
    },
  );

  test('a relay server that cannot be resolved is the reason of the relay thread, and the others go on (A5)', async () => {
    const { clock, components } = await world();
    const manager = new ParallelConnectionManager(CAMERA, { ...components, relayServer: 'relay.invalid' });
    const { success, info } = await clock.runUntil(manager.connectParallel({ enableRelay: true }));
    expect(success).toBe(true);
    expect(info.threadsInfo.relayConnectThread.error).toContain('relay.invalid');
    if (success) await clock.runUntil(info.session.close());
  });

  test.each([
    [{ relayPort: 0 }, 'relayPort is 0'],
    [{ modeWeights: { lan: -1 } }, 'weight of lan'],
  ])('refuses %o', (options, message) => {
    expect(() => new ParallelConnectionManager(CAMERA, options)).toThrow(message);
  });

  test('a client connects again after close, from the same port (document 003, B6)', async () => {
    const { clock, components } = await world({ firewall: true });
    const client = new CameraClient(CAMERA, components);
    expect(client.activePort).toBeUndefined();
    expect(await clock.runUntil(client.connectWithRetries())).toBe(true);
    const first = client.activePort;
    expect(first).toBeGreaterThan(0);
    expect(client.state).toBe('CONNECTED');
    await clock.runUntil(client.close());
    expect([client.state, client.running]).toEqual(['DISCONNECTED', false]);
    await clock.advance(1_000);
    expect(await clock.runUntil(client.connectWithRetries())).toBe(true);
    expect(client.activePort).toBe(first);
    await clock.runUntil(client[Symbol.asyncDispose]());
  });

  test('discoverDevice keeps the transport for the login, and sourcePort is the local port (document 003)', async () => {
    const { clock, emulator, components } = await world();
    const client = new CameraClient(CAMERA, { ...components, sourcePort: 45_123 });
    expect(await clock.runUntil(client.discoverDevice())).toBe(true);
    expect([client.activePort, client.running]).toEqual([45_123, false]);
    expect(await clock.runUntil(client.login())).toBe(true);
    expect([client.activePort, client.running]).toEqual([45_123, true]);
    expect(emulator.sessions).toHaveLength(1);
    await clock.runUntil(client[Symbol.asyncDispose]());
  });

  test('the session of a race is used by the client (document 001, example 5)', async () => {
    const { clock, emulator, components } = await world();
    const { success, info } = await clock.runUntil(new ParallelConnectionManager(CAMERA, components).connectParallel());
    if (!success) throw new Error(info.error);
    const client = new CameraClient(CAMERA, { ...components, sourcePort: info.port, session: info.session });
    expect(await clock.runUntil(client.login())).toBe(true);
    expect([client.activePort, emulator.sessions.length]).toEqual([info.port, 1]);
    await clock.runUntil(client[Symbol.asyncDispose]());
  });

  test('a camera that is not there: false, with the reason, after the configured attempts (B7)', async () => {
    const { clock, host, components } = await world();
    host.firewall.options = { policy: 'closed' };
    const lines: string[] = [];
    const config = { MAX_CONNECTION_RETRIES: 2, RETRY_BACKOFF_SEQUENCE: [1], ARTEMIS_DISCOVERY_TIMEOUT: 1 };
    const logger = createLog(({ level, message }) => lines.push(`${level} ${message}`));
    const client = new CameraClient(CAMERA, { ...components, config, logger });
    expect(await clock.runUntil(client.connectWithRetries())).toBe(false);
    expect(clock.now()).toBeLessThan(3_500);
    expect(client.lastError?.message).toContain('was not reached');
    expect(lines.some((line) => line.startsWith('error') && line.includes('was not reached'))).toBe(true);
    const abort = new AbortController();
    const connecting = client.connectWithRetries({ signal: abort.signal });
    abort.abort(new Error('changed my mind'));
    await expect(clock.runUntil(connecting)).rejects.toThrow('changed my mind');
  });

  test('the heartbeat manager shows, stops and starts the heartbeat (document 002, B4)', async () => {
    const { clock, components } = await world();
    const client = new CameraClient(CAMERA, components);
    await clock.runUntil(client.connectWithRetries());
    const { heartbeatManager: heartbeat } = client;
    await heartbeat.start();
    await clock.advance(9_100);
    expect([heartbeat.running, heartbeat.sent, heartbeat.sequence, heartbeat.failures]).toEqual([true, 3, 65_539, 0]);
    expect(heartbeat.jitter).toBeLessThan(0.01);
    await heartbeat.stop();
    await clock.advance(30_000);
    expect([heartbeat.running, heartbeat.sent, client.running]).toEqual([false, 3, true]);
    await heartbeat.start();
    await clock.advance(3_100);
    expect(heartbeat.sent).toBe(4);
    await clock.runUntil(client.close());
    await clock.advance(10_000);
    expect(heartbeat.sent).toBe(4);
    await clock.runUntil(client[Symbol.asyncDispose]());
  });

  test('a heartbeat that is switched off stays off after a reconnect (B4)', async () => {
    const { clock, emulator, components } = await world();
    await using camera = await clock.runUntil(connectCamera(CAMERA, components));
    const lost: string[] = [];
    const heartbeat = new HeartbeatManager(camera, { onFailure: ({ message }) => lost.push(message) });
    await heartbeat.stop();
    emulator.reboot({ downMs: 500 });
    await clock.advance(30_000);
    expect(lost).toHaveLength(1);
    expect([camera.state, heartbeat.sent]).toEqual(['CONNECTED', 0]);
    await clock.runUntil(camera.close());
  });

  test('device commands by name (document 002, B3)', async () => {
    const { clock, emulator, components } = await world({ itemCount: 3 });
    const names: string[] = [];
    emulator.events.on('command', ({ name }) => names.push(name));
    const client = new CameraClient(CAMERA, components);
    const commands = new DeviceCommands(client);
    await clock.runUntil(commands.login());
    expect((await clock.runUntil(commands.getDeviceInfo())).devId).toBe(emulator.deviceId);
    expect(await clock.runUntil(commands.getMediaList())).toHaveLength(3);
    expect(await clock.runUntil(commands.startAv())).toMatchObject({ result: 0 });
    expect(await clock.runUntil(commands.stopAv())).toMatchObject({ result: 0 });
    expect(await clock.runUntil(commands.sendCommand(512))).toMatchObject({ cmdId: 512 });
    expect(names.slice(0, 2)).toEqual(['login', 'deviceInfo']);
    expect(names).toEqual(expect.arrayContaining(['mediaList', 'startAv', 'stopAv']));
    await clock.runUntil(client[Symbol.asyncDispose]());
  });

  test('configuration names and command numbers (document 002)', () => {
    expect([DEFAULT_LAN_PORTS[0], CMD_HEARTBEAT, HEARTBEAT_INTERVAL_SEC, MAX_CONNECTION_RETRIES]).toEqual([
      40_611, 525, 3, 5,
    ]);
    expect(ARTEMIS_KEEPALIVE_INTERVAL).toBe(3);
    expect(DEFAULT_CONFIG).toMatchObject({
      MAX_TOTAL_CONNECTION_TIME: 90,
      RETRY_BACKOFF_SEQUENCE: [1, 2, 4, 8, 16],
      ARTEMIS_DISCOVERY_TIMEOUT: 5,
    });
  });

  test('wrapHeartbeat is the recorded packet of 53 bytes (document 002)', () => {
    const packet = wrapHeartbeat(65_537, 7);
    expect(packet).toHaveLength(53);
    expect([packet[0], packet[1], packet[4]]).toEqual([0xf1, 0xd0, 0xd1]);
    expect(decodeMessage(packet)).toMatchObject({ type: 'DRW', channel: 0, index: 7 });
  });
});

describe('connectCamera', () => {
  test('connects, yields its status, and is over when it is closed (A6)', async () => {
    const { clock, internet, emulator, components } = await world();
    const camera = await clock.runUntil(connectCamera(CAMERA, { ...components, log: silentLog }));
    const seen: string[] = [];
    const reading = (async () => {
      for await (const status of camera.status()) {
        seen.push(status.type === 'state' ? status.state : status.type);
      }
    })();
    await clock.advance(10);
    let over = false;
    void camera.closed().then(() => {
      over = true;
    });
    emulator.reboot({ downMs: 2_000 });
    await clock.advance(30_000);
    expect([over, camera.state]).toEqual([false, 'CONNECTED']);
    await clock.runUntil(camera.close());
    await clock.runUntil(Promise.all([camera.closed(), reading, emulator.close()]));
    expect(over).toBe(true);
    expect(seen[0]).toBe('CONNECTED');
    expect(seen).toEqual(expect.arrayContaining(['lost', 'RECONNECTING', 'connected']));
    expect(seen.at(-1)).toBe('CLOSED');
    await clock.advance(1_000);
    expect([internet.openSockets, clock.pendingTimers]).toEqual([0, 0]);
  });

  test('an abort ends status and connect, and leaves nothing open (A6)', async () => {
    const { clock, internet, host, emulator, components } = await world();
    const camera = await clock.runUntil(connectCamera(CAMERA, components));
    const abort = new AbortController();
    const status = camera.status({ signal: abort.signal });
    await status.next();
    const next = status.next();
    abort.abort(new Error('enough'));
    await expect(next).rejects.toThrow('enough');
    await clock.runUntil(Promise.all([camera.close(), emulator.close()]));
    host.firewall.options = { policy: 'closed' };
    const give = new AbortController();
    clock.timer(2_000, () => give.abort(new Error('changed my mind')));
    const connecting = connectCamera(CAMERA, { ...components, signal: give.signal });
    await expect(clock.runUntil(connecting)).rejects.toThrow('changed my mind');
    await clock.advance(1_000);
    expect([internet.openSockets, clock.pendingTimers]).toEqual([0, 0]);
  });

  test('a host that reports every port closed ends the attempts at once (A6)', async () => {
    const { clock, emulator, components } = await world();
    await clock.runUntil(emulator.close());
    const startedAt = clock.now();
    const connecting = connectCamera(CAMERA, components);
    await expect(clock.runUntil(connecting)).rejects.toMatchObject({
      code: 'connect-failed',
      message: expect.stringContaining('closed'),
    });
    expect(clock.now() - startedAt).toBeLessThan(1_000);
  });

  test('a pause of the camera during a transfer opens no second session where there is no other path (C8)', async () => {
    const { clock, emulator, components } = await world({ itemCount: 40 });
    emulator.faults.fromCamera.bytesPerSecond = 1_000_000;
    const camera = await clock.runUntil(connectCamera(CAMERA, components));
    const suspected: string[] = [];
    camera.path?.artemis.events.on('health', (health) => {
      suspected.push(health);
      if (health !== 'suspect') return;
      clock.timer(200, () => {
        emulator.faults.silent = false;
      });
    });
    clock.timer(1_000, () => {
      emulator.faults.silent = true;
    });
    let received = 0;
    const reading = (async () => {
      for await (const { data } of camera.download(emulator.items)) if (data) received++;
    })();
    await clock.runUntil(reading);
    expect(received).toBe(40);
    expect(suspected[0]).toBe('suspect');
    expect([emulator.counters.sessions, emulator.counters.logins]).toEqual([1, 1]);
    await clock.runUntil(Promise.all([camera.close(), emulator.close()]));
  });

  test('--keep-clock: without utcTime the clock of the camera is kept (C5)', async () => {
    const { clock, emulator, components } = await world();
    const far = 2_000_000_000;
    const setter = await clock.runUntil(connectCamera(CAMERA, { ...components, utcOffsetMs: () => far * 1_000 }));
    await clock.runUntil(setter.close());
    for (const keepClock of [true, false]) {
      const camera = await clock.runUntil(connectCamera(CAMERA, { ...components, keepClock }));
      const { timeUTC = 0 } = await clock.runUntil(camera.deviceInfo());
      expect(timeUTC >= far).toBe(keepClock);
      await clock.runUntil(camera.close());
    }
    await clock.runUntil(emulator.close());
  });
});
