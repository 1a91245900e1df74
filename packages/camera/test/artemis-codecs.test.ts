import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { AV_HEADER_BYTES, type AvFrame, decodeAvFrame, encodeAvFrame, LIVE_STALE_BYTES } from '../src/artemis/av.ts';
import {
  BleReassembler,
  decodeHotspotCredentials,
  encodeBleMessage,
  encodeWakeValue,
  MAX_BLE_PAYLOAD_BYTES,
} from '../src/artemis/ble-message.ts';
import { decodeEvent, encodeEvent } from '../src/artemis/event.ts';
import { FrameStream } from '../src/artemis/frame.ts';
import {
  decodeFileRecord,
  decodeThumbnailRecord,
  encodeFileRecord,
  encodeThumbnailRecord,
  fileCheckHolds,
  RECORD_HEADER_BYTES,
} from '../src/artemis/record.ts';
import type { Decoded } from '../src/artemis/result.ts';

const capture = new URL('../../../../shared/captures/udp_traffic_2.jsonl', import.meta.url);
const fuzz = { numRuns: Number(process.env.TOWPATH_FUZZ_RUNS ?? 500) };

function decodedOf<T>(result: Decoded<T> | undefined): T {
  if (result === undefined || !result.ok) throw new Error(`not decoded: ${result?.message}`);
  return result.value;
}

const anyRecord = fc.record({
  deviceId: fc.stringMatching(/^[0-9A-F:]{0,31}$/),
  dirNum: fc.nat(65535),
  mediaNum: fc.nat(65535),
  mediaId: fc.nat(0xffffffff),
  data: fc.uint8Array({ maxLength: 100 }),
});

describe('item record', () => {
  test('round-trips as a file with its end check and as a thumbnail (B2)', () => {
    fc.assert(
      fc.property(anyRecord, (item) => {
        const file = decodedOf(decodeFileRecord(encodeFileRecord(item)));
        expect(file).toMatchObject(item);
        expect(fileCheckHolds(file)).toBe(true);
        expect(decodedOf(decodeThumbnailRecord(encodeThumbnailRecord(item)))).toMatchObject(item);
      }),
    );
  });

  test('has the end check and the lengths that the app logged for a file of 229426 bytes (B2)', () => {
    const data = new Uint8Array(229_426);
    data.set([0xbd, 0xb7, 0x5d, 0xbf, 0xe0, 0x9f, 0xff, 0xd9], data.length - 8);
    const body = encodeFileRecord({ deviceId: '00:11:22:33:44:55', dirNum: 100, mediaNum: 47, mediaId: 1, data });
    expect(20 + body.length).toBe(229_518);
    expect(Buffer.from(body.subarray(40, 48)).toString('hex')).toBe('bdb75dbfe09fffd9');
    expect(new DataView(body.buffer).getUint16(32, true)).toBe(100);
  });

  test('whose end differs from its check is not intact (B2)', () => {
    const body = encodeFileRecord({
      deviceId: '',
      dirNum: 1,
      mediaNum: 2,
      mediaId: 3,
      data: new Uint8Array(20).fill(9),
    });
    body[body.length - 1] = 0;
    expect(fileCheckHolds(decodedOf(decodeFileRecord(body)))).toBe(false);
  });

  test('shorter than it says, and random bytes, give a failure (B2)', () => {
    const body = encodeFileRecord({ deviceId: '', dirNum: 1, mediaNum: 2, mediaId: 3, data: new Uint8Array(20) });
    for (let length = 0; length < body.length; length++) {
      expect(decodeFileRecord(body.subarray(0, length))).toMatchObject({ ok: false, problem: 'truncated' });
    }
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 2 * RECORD_HEADER_BYTES }), (bytes) => {
        expect(typeof decodeThumbnailRecord(bytes).ok).toBe('boolean');
      }),
      fuzz,
    );
  });
});

describe('audio/video frame', () => {
  const anyAv = fc.record({
    frameNumber: fc.nat(0xffffffff),
    timestamp: fc.nat(Number.MAX_SAFE_INTEGER),
    keyFrame: fc.boolean(),
    width: fc.nat(4000),
    height: fc.nat(4000),
    audioType: fc.constantFrom(0, 16, 20),
    mark: fc.constantFrom(0, 2, 4),
    sessionNo: fc.nat(0xffffffff),
    videoType: fc.constantFrom(0, 1, 2),
    video: fc.uint8Array({ maxLength: 5000 }),
    audio: fc.uint8Array({ maxLength: 300 }),
  });

  test('round-trips with the stale bytes of live frames and without (B2)', () => {
    fc.assert(
      fc.property(anyAv, (frame) => {
        const live = decodedOf(decodeAvFrame(encodeAvFrame(frame, new Uint8Array(LIVE_STALE_BYTES).fill(3)), 'live'));
        expect(live).toEqual({ ...frame, intact: true, trailingBytes: LIVE_STALE_BYTES });
        expect(decodedOf(decodeAvFrame(encodeAvFrame(frame), 'playback'))).toMatchObject({
          ...frame,
          trailingBytes: 0,
        });
      }),
    );
  });

  test('of the recorded session deciphers to its known digest (B2)', (context) => {
    if (!existsSync(capture)) context.skip('the captures are not beside this repository');
    const line = readFileSync(capture, 'utf8').split('\n')[106] ?? '';
    const packet = new Uint8Array(Buffer.from(JSON.parse(line).hex, 'hex'));
    const found: AvFrame[] = [];
    new FrameStream({ onFrame: ({ body }) => found.push(decodedOf(decodeAvFrame(body, 'live'))) }).push(
      packet.subarray(8),
    );
    const frame = found[0]!;
    expect(frame).toMatchObject({ frameNumber: 7, timestamp: 25_645_156, keyFrame: false, width: 1280, height: 720 });
    expect(frame).toMatchObject({ videoType: 0, intact: true, trailingBytes: 168 });
    expect(createHash('sha256').update(frame.video).digest('hex')).toBe(
      '836013a074521c04368c3ca1201791a515a85b31fa994d1488910ee8a3d471bb',
    );
  });

  test('with a damaged end is not intact, unless a playback frame says that it has no check (B2)', () => {
    const frame = decodedOf(
      decodeAvFrame(
        encodeAvFrame({ ...fc.sample(anyAv, 1)[0]!, video: new Uint8Array(200), audio: new Uint8Array(9) }),
        'live',
      ),
    );
    const body = encodeAvFrame(frame);
    body[body.length - 1]! ^= 0xff;
    expect(decodedOf(decodeAvFrame(body, 'live')).intact).toBe(false);
    body[70] = 0;
    expect(decodedOf(decodeAvFrame(body, 'live')).intact).toBe(false);
    expect(decodedOf(decodeAvFrame(body, 'playback')).intact).toBe(true);
  });

  test('never makes the decoder throw, whatever its bytes (B2)', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 3 * AV_HEADER_BYTES }), (bytes) => {
        expect(typeof decodeAvFrame(bytes, 'live').ok).toBe('boolean');
      }),
      fuzz,
    );
  });
});

describe('event', () => {
  test('is JSON in clear with a NUL (B2)', () => {
    expect(Buffer.from(encodeEvent({ evtId: 4 })).toString()).toBe('{"evtId":4}\0');
    expect(decodedOf(decodeEvent(encodeEvent({ evtId: 4, more: 1 })))).toEqual({
      evtId: 4,
      fields: { evtId: 4, more: 1 },
    });
  });

  test.each(['', '\0', '[]\0', '{"evtId":"4"}\0', '{"evtId":4'])('of the form %j is a failure (B2)', (text) => {
    expect(decodeEvent(Buffer.from(text)).ok).toBe(false);
  });
});

describe('Bluetooth message', () => {
  const answer = Buffer.from('{"ret":0,"ssid":"CAM_0001","bssid":"00:11:22:33:44:55","pwd":"12345678"}');

  test('wakes the camera with 20 bytes (B10)', () => {
    expect(Buffer.from(encodeWakeValue()).toString('hex')).toBe(`1357010000000000${'00'.repeat(12)}`);
  });

  test('is put together from notifications of any size (B10)', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 100 }), (size) => {
        const bytes = encodeBleMessage({ id: 1, payload: answer });
        const parts = new BleReassembler();
        for (let at = 0; at + size < bytes.length; at += size) {
          expect(parts.push(bytes.subarray(at, at + size))).toBeUndefined();
        }
        const rest = bytes.length % size || size;
        const message = decodedOf(parts.push(bytes.subarray(bytes.length - rest)));
        expect(decodedOf(decodeHotspotCredentials(message))).toEqual({
          ssid: 'CAM_0001',
          bssid: '00:11:22:33:44:55',
          password: '12345678',
        });
      }),
    );
  });

  test.each([
    ['{"ret":1}', 'refused'],
    ['{"ret":0,"pwd":"1"}', 'unexpected-fields'],
    ['{"ret":"0"}', 'unexpected-fields'],
    ['nonsense', 'not-json'],
  ])('with the answer %s gives the failure %s (B10)', (text, problem) => {
    expect(decodeHotspotCredentials({ id: 1, payload: Buffer.from(text) })).toMatchObject({ ok: false, problem });
  });

  test('that is foreign or too long is refused, and the next one is read afresh (B10)', () => {
    const parts = new BleReassembler();
    expect(parts.push(Buffer.from('hello'))).toMatchObject({ ok: false, problem: 'malformed' });
    const long = encodeBleMessage({ id: 1, payload: new Uint8Array(0) });
    new DataView(long.buffer).setUint32(4, MAX_BLE_PAYLOAD_BYTES + 1, true);
    expect(parts.push(long)).toMatchObject({ ok: false, problem: 'too-long' });
    expect(decodedOf(parts.push(encodeBleMessage({ id: 9, payload: answer })))).toMatchObject({ id: 9 });
  });
});
