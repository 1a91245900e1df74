import type { UdpSocket } from '@towpath/net';
import { describe, expect, test } from 'vitest';
import { connectDirect, StreamCipher } from '../src/index.ts';
import { encodeMessage, type Message } from '../src/codec/index.ts';
import { type Hotspot, hotspot, LISTEN_PORT, listen, startDevice, UID } from './device-lan.ts';

const LISTEN = { address: '192.168.43.1', port: LISTEN_PORT };
const SEARCH = { address: '192.168.43.1', port: 32_108 };
const hex = (message: Message) => Buffer.from(encodeMessage(message)).toString('hex');
const bytes = (text: string) => Uint8Array.from(Buffer.from(text, 'hex'));
const PUNCH = hex({ type: 'PUNCH_PKT', uid: UID });
const READY = hex({ type: 'P2P_RDY', uid: UID });
const GREETING = 'f1d00007d100000041434b';

/** A bare client that sends what it is told and notes what it hears. */
async function bare({ clock, phone }: Hotspot, port = 0) {
  const heard: { at: number; from: number; hex: string }[] = [];
  const startedAt = clock.now();
  const socket: UdpSocket = await phone.network.bindUdp({
    port,
    broadcast: true,
    onMessage: (data, from) => {
      heard.push({ at: clock.now() - startedAt, from: from.port, hex: Buffer.from(data).toString('hex') });
    },
  });
  return { heard, socket, sendHex: (text: string, to = LISTEN) => socket.send(bytes(text), to) };
}

describe('device (B1, B11)', () => {
  test('answers each search with PUNCH_PKT from its listen port, and keeps no state for it', async () => {
    const spot = hotspot();
    const { device } = await startDevice(spot);
    const { heard, sendHex } = await bare(spot);
    sendHex('f1300000', SEARCH);
    sendHex('f13000020000', SEARCH);
    sendHex('f130000000000000', SEARCH);
    await spot.clock.advance(100);
    expect(heard.map(({ from, hex: text }) => `${from} ${text}`)).toEqual(new Array(3).fill(`${LISTEN_PORT} ${PUNCH}`));
    expect(device.sessions).toEqual([]);
  });

  test('answers a search in the cipher in which it came', async () => {
    const spot = hotspot();
    await startDevice(spot, { keys: ['SHIX', 'camera'] });
    const { heard, sendHex } = await bare(spot);
    for (const text of ['f1300000', '9fa1eeb9', '2cba5f5d', 'b1a6bb9a']) sendHex(text, SEARCH);
    await spot.clock.advance(100);
    const keyed = (key: string) =>
      Buffer.from(new StreamCipher(key).encipher(encodeMessage({ type: 'PUNCH_PKT', uid: UID }))).toString('hex');
    expect(heard.map(({ hex: text }) => text)).toEqual([PUNCH, keyed('SHIX'), keyed('camera')]);
  });

  test('meets an address that has not punched with silence', async () => {
    const spot = hotspot();
    await startDevice(spot);
    const { heard, sendHex } = await bare(spot);
    for (const text of ['f1e00000', GREETING, 'f1d10006d10000010000', 'f1f00000', 'f1300000', 'f1aa0000', 'ff'])
      sendHex(text);
    sendHex(hex({ type: 'PUNCH_PKT', uid: 'OTHER-000001-BCDEF' }));
    sendHex(PUNCH, SEARCH);
    await spot.clock.advance(3000);
    expect(heard).toEqual([]);
  });

  test('says P2P_RDY four times 10 to 20 ms apart, the first at once, and more until the client speaks', async () => {
    const spot = hotspot();
    await startDevice(spot, { session: { sending: 'as-device' } });
    const { heard, sendHex } = await bare(spot);
    sendHex(PUNCH);
    await spot.clock.advance(200);
    const ready = heard.filter(({ hex: text }) => text === READY).map(({ at }) => Math.round(at));
    const greetings = heard.filter(({ hex: text }) => text === GREETING).map(({ at }) => Math.round(at));
    expect(greetings).toEqual([4, 44, 84, 124, 164]);
    expect(ready).toEqual([4, 19, 34, 44, 49, 84, 124, 164]);
    sendHex('f1e00000');
    await spot.clock.advance(10);
    const count = heard.filter(({ hex: text }) => text === READY).length;
    await spot.clock.advance(200);
    expect(heard.filter(({ hex: text }) => text === READY)).toHaveLength(count);
    expect(heard.at(-1)?.hex).toBe(GREETING);
  });

  test('takes P2P_RDY for a punch, a CLOSE before it, and padded datagrams', async () => {
    const spot = hotspot();
    const { device, streams } = await startDevice(spot);
    const { heard, sendHex } = await bare(spot);
    sendHex('f1f00000');
    sendHex(`${READY}000000000000`);
    await spot.clock.advance(10);
    expect(device.sessions).toHaveLength(1);
    sendHex('f1d00006d200000001020000');
    await spot.clock.advance(30);
    expect(streams[0]!.length).toBe(2);
    expect(heard.some(({ hex: text }) => text === 'f1d10006d10000010000')).toBe(true);
  });

  test('answers a client that echoes P2P_RDY without end only until it has spoken', async () => {
    const spot = hotspot();
    const { device } = await startDevice(spot);
    const echo: UdpSocket = await spot.phone.network.bindUdp({
      onMessage: (data, from) => {
        if (data[1] === 0x42) echo.send(data, from);
      },
    });
    echo.send(bytes(PUNCH), LISTEN);
    await spot.clock.advance(500);
    expect(device.sessions[0]!.stats.packetsSent).toBeLessThan(200);
  });

  test('keeps clients apart by address and port, up to its limit', async () => {
    const spot = hotspot();
    const { device } = await startDevice(spot, { maxSessions: 2 });
    const clients = await Promise.all([bare(spot), bare(spot), bare(spot)]);
    for (const { sendHex } of clients) sendHex(PUNCH);
    await spot.clock.advance(20);
    expect(device.sessions.map(({ peer }) => peer.port)).toEqual(
      clients.slice(0, 2).map(({ socket }) => socket.local.port),
    );
    expect(clients[2]!.heard).toEqual([]);
    clients[0]!.sendHex('f1f00000');
    await spot.clock.advance(5);
    clients[2]!.sendHex(PUNCH);
    await spot.clock.advance(5);
    expect(device.sessions.map(({ peer }) => peer.port)).toContain(clients[2]!.socket.local.port);
  });

  test('does not hear punches from where it is told not to', async () => {
    const spot = hotspot();
    const only = await bare(spot, 5000);
    const other = await bare(spot);
    await startDevice(spot, { admits: ({ port }) => port === 5000 });
    other.sendHex(PUNCH);
    only.sendHex(PUNCH);
    await spot.clock.advance(20);
    expect(other.heard).toEqual([]);
    expect(only.heard[0]?.hex).toBe(READY);
  });

  test('begins anew when a client does on the same port, but not for a late copy of a punch', async () => {
    const spot = hotspot();
    const { device, sessions } = await startDevice(spot);
    const { sendHex, heard } = await bare(spot, 5000);
    sendHex(PUNCH);
    await spot.clock.advance(10);
    sendHex('f1e00000');
    await spot.clock.advance(900);
    sendHex(PUNCH);
    await spot.clock.advance(10);
    expect(sessions).toHaveLength(1);
    await spot.clock.advance(500);
    heard.length = 0;
    sendHex(PUNCH);
    await spot.clock.advance(10);
    expect(sessions.map(({ closed }) => closed)).toEqual(['closed-by-peer', undefined]);
    expect(device.sessions).toEqual([sessions[1]]);
    expect(heard.map(({ hex: text }) => text)).toEqual([READY, GREETING]);
  });

  test('keeps the session of a client that is alive and punches all the same', async () => {
    const spot = hotspot();
    const { sessions } = await startDevice(spot, { keys: ['camera'] });
    const cipher = new StreamCipher('camera');
    const keyed = (text: string) => Buffer.from(cipher.encipher(bytes(text))).toString('hex');
    for (const write of [(text: string) => text, keyed]) {
      const { sendHex } = await bare(spot);
      for (let time = 0; time < 20; time++) {
        sendHex(write(PUNCH));
        await spot.clock.advance(200);
        sendHex(write('f1e00000'));
        await spot.clock.advance(200);
      }
    }
    expect(sessions.map(({ closed }) => closed)).toEqual(['timed-out', undefined]);
  });

  test('keeps the session of a client that punches now and then and only ever answers (B11)', async () => {
    const spot = hotspot();
    const { sessions } = await startDevice(spot);
    const socket = await spot.phone.network.bindUdp({
      onMessage: (data, from) => {
        if (data[1] === 0xe0) socket.send(bytes('f1e10000'), from);
        else if (data[1] === 0xd0) socket.send(bytes('f1d10006d10000010000'), from);
      },
    });
    for (let time = 0; time < 100; time++) {
      socket.send(bytes(PUNCH), LISTEN);
      await spot.clock.advance(790);
    }
    expect(sessions.map(({ closed }) => closed)).toEqual([undefined]);
  });

  test('a punch in the middle of a deliberate close begins anew, and no further CLOSE disturbs it', async () => {
    const spot = hotspot();
    const { sessions } = await startDevice(spot);
    const { sendHex, heard } = await bare(spot);
    sendHex(PUNCH);
    await spot.clock.advance(10);
    void sessions[0]!.close();
    sendHex(PUNCH);
    await spot.clock.advance(200);
    expect(sessions).toHaveLength(2);
    expect(sessions[1]!.closed).toBeUndefined();
    expect(heard.filter(({ hex: text }) => text === 'f1f00000')).toHaveLength(1);
  });

  test('gives a client up that goes silent', async () => {
    const spot = hotspot();
    const { device, sessions } = await startDevice(spot);
    const { sendHex } = await bare(spot);
    sendHex(PUNCH);
    await spot.clock.advance(9000);
    expect(sessions[0]!.closed).toBe('timed-out');
    expect(device.sessions).toEqual([]);
  });

  test('forgets everything without a word, as in a reboot, and is found again', async () => {
    const spot = hotspot();
    const { clock, phone } = spot;
    const { device, sessions } = await startDevice(spot);
    const session = await clock.runUntil(connectDirect({ network: phone.network, clock, uid: UID, to: LISTEN }));
    const heard = listen(session);
    device.forget();
    expect(sessions[0]!.closed).toBe('carrier-failed');
    await clock.advance(1000);
    expect(heard.closed).toBeUndefined();
    await clock.advance(8000);
    expect(heard.closed).toBe('timed-out');
    const again = await clock.runUntil(connectDirect({ network: phone.network, clock, uid: UID, to: LISTEN }));
    expect(again.closed).toBeUndefined();
  });

  test('hands what it does not know to its owner, and speaks from the listen port for it', async () => {
    const spot = hotspot();
    const got: Message[] = [];
    const { device } = await startDevice(spot, { onMessage: (message) => got.push(message) });
    const { heard, sendHex, socket } = await bare(spot);
    sendHex(hex({ type: 'HELLO_ACK', address: { address: '192.0.2.7', port: 1234 } }));
    await spot.clock.advance(5);
    expect(got).toEqual([{ type: 'HELLO_ACK', address: { address: '192.0.2.7', port: 1234 } }]);
    device.send({ type: 'HELLO' }, { address: '192.168.43.20', port: socket.local.port });
    await spot.clock.advance(5);
    expect(heard.at(-1)).toMatchObject({ from: LISTEN_PORT, hex: 'f1000000' });
  });

  test('several devices share the search port, and each answers for itself', async () => {
    const spot = hotspot();
    await startDevice(spot);
    await startDevice(spot, { uid: 'TEST-000002-BCDEF', listenPort: 0 });
    const { heard, sendHex } = await bare(spot);
    sendHex('f1300000', { address: '192.168.43.255', port: 32_108 });
    await spot.clock.advance(10);
    expect(new Set(heard.map(({ hex: text }) => text)).size).toBe(2);
  });

  test('closes with everything that it opened, in any state', async () => {
    const spot = hotspot();
    const { clock, internet } = spot;
    const { device, sessions } = await startDevice(spot, { offersTcp: true });
    const clients = await Promise.all([bare(spot), bare(spot)]);
    clients[0]!.sendHex(PUNCH);
    await clock.advance(5);
    clients[1]!.sendHex('f1300000', SEARCH);
    clients[1]!.sendHex(PUNCH);
    await clock.advance(50);
    await clock.runUntil(Promise.all([device.close(), device.close()]));
    expect(sessions[0]!.closed).toBe('closed-locally');
    for (const { socket } of clients) await socket.close();
    await clock.advance(100);
    expect(internet.openSockets).toBe(0);
    expect(clock.pendingTimers).toBe(0);
  });

  test('leaves no socket when one of its ports is taken', async () => {
    const spot = hotspot();
    const first = await startDevice(spot);
    await expect(startDevice(spot)).rejects.toMatchObject({ code: 'address-in-use' });
    await spot.clock.runUntil(first.device.close());
    expect(spot.internet.openSockets).toBe(0);
  });
});
