import { StreamCipher } from '@towpath/pppp';
import { type Message, NetworkKey } from '@towpath/pppp/codec';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { CAMERA_ADDRESS, collect, Hotspot, type RawClient, UID } from './emulator-fixture.ts';
import { LOGIN } from './emulator-session-support.ts';

const SEARCH = { address: CAMERA_ADDRESS, port: 32108 };

let hotspot: Hotspot;

beforeEach(() => {
  hotspot = new Hotspot();
});

afterEach(async () => {
  expect(await hotspot.end()).toEqual({ sockets: 0, timers: 0 });
});

/** What came on channel 0, put in order, as text with the responses still enciphered. */
function channelBytes(raw: RawClient, channel: number): Buffer {
  const pieces = new Map<number, Uint8Array>();
  for (const drw of raw.of('DRW')) if (drw.channel === channel) pieces.set(drw.index, drw.data);
  return Buffer.concat([...pieces.entries()].sort(([a], [b]) => a - b).map(([, data]) => data));
}

async function loggedInAfter(raw: RawClient, ...opening: Message[]): Promise<boolean> {
  for (const message of opening) raw.send(message);
  await hotspot.clock.advance(50);
  raw.request(LOGIN);
  await hotspot.clock.advance(100);
  const text = channelBytes(raw, 0).toString('latin1');
  return text.startsWith('ACKARTEMIS');
}

describe('habits of foreign clients that the emulated camera takes (B11)', () => {
  test.each<[string, Message[]]>([
    ['PUNCH_PKT alone, as the vendor app', [{ type: 'PUNCH_PKT', uid: UID }]],
    ['P2P_RDY instead, as iLnk clients', [{ type: 'P2P_RDY', uid: UID }]],
    [
      'both',
      [
        { type: 'PUNCH_PKT', uid: UID },
        { type: 'P2P_RDY', uid: UID },
      ],
    ],
    ['CLOSE and P2P_RDY', [{ type: 'CLOSE' }, { type: 'P2P_RDY', uid: UID }]],
    [
      'several copies of everything',
      [0, 1, 2].flatMap((): Message[] => [{ type: 'PUNCH_PKT', uid: UID }, { type: 'ALIVE' }]),
    ],
  ])('opening with %s', async (_, opening) => {
    await hotspot.camera();
    expect(await loggedInAfter(await hotspot.raw(), ...opening)).toBe(true);
  });

  test('nothing for a punch with another UID, for ALIVE or DRW without a punch', async () => {
    await hotspot.camera();
    const raw = await hotspot.raw();
    expect(await loggedInAfter(raw, { type: 'PUNCH_PKT', uid: 'ELSE-000000-CCCJJ' }, { type: 'ALIVE' })).toBe(false);
    expect(raw.heard).toEqual([]);
  });

  test('datagrams padded with zeros, and a search with two stray bytes', async () => {
    await hotspot.camera();
    const raw = await hotspot.raw();
    raw.sendBytes(new Uint8Array([0xf1, 0x30, 0, 2, 0, 0]), SEARCH);
    await hotspot.clock.advance(5);
    expect(raw.of('PUNCH_PKT')).toHaveLength(1);
    const punch = Buffer.from('f14100144c42435300000000000000004343434a4a000000', 'hex');
    raw.sendBytes(Buffer.concat([punch, new Uint8Array(12)]));
    raw.sendBytes(new Uint8Array([0xf1, 0xe0, 0, 0, 0, 0, 0, 0]));
    raw.sendBytes(new Uint8Array([0xf1, 0xe0, 0, 4, 1, 2, 3, 4]));
    await hotspot.clock.advance(60);
    expect(raw.of('P2P_RDY').length).toBeGreaterThanOrEqual(4);
    expect(raw.of('ALIVE_ACK').length).toBeGreaterThanOrEqual(2);
  });

  test('acknowledgements with 0xD2 as their first byte', async () => {
    await hotspot.camera();
    const raw = await hotspot.raw();
    raw.acknowledges = false;
    raw.send({ type: 'PUNCH_PKT', uid: UID });
    await hotspot.clock.advance(100);
    raw.sendBytes(Buffer.from('f1d10006d20000010000', 'hex'));
    await hotspot.clock.advance(10);
    const before = raw.of('DRW').length;
    await hotspot.clock.advance(300);
    expect(raw.of('DRW')).toHaveLength(before);
  });

  test.each<[string, (heard: readonly number[]) => readonly number[]]>([
    [
      'only every tenth time, of the last seventeen packets',
      (heard) => (heard.length % 10 < 3 ? heard.slice(-17) : []),
    ],
    ['of everything heard so far, again and again', (heard) => [...new Set(heard)].slice(-80)],
    ['twice for each packet', (heard) => [heard.at(-1)!, heard.at(-1)!]],
  ])('acknowledgements %s', async (_, habit) => {
    await hotspot.camera({ tokenPolicy: 'ignore' });
    const raw = await hotspot.raw();
    raw.ackHabit = habit;
    await raw.login();
    raw.request({ cmdId: 1285, downloadReqs: [{ fileType: 0, dirNum: 100, mediaNum: 5 }] }, 7);
    await hotspot.clock.advance(3000);
    expect(channelBytes(raw, 3)).toHaveLength(20 + 72 + 60_000);
    expect(raw.of('CLOSE')).toEqual([]);
  });

  test('a request that is sent again under a new index, and heartbeats in bursts', async () => {
    const camera = await hotspot.camera({ tokenPolicy: 'ignore' });
    const raw = await hotspot.raw();
    await raw.login();
    for (const seq of [2, 3]) raw.request({ cmdId: 512 }, seq);
    for (let count = 0; count < 10; count++) raw.request({ cmdId: 525 }, 0x10001 + (count % 4));
    raw.request({ cmdId: 768, itemCntPerPage: 45, pageNo: 0 }, 4);
    await hotspot.clock.advance(500);
    expect(channelBytes(raw, 0).toString('latin1').split('ARTEMIS')).toHaveLength(1 + 4);
    expect(camera.counters.heartbeats).toBe(10);
  });

  test('keep-alives every 400 ms, each answered', async () => {
    await hotspot.camera();
    const raw = await hotspot.raw();
    await raw.login();
    for (let count = 0; count < 40; count++) {
      raw.send({ type: 'ALIVE' });
      await hotspot.clock.advance(400);
    }
    expect(raw.of('ALIVE_ACK')).toHaveLength(40);
    expect(raw.of('ALIVE')).toEqual([]);
  });

  test('four-letter and other prefixes of the UID', async () => {
    for (const [port, uid] of [
      [40611, 'VSTB-123456-BCDEF'],
      [40612, 'DGB-000042-QWERT'],
      [40613, 'XIAODOU-1-ABCDE'],
    ] as const) {
      await hotspot.camera({ uid, listenPort: port });
      const raw = await hotspot.raw();
      raw.send({ type: 'PUNCH_PKT', uid }, { address: CAMERA_ADDRESS, port });
      await hotspot.clock.advance(50);
      expect(raw.of('P2P_RDY').length).toBeGreaterThanOrEqual(4);
    }
  });
});

describe('keyed dialects of the emulated camera (B11)', () => {
  test.each(Object.values(NetworkKey))(
    'answers search and session in the cipher %s in which it was asked',
    async (key) => {
      await hotspot.camera({ keys: Object.values(NetworkKey) });
      const raw = await hotspot.raw();
      raw.cipher = new StreamCipher(key);
      raw.send({ type: 'LAN_SEARCH' }, SEARCH);
      await hotspot.clock.advance(5);
      expect(raw.of('PUNCH_PKT')).toEqual([{ type: 'PUNCH_PKT', uid: UID }]);
      expect(await loggedInAfter(raw, { type: 'PUNCH_PKT', uid: UID })).toBe(true);
    },
  );

  test('gives the golden vector of a keyed search byte for byte', async () => {
    await hotspot.camera({ uid: 'TEST-000001-BCDEF', keys: ['camera'] });
    const heard: string[] = [];
    const socket = await hotspot
      .network()
      .bindUdp({ onMessage: (data) => heard.push(Buffer.from(data).toString('hex')) });
    socket.send(Buffer.from('2cba5f5d', 'hex'), SEARCH);
    await hotspot.clock.advance(5);
    expect(heard).toEqual(['2ccb6293afc44673697ccf321e673715b9573c0dc415fb3c']);
    await socket.close();
  });

  test('says nothing in plaintext when it speaks only its key', async () => {
    await hotspot.camera({ keys: ['SHIX'], plaintext: false });
    const raw = await hotspot.raw();
    raw.send({ type: 'LAN_SEARCH' }, SEARCH);
    raw.send({ type: 'PUNCH_PKT', uid: UID });
    await hotspot.clock.advance(100);
    expect(raw.heard).toEqual([]);
  });

  test('serves the client in a cipher', async () => {
    await hotspot.camera({ keys: ['camera'], plaintext: false });
    const client = await hotspot.connected({ cipher: new StreamCipher('camera') });
    expect(await hotspot.run(collect(client.mediaList()))).toHaveLength(83);
  });
});
