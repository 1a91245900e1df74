import { SeededRandom } from '@towpath/core';
import { encodeMessage, type Message } from '@towpath/pppp/codec';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { encodeRequestText } from '../src/artemis/cipher.ts';
import { encodeFrame, MessageType } from '../src/artemis/frame.ts';
import { CAMERA_ADDRESS, collect, Hotspot, LISTEN, UID } from './emulator-fixture.ts';
import { LOGIN } from './emulator-session-support.ts';

/** Datagrams per test; TOWPATH_FUZZ multiplies it, for long runs: 50 makes a million. */
const DATAGRAMS = 20_000 * Number(process.env.TOWPATH_FUZZ ?? 1);

const SEARCH = { address: CAMERA_ADDRESS, port: 32108 };

let hotspot: Hotspot;

beforeEach(() => {
  hotspot = new Hotspot();
});

afterEach(async () => {
  expect(await hotspot.end()).toEqual({ sockets: 0, timers: 0 });
});

function request(fields: object): Uint8Array {
  return encodeFrame(MessageType.request, 1, encodeRequestText(JSON.stringify(fields)));
}

const items = [{ fileType: 0, dirNum: 100, mediaNum: 3 }];

/** What a client may say, to be changed at random. */
const MESSAGES: readonly Message[] = [
  { type: 'LAN_SEARCH' },
  { type: 'PUNCH_PKT', uid: UID },
  { type: 'P2P_RDY', uid: UID },
  { type: 'ALIVE' },
  { type: 'ALIVE_ACK' },
  { type: 'DRW_ACK', channel: 0, indices: [0, 1, 2] },
  { type: 'DRW_ACK', channel: 3, indices: [0, 1, 2, 3, 4] },
  { type: 'DRW', channel: 0, index: 0, data: request(LOGIN) },
  { type: 'DRW', channel: 0, index: 1, data: request({ cmdId: 768, itemCntPerPage: 45, pageNo: 0 }) },
  { type: 'DRW', channel: 0, index: 2, data: request({ cmdId: 1285, downloadReqs: items }) },
  { type: 'DRW', channel: 1, index: 0, data: new Uint8Array(300) },
];

const SEEDS = MESSAGES.map((message) => encodeMessage(message));

/** A message with some bytes changed, cut off or added; or noise. */
function mutated(random: SeededRandom): Uint8Array {
  if (random.next() < 0.1) return random.bytes(random.integer(0, 64));
  let bytes: Uint8Array = SEEDS[random.integer(0, SEEDS.length - 1)]!.slice();
  for (let changes = random.integer(0, 4); changes > 0; changes--) {
    if (bytes.length > 0) bytes[random.integer(0, bytes.length - 1)] = random.integer(0, 255);
  }
  if (random.next() < 0.2) bytes = bytes.subarray(0, random.integer(0, bytes.length));
  if (random.next() < 0.1) bytes = Buffer.concat([bytes, random.bytes(random.integer(1, 40))]);
  return bytes;
}

describe('hostile datagrams to an emulated camera (B11)', () => {
  test(
    `${DATAGRAMS} mutated ones: nothing is thrown, nothing grows, and a client is served afterwards`,
    async () => {
      const camera = await hotspot.camera({ maxSessions: 8 });
      const random = new SeededRandom(Number(process.env.TOWPATH_FUZZ_SEED ?? 11));
      const attackers = await Promise.all(Array.from({ length: 12 }, () => hotspot.raw()));
      for (let sent = 0; sent < DATAGRAMS; sent++) {
        const attacker = attackers[random.integer(0, attackers.length - 1)]!;
        attacker.sendBytes(mutated(random), random.next() < 0.1 ? SEARCH : LISTEN);
        if (sent % 50 !== 0) continue;
        await hotspot.clock.advance(5);
        for (const { heard } of attackers) heard.length = 0;
        expect(camera.sessions.length).toBeLessThanOrEqual(8);
        expect(hotspot.clock.pendingTimers).toBeLessThan(200);
      }
      await hotspot.clock.advance(20_000);
      for (const attacker of attackers) await attacker.close();
      await hotspot.clock.advance(20_000);
      expect(camera.sessions).toEqual([]);
      const client = await hotspot.connected();
      const listed = await hotspot.run(collect(client.mediaList()));
      expect(listed).toHaveLength(83);
    },
    10_000 + DATAGRAMS / 20,
  );

  test('mutated requests within a session: each is answered or passed over, and the next is answered', async () => {
    const camera = await hotspot.camera();
    const client = await hotspot.connected();
    const random = new SeededRandom(5);
    const frames = [{ cmdId: 525 }, { cmdId: 512 }, { cmdId: 768, itemCntPerPage: 9, pageNo: 0 }].map(request);
    for (let count = 0; count < 2000; count++) {
      const frame = frames[count % frames.length]!.slice();
      for (let changes = random.integer(1, 3); changes > 0; changes--) {
        frame[random.integer(0, frame.length - 1)] = random.integer(0, 255);
      }
      // A length beyond what follows would swallow the requests behind it, as it does on any byte stream.
      frame.set(new Uint8Array([0, 0, 0]), 17);
      client.path?.artemis.carrier.write(0, frame);
      if (count % 100 === 0) await hotspot.clock.advance(50);
    }
    await hotspot.clock.advance(500);
    client.path?.artemis.carrier.write(0, new Uint8Array(300));
    expect(camera.sessions).toHaveLength(1);
    expect(await hotspot.run(client.deviceInfo())).toMatchObject({ devId: camera.deviceId });
  });

  test('a stranger changes nothing in a session: not by CLOSE, not by acknowledgements, not by data', async () => {
    const camera = await hotspot.camera();
    const client = await hotspot.connected();
    const listed = await hotspot.run(collect(client.mediaList()));
    const victim = camera.sessions[0]!.peer;
    const stranger = await hotspot.raw(hotspot.network(), victim.port);
    const messages: Message[] = [
      { type: 'CLOSE' },
      { type: 'DRW_ACK', channel: 0, indices: [0x53] },
      { type: 'DRW_ACK', channel: 3, indices: [1, 2, 3, 4, 5] },
      { type: 'DRW', channel: 0, index: 5, data: request({ cmdId: 518 }) },
      { type: 'ALIVE' },
    ];
    const flood = setEvery(1, () => {
      for (const message of messages) stranger.send(message);
    });
    const files = await hotspot.run(collect(client.download(listed.slice(0, 20))));
    flood.stop();
    expect(files.every(({ data }) => data?.length === 60_000)).toBe(true);
    expect(stranger.heard).toEqual([]);
    expect(camera.counters.logins).toBe(1);
    expect(camera.sessions.map(({ peer }) => peer)).toEqual([victim]);
  });

  test('thousands of punches from one address open no more sessions than allowed', async () => {
    const camera = await hotspot.camera({ maxSessions: 3 });
    const network = hotspot.network();
    const raws = await Promise.all(Array.from({ length: 50 }, () => hotspot.raw(network)));
    for (let round = 0; round < 20; round++) {
      for (const raw of raws) raw.send({ type: 'PUNCH_PKT', uid: UID });
      await hotspot.clock.advance(20);
    }
    expect(camera.sessions).toHaveLength(3);
  });
});

/** Calls `action` every so many ms of the hotspot's time. */
function setEvery(ms: number, action: () => void): { stop(): void } {
  let timer = hotspot.clock.timer(0, tick);
  function tick(): void {
    action();
    timer = hotspot.clock.timer(ms, tick);
  }
  return { stop: () => timer.cancel() };
}
