import { existsSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  decodeText,
  encodeRequestText,
  encodeResponseText,
  seal,
  sealAvData,
  unseal,
  unsealAvData,
} from '../src/artemis/cipher.ts';
import { encodeFrame, FRAME_HEADER_BYTES, MessageType } from '../src/artemis/frame.ts';

const captures = new URL('../../../../shared/captures/', import.meta.url);
const latin1 = (bytes: Uint8Array) => Buffer.from(bytes).toString('latin1');

describe('ARTEMIS cipher', () => {
  test.each([
    ['{"cmdId":525}', '00350a', 'MzlB36X/IVo8ZzI5rG9j1w=='],
    ['{"cmdId":525}', '000000', 'VYoVRA3OqW+wyt+iBfgy2w=='],
    ['{"cmdId":512,"token":69651853}', '0031', 'y+DDbqMNNnV5LDju3xlEhZZOak3GGzzcbbfAFfIMlU0='],
    ['{"cmdId":512,"token":69651853}', '0000', 'y+DDbqMNNnV5LDju3xlEhTYQwF7oc42clWwfphVewY4='],
  ])('gives the documented vector for %s with filler %s (B2)', (text, filler, base64) => {
    const plain = Buffer.concat([Buffer.from(text), Buffer.from(filler, 'hex')]);
    expect(seal(plain).toString('base64')).toBe(base64);
    expect(unseal(Buffer.from(base64, 'base64'))).toEqual(plain);
    expect(decodeText(Buffer.from(`${base64}\0`))).toEqual({ ok: true, value: text });
    if (/^0+$/.test(filler)) expect(latin1(encodeRequestText(text))).toBe(`${base64}\0`);
  });

  test('frames the heartbeat of the recorded session (B2)', () => {
    const frame = encodeFrame(MessageType.request, 65537, Buffer.from('MzlB36X/IVo8ZzI5rG9j1w==\0'));
    expect(Buffer.from(frame).toString('hex')).toBe(
      '415254454d495300020000000100010019000000' + '4d7a6c423336582f49566f385a7a49357247396a31773d3d00',
    );
  });

  test('writes the login response with its 21 zeros, 157 bytes in one datagram with its two headers (B2)', () => {
    const text = '{"cmdId":0,"result":0,"token":69651853,"bat_percent":80,"errorMsg":"Success"}';
    const body = encodeResponseText(text);
    expect(body.length).toBe(0x81);
    expect(latin1(body.subarray(0, 7))).toBe('7sQ3+pH');
    expect(body.subarray(-21)).toEqual(new Uint8Array(21));
    expect(8 + FRAME_HEADER_BYTES + body.length).toBe(157);
  });

  test.for(['app_log_20251206', 'app_log_20251223'])(
    'keeps the length of every message in %s (B2)',
    (name, context) => {
      const file = new URL(`${name}.messages.jsonl`, captures);
      if (!existsSync(file)) context.skip('the captures are not beside this repository');
      let checked = 0;
      for (const line of readFileSync(file, 'utf8').trim().split('\n')) {
        const { kind, json_text: text, wire_bytes: wireBytes } = JSON.parse(line);
        if (text === null || typeof wireBytes !== 'number' || kind === 'event') continue;
        const body = kind === 'request' ? encodeRequestText(text) : encodeResponseText(text);
        expect(FRAME_HEADER_BYTES + body.length, text).toBe(wireBytes);
        expect(decodeText(body)).toEqual({ ok: true, value: text });
        checked++;
      }
      expect(checked).toBeGreaterThan(20);
    },
  );

  test('reads back what it wrote, for requests and responses of any length (B2)', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (raw) => {
        const text = raw.replaceAll('\0', '');
        fc.pre(text.isWellFormed() && text.length > 0);
        expect(decodeText(encodeRequestText(text))).toEqual({ ok: true, value: text });
        expect(decodeText(encodeResponseText(text))).toEqual({ ok: true, value: text });
      }),
    );
  });

  test('writes no NUL when the text fills its last block, as the recorded 1984 characters do (B2)', () => {
    expect(encodeRequestText('x'.repeat(1984)).length + FRAME_HEADER_BYTES).toBe(2669);
  });

  test('answers hostile bodies with a failure and never throws (B2)', () => {
    const base64ish = fc.stringMatching(/^[A-Za-z0-9+/=]{0,80}$/).map((text) => new Uint8Array(Buffer.from(text)));
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 200 }), base64ish), (body) => {
        expect(typeof decodeText(body).ok).toBe('boolean');
      }),
      { numRuns: Number(process.env.TOWPATH_FUZZ_RUNS ?? 1000) },
    );
    for (const body of ['', 'AAA', '====', 'AAAA', '!!!!']) expect(decodeText(Buffer.from(body)).ok).toBe(false);
  });

  test('touches the first 96 bytes of each full page head only (B2)', () => {
    const data = new Uint8Array(4096 + 95).fill(1);
    const sealed = sealAvData(data);
    expect(sealed.subarray(96)).toEqual(data.subarray(96));
    expect(sealed.subarray(0, 96)).not.toEqual(data.subarray(0, 96));
    const longer = sealAvData(new Uint8Array(4096 + 96).fill(1));
    expect(longer.subarray(4096)).toEqual(longer.subarray(0, 96));
  });

  test('restores audio/video data of any length (B2)', () => {
    fc.assert(
      fc.property(fc.nat(20_000), fc.nat(255), (length, byte) => {
        const data = new Uint8Array(length).map((_, at) => at + byte);
        expect(unsealAvData(sealAvData(data))).toEqual(data);
      }),
    );
  });
});
