import { AbortedError, createLog, type LogRecord, SeededRandom } from '@towpath/core';
import type { Endpoint } from '@towpath/net';
import { describe, expect, test } from 'vitest';
import { connectByLanSearch, connectDirect, StreamCipher } from '../src/index.ts';
import { encodeMessage } from '../src/codec/index.ts';
import { hotspot, LISTEN_PORT, listen, startDevice, switchOff, UID } from './device-lan.ts';

const CAMERA: Endpoint = { address: '192.168.43.1', port: LISTEN_PORT };
const PUNCH = Buffer.from(encodeMessage({ type: 'PUNCH_PKT', uid: UID })).toString('hex');
const CLOSE = 'f1f00000';

/** Everything is closed: no socket, no timer. */
async function expectNothingLeft({ clock, internet }: ReturnType<typeof hotspot>): Promise<void> {
  await clock.advance(2000);
  expect(internet.openSockets).toBe(0);
  expect(clock.pendingTimers).toBe(0);
}

describe('direct connection', () => {
  test('is there after one round trip, from a port of its own (A4, B1)', async () => {
    const spot = hotspot({ delayMs: 10 });
    const { device } = await startDevice(spot);
    const sockets: Endpoint[] = [];
    const { clock, phone } = spot;
    const connecting = connectDirect({
      network: phone.network,
      clock,
      uid: UID,
      to: CAMERA,
      onSocket: (local) => sockets.push(local),
    });
    const session = await clock.runUntil(connecting);
    expect(clock.now()).toBeLessThan(42);
    expect(session).toMatchObject({ role: 'client', pathKind: 'lan', uid: UID, peer: CAMERA, closed: undefined });
    expect(sockets).toEqual([session.local]);
    expect(session.local.port).toBeGreaterThan(0);
    const heard = listen(session);
    await clock.advance(100);
    expect(heard.text).toBe('ACK');
    await clock.runUntil(Promise.all([session.close(), device.close()]));
    await expectNothingLeft(spot);
  });

  test('punches again quickly at first, then every 100 ms', async () => {
    const spot = hotspot();
    switchOff(spot);
    const { clock, phone, sent } = spot;
    const controller = new AbortController();
    const connecting = connectDirect({
      network: phone.network,
      clock,
      uid: UID,
      to: CAMERA,
      signal: controller.signal,
    });
    const failed = connecting.catch((error: unknown) => error);
    await clock.advance(450);
    expect(sent.filter(({ hex }) => hex === PUNCH).map(({ at }) => at)).toEqual([0, 20, 50, 100, 200, 300, 400]);
    controller.abort(new AbortedError('the race is over'));
    expect(await failed).toBe(controller.signal.reason);
  });

  test('reports no-answer with the next step when its time is over, and leaves nothing behind', async () => {
    const spot = hotspot();
    switchOff(spot);
    const { clock, phone } = spot;
    const connecting = connectDirect({ network: phone.network, clock, uid: UID, to: CAMERA, timeoutMs: 1000 });
    await expect(clock.runUntil(connecting)).rejects.toMatchObject({
      code: 'no-answer',
      target: '192.168.43.1:40611',
      message: expect.stringContaining('Check that'),
    });
    await expectNothingLeft(spot);
  });

  test('closes its socket at once when aborted, and tells a device that may hold a session (A6)', async () => {
    const spot = hotspot();
    const { clock, phone, sent } = spot;
    const controller = new AbortController();
    const connecting = connectDirect({
      network: phone.network,
      clock,
      uid: UID,
      to: CAMERA,
      signal: controller.signal,
    }).catch((error: unknown) => error);
    await clock.advance(10);
    controller.abort();
    await connecting;
    expect(sent.at(-1)).toMatchObject({ to: '192.168.43.1:40611', hex: CLOSE });
    await expectNothingLeft(spot);
  });

  test('does not even bind when the signal is aborted already', async () => {
    const { clock, phone, internet } = hotspot();
    const connecting = connectDirect({
      network: phone.network,
      clock,
      uid: UID,
      to: CAMERA,
      signal: AbortSignal.abort(),
    });
    await expect(connecting).rejects.toMatchObject({ name: 'AbortError' });
    expect(internet.openSockets).toBe(0);
  });

  test('an abort after success does not touch the session', async () => {
    const spot = hotspot();
    const { clock, phone } = spot;
    await startDevice(spot);
    const controller = new AbortController();
    const session = await clock.runUntil(
      connectDirect({ network: phone.network, clock, uid: UID, to: CAMERA, signal: controller.signal }),
    );
    controller.abort();
    await clock.advance(20_000);
    expect(session.closed).toBeUndefined();
  });

  test('takes the preferred local port, and a fresh one with a reason when it is taken (B6)', async () => {
    const spot = hotspot();
    const { clock, phone } = spot;
    await startDevice(spot);
    const records: LogRecord[] = [];
    const log = createLog((record) => records.push(record));
    const lost: (Error | undefined)[] = [];
    const connect = () =>
      connectDirect({
        network: phone.network,
        clock,
        log,
        uid: UID,
        to: CAMERA,
        localPort: 35_281,
        onSocket: (_local, portLost) => lost.push(portLost),
      });
    const first = await clock.runUntil(connect());
    expect(first.local.port).toBe(35_281);
    const second = await clock.runUntil(connect());
    expect(second.local.port).not.toBe(35_281);
    expect(second.local.port).toBeGreaterThan(0);
    expect(lost).toEqual([undefined, expect.objectContaining({ code: 'address-in-use' })]);
    expect(records.filter(({ level }) => level === 'warn')).toEqual([
      expect.objectContaining({ fields: expect.objectContaining({ preferredPort: 35_281 }) }),
    ]);
  });

  test('ends with wrong-device when another device lives there', async () => {
    const spot = hotspot();
    const { clock, camera, phone } = spot;
    const socket = await camera.network.bindUdp({
      port: LISTEN_PORT,
      onMessage: (_data, from) => socket.send(encodeMessage({ type: 'P2P_RDY', uid: 'OTHER-000002-BCDEF' }), from),
    });
    const connecting = connectDirect({ network: phone.network, clock, uid: UID, to: CAMERA });
    await expect(clock.runUntil(connecting)).rejects.toMatchObject({
      code: 'wrong-device',
      message: expect.stringContaining('OTHER-000002-BCDEF'),
    });
  });

  test('ends at once with refused when the host says so, or goes on if told to', async () => {
    const { clock, phone } = hotspot();
    const options = { network: phone.network, clock, uid: UID, to: CAMERA, timeoutMs: 500 };
    await expect(clock.runUntil(connectDirect(options))).rejects.toMatchObject({ code: 'refused' });
    await expect(clock.runUntil(connectDirect({ ...options, failEarly: false }))).rejects.toMatchObject({
      code: 'no-answer',
    });
  });

  test('ignores 0x43, and answers from hosts that it did not ask', async () => {
    const spot = hotspot();
    const { clock, camera, phone, lan } = spot;
    const stranger = await lan.host({ name: 'stranger' }).network.bindUdp({ onMessage() {} });
    const socket = await camera.network.bindUdp({
      port: LISTEN_PORT,
      onMessage(_data, from) {
        socket.send(encodeMessage({ type: 'P2P_RDY_ACK', uid: UID, address: CAMERA }), from);
        stranger.send(encodeMessage({ type: 'PUNCH_PKT', uid: UID }), from);
        stranger.send(encodeMessage({ type: 'P2P_RDY', uid: UID }), from);
      },
    });
    const connecting = connectDirect({ network: phone.network, clock, uid: UID, to: CAMERA, timeoutMs: 1000 });
    await expect(clock.runUntil(connecting)).rejects.toMatchObject({ code: 'no-answer' });
  });

  test('follows a device that answers from another port, once that port has punched', async () => {
    const spot = hotspot();
    const { clock, camera, phone } = spot;
    const other = await camera.network.bindUdp({
      port: 50_000,
      onMessage: (_data, from) => other.send(encodeMessage({ type: 'P2P_RDY', uid: UID }), from),
    });
    await camera.network.bindUdp({
      port: LISTEN_PORT,
      onMessage: (_data, from) => other.send(encodeMessage({ type: 'PUNCH_PKT', uid: UID }), from),
    });
    const session = await clock.runUntil(connectDirect({ network: phone.network, clock, uid: UID, to: CAMERA }));
    expect(session.peer).toEqual({ address: CAMERA.address, port: 50_000 });
  });

  test('reaches a device in a keyed network', async () => {
    const spot = hotspot();
    const { clock, phone, sent } = spot;
    await startDevice(spot, { keys: ['camera'], plaintext: false });
    const options = { network: phone.network, clock, uid: UID, to: CAMERA, timeoutMs: 500 };
    await expect(clock.runUntil(connectDirect(options))).rejects.toMatchObject({ code: 'no-answer' });
    const session = await clock.runUntil(connectDirect({ ...options, cipher: new StreamCipher('camera') }));
    const heard = listen(session);
    await clock.advance(100);
    expect(heard.text).toBe('ACK');
    expect(sent.some(({ hex, from }) => from.startsWith('192.168.43.1:') && hex.startsWith('f1'))).toBe(false);
  });

  test('rejects a UID that is none before anything is sent', async () => {
    const { clock, phone, sent } = hotspot();
    const connecting = connectDirect({ network: phone.network, clock, uid: 'nonsense!', to: CAMERA });
    await expect(connecting).rejects.toMatchObject({ code: 'uid-invalid' });
    expect(sent).toEqual([]);
  });
});

describe('arguments', () => {
  test('addresses and ports that are none are refused before a socket is bound', async () => {
    const { clock, phone, internet } = hotspot();
    const common = { network: phone.network, clock };
    for (const to of [
      { address: 'camera.local', port: 1 },
      { address: '192.168.43.1', port: 0 },
    ]) {
      await expect(connectDirect({ ...common, uid: UID, to })).rejects.toMatchObject({ code: 'bad-argument' });
      await expect(connectByLanSearch({ ...common, hosts: [to] })).rejects.toMatchObject({ code: 'bad-argument' });
    }
    expect(internet.openSockets).toBe(0);
  });
});

describe('connection by LAN search', () => {
  test('asks both broadcast addresses at once and every 100 ms, punches the answer, and stops (B1)', async () => {
    const spot = hotspot();
    const { clock, phone, sent } = spot;
    const before = connectByLanSearch({ network: phone.network, clock, uid: UID, timeoutMs: 250 });
    await expect(clock.runUntil(before)).rejects.toMatchObject({ code: 'no-answer' });
    const searches = sent.filter(({ hex }) => hex === 'f1300000').map(({ at, to }) => `${at} ${to}`);
    expect(searches).toEqual(
      [0, 100, 200].flatMap((at) =>
        ['255.255.255.255', '192.168.43.255', '127.0.0.1'].map((address) => `${at} ${address}:32108`),
      ),
    );

    await startDevice(spot);
    const session = await clock.runUntil(connectByLanSearch({ network: phone.network, clock, uid: UID }));
    expect(session).toMatchObject({ uid: UID, peer: CAMERA });
    const from = sent.length;
    await clock.advance(1000);
    expect(sent.slice(from).filter(({ hex }) => hex === 'f1300000')).toEqual([]);
  });

  test('returns one punch per copy received', async () => {
    const spot = hotspot();
    const { clock, phone, sent } = spot;
    await startDevice(spot);
    const session = await clock.runUntil(connectByLanSearch({ network: phone.network, clock, uid: UID }));
    const punches = (host: string) => sent.filter(({ hex, from }) => hex === PUNCH && from.startsWith(`${host}:`));
    expect(punches('192.168.43.1')).toHaveLength(2);
    expect(punches('192.168.43.20').length).toBeGreaterThanOrEqual(1);
    expect(punches('192.168.43.20').every(({ to }) => to === '192.168.43.1:40611')).toBe(true);
    await clock.advance(1000);
    expect(session.closed).toBeUndefined();
  });

  test('asks single hosts without broadcast, on their own port', async () => {
    const spot = hotspot();
    const { clock, phone, sent } = spot;
    await startDevice(spot, { searchPort: 4000 });
    const hosts = [{ address: '192.168.43.1', port: 4000 }];
    const session = await clock.runUntil(
      connectByLanSearch({ network: phone.network, clock, hosts, broadcast: false, random: new SeededRandom(1) }),
    );
    expect(session.uid).toBe(UID);
    expect(sent.filter(({ hex }) => hex === 'f1300000').map(({ to }) => to)).toEqual(['192.168.43.1:4000']);
  });

  test('searches in several ciphers at once and goes on in the one that is answered', async () => {
    const spot = hotspot();
    const { clock, phone, sent } = spot;
    await startDevice(spot, { uid: 'PETA-000001-BCDEF', keys: ['camera'], plaintext: false });
    const session = await clock.runUntil(
      connectByLanSearch({ network: phone.network, clock, uid: 'PETA-000001-BCDEF' }),
    );
    expect(sent.slice(0, 2).map(({ hex }) => hex)).toEqual(['f1300000', '2cba5f5d']);
    const heard = listen(session);
    await clock.advance(100);
    expect(heard.text).toBe('ACK');
  });

  test('names those that answered when the wanted device did not', async () => {
    const spot = hotspot();
    const { clock, phone } = spot;
    await startDevice(spot);
    const connecting = connectByLanSearch({
      network: phone.network,
      clock,
      uid: 'OTHER-000002-BCDEF',
      timeoutMs: 500,
    });
    await expect(clock.runUntil(connecting)).rejects.toMatchObject({
      code: 'wrong-device',
      message: expect.stringContaining(UID),
    });
  });

  test('survives the 0x43 phase of the recorded camera: 51 copies, then ready (B1)', async () => {
    const spot = hotspot();
    const { clock, phone, sent } = spot;
    await startDevice(spot, { offersTcp: true });
    const session = await clock.runUntil(connectByLanSearch({ network: phone.network, clock, uid: UID }));
    expect(sent.filter(({ hex }) => hex.startsWith('f143002c'))).toHaveLength(51);
    expect(clock.now()).toBeGreaterThan(300);
    expect(clock.now()).toBeLessThan(400);
    expect(session.closed).toBeUndefined();
  });

  test('keeps one session when two devices answer, and lets the other go', async () => {
    const spot = hotspot();
    const { clock, phone, lan } = spot;
    const first = await startDevice(spot);
    const second = await startDevice({ ...spot, camera: lan.host({ name: 'second' }) }, { uid: 'TEST-000002-BCDEF' });
    const session = await clock.runUntil(connectByLanSearch({ network: phone.network, clock }));
    await clock.advance(300);
    expect(session.closed).toBeUndefined();
    const left = [...first.device.sessions, ...second.device.sessions];
    expect(left.map(({ uid }) => uid)).toEqual([session.uid]);
  });

  test('connects through 20 % loss both ways within 5 s in 100 of 100 tries (B1)', async () => {
    const spot = hotspot({ lossRatio: 0.2, delayMs: 5 }, 7);
    const { clock, phone } = spot;
    const { device } = await startDevice(spot, { maxSessions: 200 });
    const slowest = { ms: 0 };
    for (let round = 0; round < 100; round++) {
      const startedAt = clock.now();
      const session = await clock.runUntil(connectByLanSearch({ network: phone.network, clock, uid: UID }));
      const heard = listen(session);
      while (heard.text === '') await clock.advance(5);
      slowest.ms = Math.max(slowest.ms, clock.now() - startedAt);
      await clock.runUntil(session.close());
    }
    expect(slowest.ms).toBeLessThan(5000);
    await clock.advance(20_000);
    expect(device.sessions).toEqual([]);
  });
});

describe('private networks that look alike', () => {
  test('a client whose own socket is where the device should be does not answer itself for ever (B1)', async () => {
    const { clock, internet, phone } = hotspot();
    const signal = AbortSignal.any([]);
    const to = { address: '192.168.43.20', port: 41_000 };
    const { network } = phone;
    const attempt = connectDirect({
      network,
      clock,
      uid: UID,
      to,
      localPort: 41_000,
      timeoutMs: 1_000,
      failEarly: false,
      signal,
    });
    await expect(clock.runUntil(attempt)).rejects.toMatchObject({ code: 'no-answer' });
    expect(internet.counters.sent).toBeLessThan(50);
  });
});
