import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodeAvFrame } from '../src/artemis/av.ts';
import { encodeRequestText, encodeResponseText } from '../src/artemis/cipher.ts';
import { encodeEvent } from '../src/artemis/event.ts';
import { encodeFrame, GREETING, MessageType } from '../src/artemis/frame.ts';
import { encodeFileRecord, encodeThumbnailRecord } from '../src/artemis/record.ts';
import { ConversationDecoder } from '../src/decode/conversation-decoder.ts';
import { CLIENT, decode, drw, drwAck, drws, packet, rx, tx } from './decode-samples.ts';

/** Cases per property; a long run sets it higher. */
const RUNS = Number(process.env.TOWPATH_FUZZ_RUNS ?? 200);
const TIMEOUT_MS = 5000 + RUNS * 20;

function sha256(data: Uint8Array): string {
  return createHash('sha256').update(data).digest('hex');
}

function response(seq: number, json: object): Uint8Array {
  return encodeFrame(MessageType.response, seq, encodeResponseText(JSON.stringify(json)));
}

function request(seq: number, json: object): Uint8Array {
  return encodeFrame(MessageType.request, seq, encodeRequestText(JSON.stringify(json)));
}

const JPEG = Uint8Array.from({ length: 3000 }, (_, at) => [0xff, 0xd8][at] ?? [0xff, 0xd9][at - 2998] ?? at % 251);
const ITEM = { deviceId: 'AA:BB', dirNum: 100, mediaNum: 7, mediaId: 99, data: JPEG };

describe('messages', () => {
  test('requests, responses, events and the greeting are read in the order of their packets (B12)', () => {
    const { messages, summary } = decode([
      ...rx(drw(0, 0, GREETING), drw(0, 0, GREETING)),
      ...tx(drw(0, 0, request(1, { cmdId: 0, usrName: 'me' }))),
      ...rx(drw(0, 1, response(1, { cmdId: 0, result: 0, token: 5 }))),
      ...rx(drw(6, 0, encodeFrame(MessageType.event, 1, encodeEvent({ evtId: 4 }), 0x77))),
    ]);
    expect(messages.map(({ kind, record, cmdId, pad_byte7 }) => [kind, record, cmdId, pad_byte7])).toEqual([
      ['connect_ack', 1, undefined, undefined],
      ['request', 3, 0, 0],
      ['response', 4, 0, 0],
      ['event', 5, undefined, 0x77],
    ]);
    expect(messages[2]!.json).toEqual({ cmdId: 0, result: 0, token: 5 });
    expect(summary.drw['rx/ch0']).toMatchObject({ unique_indices: 2, duplicates: 1 });
  });

  test('a message in several packets is complete with the last of them to come, whatever their order (B12)', () => {
    const text = { cmdId: 768, filler: 'x'.repeat(2800) };
    const [first, second, third, fourth] = drws(0, response(9, text)).map((data) => ({ dir: 'rx' as const, data }));
    const { messages, summary } = decode([fourth!, second!, first!, second!, third!]);
    expect(messages).toEqual([expect.objectContaining({ index: 0, last_index: 3, record: 5, json: text })]);
    expect(summary).toMatchObject({ incomplete: [], orphan_fragments: [] });
  });

  test('a request that does not decode, a frame of unknown type and text that is not JSON are told as they are', () => {
    const { messages } = decode(
      tx(
        drw(0, 0, encodeFrame(MessageType.request, 1, Buffer.from('24681357'))),
        drw(0, 1, encodeFrame(MessageType.request, 2, encodeRequestText('no JSON'))),
        drw(0, 2, encodeFrame(77, 3, new Uint8Array(5))),
        drw(6, 0, encodeFrame(MessageType.event, 4, Buffer.from('{'))),
        drw(1, 0, encodeFrame(MessageType.liveAv, 5, new Uint8Array(20))),
        drw(4, 0, encodeFrame(MessageType.thumbnail, 6, new Uint8Array(20))),
      ),
    );
    expect(messages.map(({ kind, decode_error }) => [kind, decode_error])).toEqual([
      ['request', true],
      ['request', true],
      ['unknown', undefined],
      ['event', true],
      ['av', true],
      ['thumbnail', true],
    ]);
  });

  test('video is deciphered and its end checked (B12)', () => {
    const video = Uint8Array.from({ length: 5000 }, (_, at) => at % 253);
    const header = {
      frameNumber: 7,
      timestamp: 25_000_000,
      keyFrame: true,
      width: 1280,
      height: 720,
      audioType: 0,
      mark: 0,
      sessionNo: 0,
      videoType: 0,
    };
    const body = encodeAvFrame({ ...header, video, audio: new Uint8Array(0) }, new Uint8Array(168));
    const damaged = Uint8Array.from(body);
    damaged[108 + 4999]! ^= 1;
    const cut = body.slice(0, 400);
    const frames = [body, damaged, cut].map((bytes, seq) => encodeFrame(MessageType.liveAv, seq, bytes));
    const { messages, decoded, summary } = decode(rx(...drws(1, Buffer.concat(frames))));
    expect(messages.map(({ av }) => [av?.complete, av?.check_ok, av?.trailing])).toEqual([
      [true, true, 168],
      [true, false, 168],
      [false, false, 0],
    ]);
    expect(messages[0]!.av).toMatchObject({ ts_us: 25_000_000, key: 1, decrypted_sha256: sha256(video) });
    expect(Buffer.compare(decoded[0]!.av!.video, video)).toBe(0);
    expect(summary.binary_summary.av_frames_complete).toBe(2);
  });

  test('pictures are found, whole and with their ends (B12)', () => {
    const thumbnail = encodeFrame(MessageType.thumbnail, 1, encodeThumbnailRecord(ITEM));
    const file = encodeFrame(MessageType.file, 6, encodeFileRecord(ITEM));
    const lost = drws(4, thumbnail, 1024, 3).slice(-1);
    const { messages, decoded, summary } = decode(rx(...drws(4, thumbnail), ...drws(3, file), ...lost));
    expect(messages.map(({ kind, item }) => [kind, item?.dirNum, item?.mediaNum, item?.data_sha256])).toEqual([
      ['thumbnail', 100, 7, sha256(JPEG)],
      ['file', 100, 7, sha256(JPEG)],
    ]);
    expect(messages[1]!.item!.check_ok).toBe(true);
    expect(decoded[1]!.item!.data).toHaveLength(3000);
    expect(summary.binary_summary).toMatchObject({
      thumbnail_items_complete: 1,
      file_items_complete: 1,
      jpeg_complete: [{ record: 4 }, { record: 8 }],
      jpeg_tail_fragments: 1,
    });
    expect(summary.orphan_fragments).toEqual([
      expect.objectContaining({ ends_jpeg_eoi: true, zeros: false, record: 9 }),
    ]);
  });
});

describe('what is missing', () => {
  test('a message without its end, and fragments without their beginning, are reported once', () => {
    const parts = drws(0, response(4, { text: 'y'.repeat(2000) }));
    const { messages, summary } = decode(rx(parts[0]!, parts[2]!, parts[2]!, drw(0, 4, response(5, { cmdId: 1 }))));
    expect(messages.map(({ seq }) => seq)).toEqual([5]);
    expect(summary.incomplete).toEqual([expect.objectContaining({ index: 0, seq: 4, have: 1004, record: 1 })]);
    expect(summary.orphan_fragments.map(({ index, record }) => [index, record])).toEqual([[2, 2]]);
  });

  test('a response whose head is missing is read from the second block on (B12)', () => {
    const text = JSON.stringify({
      list: Array.from({ length: 100 }, (_, id) => ({ id, name: `item ${id}` })),
      end: true,
    });
    const parts = drws(0, encodeFrame(MessageType.response, 4, encodeResponseText(text)), 1024, 11);
    const { summary } = decode(rx(...parts.slice(2)));
    expect(summary.partial_plaintext).toHaveLength(1);
    const { plaintext_tail, ...where } = summary.partial_plaintext![0]!;
    expect(where).toEqual({ record: parts.length - 2, channel: 0, index: 13, full_fragments_before: 1 });
    expect(text.endsWith(plaintext_tail)).toBe(true);
    expect(text.length - plaintext_tail.length).toBeLessThan(1600);
  });

  test('bytes around a frame belong to no message; their packet is listed once', () => {
    const data = Buffer.concat([Buffer.from([0]), request(1, { cmdId: 525 }), Buffer.from([0])]);
    const { messages, summary } = decode(tx(drw(0, 0, data), drw(0, 1, data)));
    expect(messages).toHaveLength(2);
    expect(summary.orphan_fragments.map(({ index, len }) => [index, len])).toEqual([
      [0, data.length],
      [1, data.length],
    ]);
  });

  test('truncated packets are counted and not put together', () => {
    const whole = packet(tx(drw(0, 0, request(1, { cmdId: 0 })))[0]!, 1);
    const { summary, messages } = decodeTruncated({ ...whole, data: whole.data.subarray(0, 40), truncated: 200 });
    expect(messages).toEqual([]);
    expect(summary).toMatchObject({ records: 1, truncated_records: 1, packet_types: { tx: { '0xd0': 1 } }, drw: {} });
  });

  function decodeTruncated(one: ReturnType<typeof packet>) {
    const decoder = new ConversationDecoder({ onMessage: () => {} });
    decoder.push(one);
    return { summary: decoder.finish(), messages: [] };
  }

  test('data and acknowledgements whose fields contradict their length are counted as malformed', () => {
    const { summary } = decode(
      tx(
        Uint8Array.from([0xf1, 0xd1, 0, 6, 0xd1, 0, 0, 0x53, 0, 0x53]),
        Uint8Array.from([0xf1, 0xd1, 0, 6, 0xd1, 0, 0, 0x53, 0, 0x53]),
        Uint8Array.from([0xf1, 0xd1, 0, 6, 0xd1, 0, 0, 0, 0, 0]),
        Uint8Array.from([0xf1, 0xd0, 0, 6, 0x00, 0, 0, 0, 0, 0]),
        drwAck(4, 7, 9, 9),
      ),
    );
    expect(summary.drw_ack).toEqual({ 'tx/ch4': { unique: 2, min: 7, max: 9 }, 'tx/malformed': { distinct: 2 } });
    expect(summary.drw).toEqual({ 'tx/malformed': { distinct: 1 } });
  });

  test('packets that are no PPPP are counted and otherwise ignored', () => {
    const { summary } = decode(tx(Buffer.from('hello'), new Uint8Array(0), Uint8Array.from([0xf1])));
    expect(summary.packet_types.tx).toEqual({ other: 3 });
  });
});

describe('indices and connections', () => {
  test('indices go on past 65,535 (B12)', () => {
    const beats = [65_534, 65_535, 0, 1].map((index, at) => drw(0, index, request(at, { cmdId: 525 })));
    const { messages, summary } = decode(tx(...beats, beats[1]!));
    expect(messages.map(({ index }) => index)).toEqual([65_534, 65_535, 0, 1]);
    expect(summary.drw['tx/ch0']).toMatchObject({ unique_indices: 4, missing: 0, duplicates: 1, last: 65_537 });
  });

  test('each client port is a conversation of its own (B12)', () => {
    const beat = drw(0, 1, request(1, { cmdId: 525 }));
    const ports = [50_000, 50_001].map((port) => ({ address: CLIENT.address, port }));
    const sent = ports.flatMap((client) => [
      { dir: 'tx' as const, data: beat, client },
      { dir: 'tx' as const, data: beat, client },
      { dir: 'rx' as const, data: drwAck(0, 1), client },
    ]);
    const { messages, summary } = decode(sent);
    expect(messages.map(({ lport }) => lport)).toEqual([50_000, 50_001]);
    expect(Object.keys(summary.drw)).toEqual(['tx/ch0/lport50000', 'tx/ch0/lport50001']);
    expect(Object.keys(summary.drw_ack)).toEqual(['rx/ch0/lport50000', 'rx/ch0/lport50001']);
  });

  test('a port that is used again after a handshake begins another session (B6, B12)', () => {
    const login = (time: number): Uint8Array => drw(0, 0, request(1, { cmdId: 0, utcTime: time }));
    const punch = Uint8Array.from([0xf1, 0x41, 0, 20, ...new Uint8Array(20)]);
    const again = decode(tx(login(1), punch, login(2), login(2)));
    expect(again.messages.map(({ json }) => json?.utcTime)).toEqual([1, 2]);
    expect(Object.keys(again.summary.drw)).toEqual(['tx/ch0/lport50000', 'tx/ch0/lport50000#2']);
    expect(again.decoded.map(({ connection }) => connection)).toEqual([0, 1]);
    const without = decode(tx(login(1), login(2)));
    expect(without.messages).toHaveLength(1);
  });
});

describe('any order of arrival', () => {
  const frames = fc.array(fc.integer({ min: 0, max: 3000 }), { minLength: 1, maxLength: 12 });

  test(
    'without loss every frame is found once, and nothing is left over (B12)',
    () => {
      fc.assert(
        fc.property(frames, fc.integer({ min: 1, max: 700 }), fc.infiniteStream(fc.nat()), (sizes, size, order) => {
          const stream = Buffer.concat(
            sizes.map((length, seq) => encodeFrame(77, seq, new Uint8Array(length).fill(seq))),
          );
          const shuffled = drws(3, stream, size)
            .map((data) => ({ data, key: order.next().value % 8 }))
            .map(({ data, key }, at) => ({ data, key: at + key * (key > 5 ? 9 : 1) }))
            .sort((a, b) => a.key - b.key)
            .map(({ data }) => data);
          const { messages, summary } = decode(rx(...shuffled));
          expect(messages.map(({ seq }) => seq).sort((a, b) => a! - b!)).toEqual(sizes.map((_, seq) => seq));
          expect(messages.map(({ record }) => record)).toEqual(
            messages.map(({ record }) => record).sort((a, b) => a - b),
          );
          expect(summary).toMatchObject({ incomplete: [], orphan_fragments: [] });
        }),
        { numRuns: RUNS },
      );
    },
    TIMEOUT_MS,
  );

  test(
    'with loss, what is found does not depend on the order, and every byte is accounted for (B12)',
    () => {
      fc.assert(
        fc.property(frames, fc.integer({ min: 1, max: 900 }), fc.infiniteStream(fc.nat()), (sizes, size, choice) => {
          const stream = Buffer.concat(
            sizes.map((length, seq) => encodeFrame(77, seq, new Uint8Array(length).fill(seq))),
          );
          const left = drws(3, stream, size).filter(() => choice.next().value % 5 > 0);
          const shuffled = left.toSorted(() => (choice.next().value % 2) - 0.5);
          const inOrder = decode(rx(...left));
          const outOfOrder = decode(rx(...shuffled));
          const seqs = ({ messages }: typeof inOrder) => messages.map(({ seq }) => seq).sort((a, b) => a! - b!);
          const orphans = ({ summary }: typeof inOrder) =>
            summary.orphan_fragments.map(({ index }) => index).sort((a, b) => a - b);
          const incomplete = ({ summary }: typeof inOrder) =>
            summary.incomplete.map(({ seq }) => seq).sort((a, b) => a - b);
          expect(seqs(outOfOrder)).toEqual(seqs(inOrder));
          expect(orphans(outOfOrder)).toEqual(orphans(inOrder));
          expect(incomplete(outOfOrder)).toEqual(incomplete(inOrder));
        }),
        { numRuns: RUNS },
      );
    },
    TIMEOUT_MS,
  );
});
