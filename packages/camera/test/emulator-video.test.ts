import { describe, expect, test } from 'vitest';
import { BitWriter } from '../src/emulator/media/h264-bits.ts';
import { H264Encoder } from '../src/emulator/media/h264-encoder.ts';
import { LIVE_HEIGHT, LIVE_WIDTH, LiveScene } from '../src/emulator/media/live-scene.ts';
import { SILENT_AAC_FRAME } from '../src/emulator/media/silence.ts';

/** Splits Annex-B data with four-byte start codes and takes the emulation prevention bytes out. */
function nalUnits(data: Uint8Array): Uint8Array[] {
  const units: Uint8Array[] = [];
  const hex = Buffer.from(data).toString('latin1');
  for (const part of hex.split('\0\0\0\x01').slice(1)) {
    units.push(Buffer.from(part.replaceAll('\0\0\x03', '\0\0'), 'latin1'));
  }
  return units;
}

/** Reads Exp-Golomb numbers behind `skip` bits. */
function exponentialGolomb(unit: Uint8Array, skip: number, count: number): number[] {
  const bits = [...unit].map((byte) => byte.toString(2).padStart(8, '0')).join('');
  const values: number[] = [];
  let at = skip;
  while (values.length < count) {
    const zeros = bits.indexOf('1', at) - at;
    values.push(Number.parseInt(bits.slice(at + zeros, at + 2 * zeros + 1), 2) - 1);
    at += 2 * zeros + 1;
  }
  return values;
}

describe('the live picture of an emulated camera (B11)', () => {
  test('begins with parameter sets that state its size and with a key frame', () => {
    const first = new LiveScene(5, 'TOWPATH', 1_767_530_000).next(1_767_530_000);
    const units = nalUnits(first.data);
    expect(units.map((unit) => unit[0])).toEqual([0x67, 0x68, 0x65]);
    const sps = units[0]!;
    expect([...sps.subarray(1, 4)]).toEqual([66, 0xc0, 31]);
    // id, log2_max_frame_num, pic_order_cnt_type, references; then one flag; then the size in macroblocks
    expect(exponentialGolomb(sps, 32, 4)).toEqual([0, 0, 2, 1]);
    expect(exponentialGolomb(sps, 32 + 1 + 1 + 3 + 3 + 1, 2)).toEqual([LIVE_WIDTH / 16 - 1, LIVE_HEIGHT / 16 - 1]);
  });

  test('has key frames of 20 to 40 kB every two seconds and small frames between', () => {
    const scene = new LiveScene(5, 'TOWPATH', 1_767_530_000);
    const frames = Array.from({ length: 61 }, (_, index) => scene.next(1_767_530_000 + index / 15));
    for (const [index, { keyFrame, data }] of frames.entries()) {
      expect(keyFrame).toBe(index % 30 === 0);
      expect(data.length).toBeGreaterThan(keyFrame ? 20_000 : 200);
      expect(data.length).toBeLessThan(keyFrame ? 40_000 : 15_000);
      if (!keyFrame) expect(nalUnits(data).map((unit) => unit[0])).toEqual([0x41]);
    }
  });

  test('is the same for the same seed and moment', () => {
    const one = new LiveScene(9, 'A', 100).next(100);
    expect(new LiveScene(9, 'A', 100).next(100)).toEqual(one);
    expect(new LiveScene(10, 'A', 100).next(100)).not.toEqual(one);
  });

  test('costs a few bytes when nothing moves', () => {
    const encoder = new H264Encoder({ width: 64, height: 32, framesPerSecond: 15, qp: 24 });
    const picture = { luma: new Uint8Array(128).fill(90), cb: new Uint8Array(32), cr: new Uint8Array(32) };
    encoder.encode(picture, true);
    expect(encoder.encode(picture, false).length).toBeLessThan(12);
  });
});

describe('the bit writer', () => {
  test('writes Exp-Golomb numbers, the stop bit and emulation prevention bytes', () => {
    const out = new BitWriter();
    for (const value of [0, 1, 2, 7]) out.ue(value);
    for (const value of [0, 1, -1, 3]) out.se(value);
    expect(exponentialGolomb(out.toNalUnit(0x67).subarray(5), 0, 8)).toEqual([0, 1, 2, 7, 0, 1, 2, 5]);
    const zeros = new BitWriter();
    for (let count = 0; count < 5; count++) zeros.bits(0, 8);
    expect([...zeros.toNalUnit(0x41)]).toEqual([0, 0, 0, 1, 0x41, 0, 0, 3, 0, 0, 3, 0, 0x80]);
  });
});

test('the silent sound is one whole ADTS frame of 16 kHz mono AAC (B11)', () => {
  const [sync, syncAndId, profileRate, channels, length, lengthEnd] = SILENT_AAC_FRAME;
  expect([sync, syncAndId]).toEqual([0xff, 0xf1]);
  expect((profileRate! >> 2) & 15).toBe(8);
  expect(((profileRate! & 1) << 2) | (channels! >> 6)).toBe(1);
  expect(((channels! & 3) << 11) | (length! << 3) | (lengthEnd! >> 5)).toBe(SILENT_AAC_FRAME.length);
});
