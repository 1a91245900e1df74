import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  encodeFrame,
  FRAME_HEADER_BYTES,
  type Frame,
  FrameStream,
  GREETING,
  MAX_FRAME_BODY_BYTES,
  MessageType,
} from '../src/artemis/frame.ts';

const hex = (text: string) => new Uint8Array(Buffer.from(text.replaceAll(' ', ''), 'hex'));

function collect(chunks: Iterable<Uint8Array>): { frames: Frame[]; skipped: number[]; stream: FrameStream } {
  const frames: Frame[] = [];
  const skipped: number[] = [];
  const stream = new FrameStream({
    onFrame: (frame) => frames.push({ ...frame, body: frame.body.slice() }),
    onSkipped: (bytes) => skipped.push(...bytes),
  });
  for (const chunk of chunks) stream.push(chunk);
  return { frames, skipped, stream };
}

/** Cuts `bytes` at the given places. */
function cut(buffer: Uint8Array, places: readonly number[]): Uint8Array[] {
  const bytes = new Uint8Array(buffer);
  const sorted = [...new Set(places.map((place) => place % (bytes.length + 1)))].sort((a, b) => a - b);
  return [0, ...sorted].map((from, n) => bytes.subarray(from, sorted[n] ?? bytes.length));
}

const anyFrame = fc.record({
  type: fc.constantFrom(...Object.values(MessageType)),
  seq: fc.nat({ max: 0xffffffff }),
  pad: fc.integer({ min: 0, max: 255 }),
  body: fc.uint8Array({ maxLength: 300 }),
});

describe('ARTEMIS frame', () => {
  test('has the header of the documented event vector (B2)', () => {
    const event = hex('415254454d495377 09000000 01000000 0c000000 7b226576744964223a347d00');
    expect(encodeFrame(MessageType.event, 1, Buffer.from('{"evtId":4}\0'), 0x77)).toEqual(event);
    expect(collect([event]).frames).toEqual([
      { type: 9, seq: 1, pad: 0x77, body: new Uint8Array(Buffer.from('{"evtId":4}\0')) },
    ]);
  });

  test('comes out of the stream the same however the stream was cut (B2)', () => {
    fc.assert(
      fc.property(fc.array(anyFrame, { maxLength: 6 }), fc.array(fc.nat(2000)), (sent, places) => {
        const bytes = Buffer.concat(sent.map((f) => encodeFrame(f.type, f.seq, f.body, f.pad)));
        const { frames, skipped, stream } = collect(cut(bytes, places));
        expect(frames).toEqual(sent);
        expect(skipped).toEqual([]);
        expect(stream.pendingBytes).toBe(0);
      }),
    );
  });

  test('comes out of the stream one byte at a time (B2)', () => {
    const bytes = Buffer.concat([encodeFrame(2, 7, new Uint8Array(0)), encodeFrame(3, 7, Buffer.from('x'))]);
    const { frames } = collect(cut(bytes, [...bytes.keys()]));
    expect(frames.map((frame) => [frame.type, frame.body.length])).toEqual([
      [2, 0],
      [3, 1],
    ]);
  });

  test('is found behind bytes that belong to none, which are reported (B2)', () => {
    // No 'I' in the noise, so that no frame can hide in it; every prefix of the magic may.
    const noise = fc
      .array(fc.constantFrom(0x41, 0x52, 0x54, 0x45, 0x4d, 0x53, 0x00, 0x20), { maxLength: 60 })
      .map((bytes) => new Uint8Array(bytes));
    fc.assert(
      fc.property(fc.array(fc.tuple(noise, anyFrame), { maxLength: 5 }), fc.array(fc.nat(3000)), (parts, places) => {
        const bytes = Buffer.concat(parts.flatMap(([n, f]) => [n, encodeFrame(f.type, f.seq, f.body, f.pad)]));
        const { frames, skipped } = collect(cut(bytes, places));
        expect(frames).toEqual(parts.map(([, frame]) => frame));
        expect(skipped).toEqual(parts.flatMap(([n]) => [...n]));
      }),
    );
  });

  test('reports the greeting as bytes that belong to no frame (B2)', () => {
    const { frames, skipped } = collect([Buffer.concat([GREETING, encodeFrame(3, 1, Buffer.from('a'))])]);
    expect(skipped).toEqual([...GREETING]);
    expect(frames).toHaveLength(1);
  });

  test('with a length beyond the limit is passed over, in one chunk and in pieces (B2)', () => {
    const header = encodeFrame(5, 1, new Uint8Array(0));
    new DataView(header.buffer).setUint32(16, MAX_FRAME_BODY_BYTES + 1, true);
    const bytes = Buffer.concat([header, encodeFrame(5, 2, Buffer.from('good'))]);
    for (const chunks of [[bytes], cut(bytes, [...bytes.keys()])]) {
      const { frames, skipped } = collect(chunks);
      expect(frames.map((frame) => frame.seq)).toEqual([2]);
      expect(skipped).toHaveLength(FRAME_HEADER_BYTES);
    }
  });

  test('of the longest accepted length passes through in datagram-sized pieces (B2)', () => {
    const body = new Uint8Array(MAX_FRAME_BODY_BYTES).fill(7);
    const bytes = encodeFrame(MessageType.file, 1, body);
    let received = 0;
    const stream = new FrameStream({ onFrame: (frame) => (received = frame.body.length) });
    for (let at = 0; at < bytes.length; at += 1024) stream.push(bytes.subarray(at, at + 1024));
    expect(received).toBe(MAX_FRAME_BODY_BYTES);
  });

  test('inside one chunk is handed on without a copy', () => {
    const bytes = encodeFrame(2, 1, Buffer.from('view'));
    let body: Uint8Array | undefined;
    new FrameStream({ onFrame: (frame) => (body = frame.body) }).push(bytes);
    expect(body?.buffer).toBe(bytes.buffer);
  });

  test('that is incomplete is forgotten on reset, and the next one is found (B2)', () => {
    const frames: Frame[] = [];
    const stream = new FrameStream({ onFrame: (frame) => frames.push(frame) });
    stream.push(encodeFrame(2, 1, Buffer.from('lost in part')).subarray(0, 25));
    expect(stream.pendingBytes).toBe(25);
    stream.reset();
    stream.push(encodeFrame(2, 2, Buffer.from('whole')));
    expect(frames.map((frame) => frame.seq)).toEqual([2]);
  });

  test('reader never throws on random bytes and loses none of them (B2)', () => {
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      fc.uint8Array({ maxLength: 60 }).map((tail) => Buffer.concat([Buffer.from('ARTEMIS'), tail])),
    );
    fc.assert(
      fc.property(fc.array(bytes, { maxLength: 8 }), (chunks) => {
        const { frames, skipped, stream } = collect(chunks);
        const framed = frames.reduce((sum, frame) => sum + FRAME_HEADER_BYTES + frame.body.length, 0);
        const sent = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
        expect(framed + skipped.length + stream.pendingBytes).toBe(sent);
      }),
      { numRuns: Number(process.env.TOWPATH_FUZZ_RUNS ?? 1000) },
    );
  });
});
