import { describe, expect, test } from 'vitest';
import { encodeMessage } from '../src/codec/message.ts';
import { streamBytes } from './channel-bytes.ts';
import { CLIENT_AT, DEVICE_AT, pipe, UID } from './session-pipe.ts';

const ALIVE = 'f1e00000';
const ALIVE_ACK = 'f1e10000';
const CLOSE = 'f1f00000';
const bytes = (hex: string) => Uint8Array.from(Buffer.from(hex, 'hex'));
const times = (sent: { at: number; hex: string }[], hex: string) =>
  sent.filter((datagram) => datagram.hex === hex).map((datagram) => Math.round(datagram.at));

describe('session keep-alive (B1)', () => {
  test('sends ALIVE after 1.02 s of silence, and the peer answers at once', async () => {
    const { clock, client, device } = pipe({ delayMs: 5 });
    await clock.advance(1035);
    expect(times(client.sent, ALIVE)).toEqual([1020]);
    expect(times(device.sent, ALIVE_ACK)).toEqual([1025]);
    await clock.advance(60_000);
    expect([client.session.closed, device.session.closed]).toEqual([undefined, undefined]);
  });

  test('sends none while data keeps arriving', async () => {
    const { clock, client, device } = pipe();
    for (let second = 0; second < 10; second++) {
      device.session.write(1, streamBytes(0, 100));
      await clock.advance(900);
    }
    expect([...times(client.sent, ALIVE), ...times(device.sent, ALIVE)]).toEqual([]);
  });

  test('gives a silent peer up after seven unanswered ALIVEs with one CLOSE, after about 8 s', async () => {
    const { clock, client, state } = pipe();
    state.down = true;
    await clock.advance(20_000);
    expect(times(client.sent, ALIVE)).toEqual([1020, 2040, 3060, 4080, 5100, 6120, 7140]);
    expect(times(client.sent, CLOSE)).toEqual([8160]);
    expect(client.closeReason).toBe('timed-out');
    expect(client.open).toBe(false);
    expect(clock.pendingTimers).toBe(0);
  });

  test('follows the configured interval and limit', async () => {
    const { clock, client, state } = pipe({}, { client: { aliveIntervalMs: 400, aliveLimit: 2 } });
    state.down = true;
    await clock.advance(3000);
    expect(times(client.sent, ALIVE)).toEqual([400, 800]);
    expect(times(client.sent, CLOSE)).toEqual([1200]);
  });

  test('accepts ALIVE with stray bytes of any length', async () => {
    const { client } = pipe();
    client.session.receive(bytes('f1e0000401020304'), DEVICE_AT);
    expect(client.sent.map(({ hex }) => hex)).toEqual([ALIVE_ACK]);
  });
});

describe('session close (B1)', () => {
  test('says CLOSE three times 10 ms apart, then lets the carrier go', async () => {
    const { clock, client, device } = pipe();
    const closing = client.session.close();
    expect(client.closeReason).toBe('closed-locally');
    expect(client.open).toBe(true);
    await clock.runUntil(closing);
    expect(times(client.sent, CLOSE)).toEqual([0, 10, 20]);
    expect(client.open).toBe(false);
    expect(device.closeReason).toBe('closed-by-peer');
    await clock.advance(100);
    expect(clock.pendingTimers).toBe(0);
  });

  test('is idempotent, and onClose comes exactly once', async () => {
    const { clock, client, device } = pipe();
    let closes = 0;
    client.session.attach({ onData() {}, onClose: () => closes++ });
    await clock.runUntil(Promise.all([client.session.close(), client.session.close()]));
    client.session.receive(bytes(CLOSE), DEVICE_AT);
    device.session.receive(bytes(CLOSE), CLIENT_AT);
    expect(closes).toBe(1);
    expect(client.session.write(0, streamBytes(0, 10))).toBe(false);
  });

  test('tells a user who attaches late', async () => {
    const { clock, client, device } = pipe({}, { attach: false });
    void device.session.close();
    await clock.advance(5);
    client.attach();
    expect(client.closeReason).toBe('closed-by-peer');
  });

  test('leaves no timer, whatever was in flight', async () => {
    const { clock, client, device } = pipe({ lossRatio: 0.5 });
    device.session.write(3, streamBytes(0, 500_000));
    client.session.write(0, streamBytes(0, 500));
    await clock.advance(20);
    await clock.runUntil(Promise.all([client.session.close(), device.session.close()]));
    await clock.advance(100);
    expect(clock.pendingTimers).toBe(0);
    expect(device.session.bufferedBytes(3)).toBe(0);
  });
});

describe('session datagrams (B1)', () => {
  test('ignores everything from an address that is not the peer', async () => {
    const { client } = pipe();
    for (const from of [
      { ...DEVICE_AT, port: 40_612 },
      { ...DEVICE_AT, address: '192.0.2.9' },
    ]) {
      client.session.receive(bytes('f1d00007d100000041434b'), from);
      client.session.receive(bytes(CLOSE), from);
      client.session.receive(bytes(ALIVE), from);
    }
    expect(client.sent).toEqual([]);
    expect(client.streams[0]!.length).toBe(0);
    expect(client.session.stats).toMatchObject({ rejected: 6, packetsReceived: 0 });
    expect(client.session.closed).toBeUndefined();
  });

  test('acknowledges on the channel of the data, every copy, within 10 ms', async () => {
    const { clock, client } = pipe();
    for (let copy = 0; copy < 3; copy++) client.session.receive(bytes('f1d00007d106000041434b'), DEVICE_AT);
    await clock.advance(10);
    expect(client.sent).toEqual([{ at: 10, hex: 'f1d1000ad1060003000000000000' }]);
    expect(client.session.stats.duplicatesReceived).toBe(2);
  });

  test('acknowledges a burst in batches of seventeen, at once, byte for byte as captured', async () => {
    const { clock, client, device } = pipe();
    device.session.write(4, new Uint8Array(20 * 1024));
    await clock.advance(1);
    expect(client.sent).toEqual([
      { at: 1, hex: 'f1d10026d10400110000000100020003000400050006000700080009000a000b000c000d000e000f0010' },
    ]);
    await clock.advance(10);
    expect(client.sent[1]).toEqual({ at: 11, hex: 'f1d1000ad1040003001100120013' });
  });

  test('drops and counts malformed acknowledgements and goes on', async () => {
    const { clock, client, device } = pipe();
    device.session.write(0, Buffer.from('ACK'));
    const bad = [
      'f1d10006d10000000000', // count 0
      'f1d10006d10000530053', // 83 promised, one there
      'f1d10006d10000010053', // never sent
      'f1d10006d10600010000', // a channel that was never used
      'f1d10006d10900010000', // a channel that does not exist
      'f1d10002d100', // too short
    ];
    for (const hex of bad) device.session.receive(bytes(hex), CLIENT_AT);
    expect(device.session.stats.rejected).toBe(bad.length);
    expect(device.session.bufferedBytes(0)).toBe(3);
    await clock.advance(20);
    expect(device.session.bufferedBytes(0)).toBe(0);
    expect(client.streams[0]!.length).toBe(3);
  });

  test('takes an acknowledgement of everything that ever came, however long the list (B1)', async () => {
    const { clock, client, device } = pipe();
    client.session.attach({ onData: () => {} });
    for (let index = 0; index < 300; index++) device.session.write(4, streamBytes(0, 1024));
    await clock.advance(200);
    device.session.write(4, streamBytes(0, 1024));
    const list = Array.from({ length: 301 }, (_, index) => index.toString(16).padStart(4, '0')).join('');
    device.session.receive(bytes(`f1d1025ed104012d${list}`), CLIENT_AT);
    expect(device.session.bufferedBytes(4)).toBe(0);
    expect(device.session.stats.rejected).toBe(0);
  });

  test('closes on the acknowledgement of an index never sent where it is to act as the camera does', () => {
    const { device } = pipe({}, { device: { closeOnBadAck: true } });
    device.session.write(0, Buffer.from('ACK'));
    device.session.receive(bytes('f1d10006d10000010000'), CLIENT_AT);
    expect(device.closeReason).toBeUndefined();
    device.session.receive(bytes('f1d10006d10000010053'), CLIENT_AT);
    expect(device.closeReason).toBe('closed-locally');
    expect(device.sent.at(-1)!.hex).toBe(CLOSE);
  });

  test('counts unknown types, never answers them, never closes on them', () => {
    const { client } = pipe();
    for (const hex of ['f1aa0000', 'f17f000401020304', 'f1f10000', 'f143002c', '00', '', 'ffffffff']) {
      client.session.receive(bytes(hex), DEVICE_AT);
    }
    expect(client.sent).toEqual([]);
    expect(client.session.closed).toBeUndefined();
    expect(client.session.stats.rejected).toBe(6);
  });

  test('answers each late P2P_RDY with ALIVE as a client, and a late PUNCH_PKT not at all', () => {
    const { client } = pipe();
    client.session.receive(encodeMessage({ type: 'P2P_RDY', uid: UID }), DEVICE_AT);
    client.session.receive(encodeMessage({ type: 'P2P_RDY', uid: UID }), DEVICE_AT);
    client.session.receive(encodeMessage({ type: 'PUNCH_PKT', uid: UID }), DEVICE_AT);
    expect(client.sent.map(({ hex }) => hex)).toEqual([ALIVE, ALIVE]);
  });

  test('reads data from the iLnk dialect: other sub-header magic, padded datagrams', async () => {
    const { clock, device } = pipe();
    device.session.receive(bytes('f1d00007d200000041434b000000'), CLIENT_AT);
    expect(device.streams[0]!.length).toBe(3);
    device.session.write(0, Buffer.from('ACK'));
    device.session.receive(bytes('f1d10006d200000100000000'), CLIENT_AT);
    expect(device.session.bufferedBytes(0)).toBe(0);
    await clock.advance(1);
  });

  test('acknowledges with a repeated packet the ones behind it, whose acknowledgement was lost as well', async () => {
    const { clock, client } = pipe();
    const packet = (index: number) => encodeMessage({ type: 'DRW', channel: 3, index, data: streamBytes(0, 8) });
    for (let index = 0; index < 40; index++) if (index !== 22) client.session.receive(packet(index), DEVICE_AT);
    await clock.advance(50);
    const before = client.sent.length;
    client.session.receive(packet(10), DEVICE_AT);
    const arrived = [10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 23, 24, 25, 26];
    await clock.advance(50);
    const ack = encodeMessage({ type: 'DRW_ACK', channel: 3, indices: arrived });
    expect(client.sent.slice(before).map(({ hex }) => hex)).toEqual([Buffer.from(ack).toString('hex')]);
  });
});

describe('session repeats (B1)', () => {
  test('as a device: every 40 ms at first, only the oldest, with one more P2P_RDY each time until the client speaks', async () => {
    const { clock, device, state } = pipe({}, { device: { sending: 'as-device' } });
    state.down = true;
    device.session.write(0, Buffer.from('ACK'));
    device.session.write(0, Buffer.from('event'));
    await clock.advance(125);
    const ready = Buffer.from(encodeMessage({ type: 'P2P_RDY', uid: UID })).toString('hex');
    expect(times(device.sent, 'f1d00007d100000041434b')).toEqual([0, 40, 80, 120]);
    expect(times(device.sent, ready)).toEqual([40, 80, 120]);
    expect(device.sent.filter(({ hex }) => hex.startsWith('f1d00009d1000001'))).toHaveLength(1);
  });

  test('as a device: later every smallest round trip and a millisecond', async () => {
    const { clock, device, state } = pipe(
      { delayMs: 10 },
      { device: { sending: 'as-device' }, client: { ackDelayMs: 2 } },
    );
    device.session.write(0, Buffer.from('ACK'));
    await clock.advance(100);
    state.down = true;
    const before = clock.now();
    device.session.write(0, Buffer.from('next'));
    await clock.advance(100);
    const sent = device.sent.filter(({ hex }) => hex.startsWith('f1d00008d1000001'));
    expect(sent.map(({ at }) => at - before)).toEqual([0, 23, 46, 69, 92]);
  });

  test('ours: after the measured time, slower and slower from the sixth repeat on, at most 1 s apart', async () => {
    const { clock, client, state } = pipe({}, { client: { aliveLimit: 1000 } });
    state.down = true;
    client.session.write(0, Buffer.from('login'));
    await clock.advance(20_000);
    const sent = client.sent.filter(({ hex }) => hex.startsWith('f1d0')).map(({ at }) => at);
    expect(sent.slice(0, 9)).toEqual([0, 40, 80, 120, 160, 200, 240, 320, 480]);
    const gaps = sent.slice(1).map((at, i) => at - sent[i]!);
    expect(Math.max(...gaps)).toBe(1000);
  });

  test('settles on a path whose round trip is longer than the first time-out', async () => {
    const { clock, client, device } = pipe({ delayMs: 150 });
    for (let message = 0; message < 20; message++) {
      client.session.write(0, streamBytes(message * 100, 100));
      await clock.advance(1000);
    }
    expect(device.streams[0]).toMatchObject({ length: 2000, intact: true });
    expect(client.session.stats.rttMs).toBeGreaterThan(299);
    expect(client.session.stats.retransmissions).toBeLessThan(20);
  });
});
