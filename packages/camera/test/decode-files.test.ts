import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type CapturedPacket, type CaptureReport, readCapture } from '@towpath/net/capture';
import { StreamCipher } from '@towpath/pppp';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodeAvFrame } from '../src/artemis/av.ts';
import { encodeBleMessage, encodeWakeValue } from '../src/artemis/ble-message.ts';
import { encodeRequestText, encodeResponseText } from '../src/artemis/cipher.ts';
import { encodeFrame, GREETING, MessageType } from '../src/artemis/frame.ts';
import { encodeFileRecord, encodeThumbnailRecord } from '../src/artemis/record.ts';
import { ConversationDecoder } from '../src/decode/conversation-decoder.ts';
import { captureJsonLines, conversationDocument, decodeCapture } from '../src/decode/decode-capture.ts';
import { MediaExtractor } from '../src/decode/media-extractor.ts';
import { summaryLines, transcriptLine } from '../src/decode/transcript.ts';
import { asPcap, decode, drw, drwAck, drws, rx, type Sent, tx } from './decode-samples.ts';

/** Damaged files per property; a long run sets it higher. */
const RUNS = Number(process.env.TOWPATH_FUZZ_RUNS ?? 200);

const captures = join(import.meta.dirname, '../../../../shared/captures');
const names = existsSync(captures)
  ? readdirSync(captures).flatMap((file) => (file.endsWith('.expected.json') ? [file.slice(0, -14)] : []))
  : [];

const JPEG = Uint8Array.from([0xff, 0xd8, ...new Uint8Array(1500).fill(7), 0xff, 0xd9]);
const ITEM = { deviceId: 'AA:BB', dirNum: 100, mediaNum: 7, mediaId: 99, data: JPEG };
const AV = {
  frameNumber: 1,
  timestamp: 5,
  keyFrame: true,
  width: 1280,
  height: 720,
  audioType: 20,
  mark: 0,
  sessionNo: 0,
  videoType: 0,
};

function request(seq: number, json: object): Uint8Array {
  return encodeFrame(MessageType.request, seq, encodeRequestText(JSON.stringify(json)));
}

/** A short session with everything in it. */
function session(): Sent[] {
  const search = Uint8Array.from([0xf1, 0x30, 0, 0]);
  const ready = Uint8Array.from([0xf1, 0x42, 0, 20, ...new Uint8Array(20)]);
  const video = encodeAvFrame({ ...AV, video: new Uint8Array(500).fill(3), audio: new Uint8Array(40).fill(4) });
  return [
    ...tx(search),
    ...rx(ready, drw(0, 0, GREETING)),
    ...tx(drwAck(0, 0), drw(0, 0, request(1, { cmdId: 0, usrName: 'me' }))),
    ...rx(drw(0, 1, encodeFrame(MessageType.response, 1, encodeResponseText('{"cmdId":0,"result":0}')))),
    ...rx(drwAck(0, 0), ...drws(4, encodeFrame(MessageType.thumbnail, 1, encodeThumbnailRecord(ITEM)))),
    ...rx(...drws(3, encodeFrame(MessageType.file, 6, encodeFileRecord(ITEM)))),
    ...rx(...drws(1, Buffer.concat([1, 2].map((seq) => encodeFrame(MessageType.liveAv, seq, video))))),
    ...tx(Uint8Array.from([0xf1, 0xf0, 0, 0])),
  ];
}

const withoutPort = ({ lport: _lport, ...message }: Record<string, unknown>): unknown => message;

describe('files that do not say who sent what', () => {
  test('a pcap gives the same conversation as packets with directions (B12)', () => {
    const known = decode(session());
    const found = conversationDocument(asPcap(session()));
    expect(found.messages).toEqual(known.messages);
    expect(found.drw).toEqual(known.summary.drw);
    expect(found.packet_types).toEqual(known.summary.packet_types);
  });

  test('a recording that begins in the middle is told by the frames in it', () => {
    const middle = session().slice(4);
    const { messages } = conversationDocument(asPcap(middle));
    expect(messages.map(({ dir, kind }) => [dir, kind])).toEqual(
      decode(middle).messages.map(({ dir, kind }) => [dir, kind]),
    );
  });

  test('foreign datagrams are passed over and counted', () => {
    const dns = {
      dir: 'tx' as const,
      data: Buffer.from('\x00\x01\x01\x00example'),
      client: { address: '192.0.2.9', port: 53 },
    };
    const sent = session();
    const { report, summary } = decodeCapture(asPcap([dns, ...sent, dns]), () => {});
    expect(report.foreign).toBe(2);
    expect(summary.records).toBe(sent.length);
  });

  test('datagrams under a known network key are deciphered (B12)', () => {
    const cipher = new StreamCipher('camera');
    const sealed = session().map((sent) => ({ ...sent, data: cipher.encipher(sent.data) }));
    expect(conversationDocument(asPcap(sealed))).toEqual(conversationDocument(asPcap(session())));
  });

  test.skipIf(names.length === 0).each(names)('%s as a pcap decodes to the same messages (B12)', (name) => {
    const expected = JSON.parse(readFileSync(join(captures, `${name}.expected.json`), 'utf8'));
    const sent: Sent[] = [];
    const records: number[] = [];
    const onPacket = (packet: CapturedPacket): void => {
      if (packet.proto !== 'udp' || packet.truncated !== undefined) return;
      const { port } = packet.direction === 'tx' ? packet.source : packet.destination;
      sent.push({ dir: packet.direction!, data: packet.data, client: { address: '192.0.2.20', port: port ?? 50_000 } });
      records.push(packet.record);
    };
    readCapture(readFileSync(join(captures, `${name}.jsonl`)), { onPacket });
    const { messages, orphan_fragments, partial_plaintext } = conversationDocument(asPcap(sent));
    const numbered = <T extends { record: number }>(list: T[] = []): T[] =>
      list.map((entry) => ({ ...entry, record: records[entry.record - 1]! }));
    expect(numbered(messages).map((message) => withoutPort({ ...message }))).toEqual(
      expected.messages.map(withoutPort),
    );
    expect(numbered(orphan_fragments)).toEqual(expected.orphan_fragments);
    expect(numbered(partial_plaintext)).toEqual(expected.partial_plaintext ?? []);
  });
});

test('what was said over Bluetooth LE is put together from a log (B12)', () => {
  const json = '{"ret":0,"ssid":"EXAMPLE","bssid":"02:00:5E:00:00:01","pwd":"12345678"}';
  const answer = Buffer.from(encodeBleMessage({ id: 1, payload: Buffer.from(json) }));
  const spaced = (bytes: Uint8Array): string =>
    Buffer.from(bytes)
      .toString('hex')
      .replace(/..(?!$)/g, '$& ');
  const value = (mark: string, characteristic: number, bytes: Uint8Array): string =>
    `[BLE ${mark}] UUID: 0000000${characteristic}-0000-1000-8000-00805f9b34fb\n    Data: ${spaced(bytes)}\n`;
  const notifications = Array.from({ length: Math.ceil(answer.length / 20) }, (_, at) =>
    value('RX', 3, answer.subarray(at * 20, at * 20 + 20)),
  );
  const log = ['Frida\n', value('RX', 2, encodeWakeValue()), value('TX', 2, encodeWakeValue()), ...notifications].join(
    '\n',
  );
  const { ble, packet_types, records } = conversationDocument(Buffer.from(log));
  expect(ble).toEqual({
    write: [Buffer.from(encodeWakeValue()).toString('hex')],
    notifications: notifications.length,
    cmd: 1,
    length: json.length,
    json: JSON.parse(json),
  });
  expect(records).toBe(1 + notifications.length);
  expect(packet_types).toEqual({ tx: { ble: 1 }, rx: { ble: notifications.length } });
});

test('pushing packet by packet gives what decoding the whole file gives (B12)', () => {
  for (const file of [asPcap(session()), ...names.map((name) => readFileSync(join(captures, `${name}.jsonl`)))]) {
    const whole = [...captureJsonLines(file)];
    const lines: string[] = [];
    const decoder = new ConversationDecoder({ onMessage: ({ json }) => lines.push(JSON.stringify(json)) });
    readCapture(file, { onPacket: (packet) => decoder.push(packet) });
    const summary = decoder.finish();
    expect(decoder.finish()).toBe(summary);
    expect([...lines, JSON.stringify({ summary })]).toEqual(whole);
  }
});

test('after the last line the generator says what the file was', () => {
  const lines = captureJsonLines(asPcap(session()));
  let step = lines.next();
  while (step.done !== true) step = lines.next();
  expect(step.value satisfies CaptureReport).toMatchObject({ format: 'pcap', problems: [] });
});

test('the transcript has a line for each message, and lines for what is left over (B12)', () => {
  const { decoded, summary } = decode(session());
  expect(decoded.map(transcriptLine)).toEqual([
    '    0.030 ← ch0 connect_ack ACK port 50000  #3',
    '    0.050 → ch0 request     seq 1 {"cmdId":0,"usrName":"me"} port 50000  #5',
    '    0.060 ← ch0 response    seq 1 {"cmdId":0,"result":0} port 50000  #6',
    '    0.090 ← ch4 thumbnail   seq 1 100/7 JPEG 1504 bytes port 50000  #9',
    '    0.110 ← ch3 file        seq 6 100/7 JPEG 1504 bytes port 50000  #11',
    '    0.120 ← ch1 av          seq 1 1280×720 key frame video 500 bytes audio 40 bytes port 50000  #12',
    '    0.130 ← ch1 av          seq 2 1280×720 key frame video 500 bytes audio 40 bytes port 50000  #13',
  ]);
  expect(summaryLines(summary)).toContain(
    'complete: 2 video or audio frames, 1 thumbnail, 1 file, of them 2 JPEG pictures',
  );
  const hostile = decode(rx(drw(6, 0, encodeFrame(MessageType.event, 1, Buffer.from('{"a":\n"\u009b2J"}')))));
  expect(transcriptLine(hostile.decoded[0]!)).toContain('{"a":\\x0a"\\x9b2J"}');
});

test('pictures and streams are extracted under plain names (B12)', () => {
  const files = new Map<string, Buffer>();
  const extractor = new MediaExtractor({
    create(name, data) {
      expect(files.has(name)).toBe(false);
      files.set(name, Buffer.from(data));
    },
    append: (name, data) => files.set(name, Buffer.concat([files.get(name)!, data])),
  });
  const again = drws(4, encodeFrame(MessageType.thumbnail, 2, encodeThumbnailRecord(ITEM)), 1024, 2);
  const mp4 = Buffer.concat([Buffer.from([0, 0, 0, 24]), Buffer.from('ftypisom'), new Uint8Array(12)]);
  const video = encodeFrame(MessageType.file, 7, encodeFileRecord({ ...ITEM, mediaNum: 12_345, data: mp4 }));
  decodeCapture(asPcap([...session(), ...rx(...again, drw(3, 2, video))]), (message) => extractor.take(message));
  expect([...files].map(([name, data]) => [name, data.length])).toEqual([
    ['thumbnail-100-0007.jpg', 1504],
    ['file-100-0007.jpg', 1504],
    ['live-1.h264', 1000],
    ['live-1.aac', 80],
    ['thumbnail-100-0007-2.jpg', 1504],
    ['file-100-12345.mp4', 24],
  ]);
  expect(extractor.files).toEqual([...files].map(([name, { length }]) => ({ name, bytes: length })));
  expect(Buffer.compare(files.get('thumbnail-100-0007.jpg')!, JPEG)).toBe(0);
  expect(files.get('live-1.h264')!.every((byte) => byte === 3)).toBe(true);
});

test('damaged recordings are decoded as far as they go, and never throw', () => {
  const damage = fc.array(fc.record({ packet: fc.nat(), at: fc.nat({ max: 60 }), byte: fc.nat({ max: 255 }) }), {
    minLength: 1,
    maxLength: 10,
  });
  fc.assert(
    fc.property(damage, fc.nat({ max: 3 }), (changes, cut) => {
      const sent = session().map((one) => ({ ...one, data: Buffer.from(one.data) }));
      for (const { packet, at, byte } of changes) {
        const { data } = sent[packet % sent.length]!;
        data[at % data.length] = byte;
      }
      const shortened = sent.map((one) => ({ ...one, data: one.data.subarray(0, Math.max(1, one.data.length - cut)) }));
      const { messages, summary } = decode(shortened);
      expect(summary.records).toBe(sent.length);
      expect(messages.every(({ record }) => record >= 1 && record <= sent.length)).toBe(true);
      expect(JSON.parse(JSON.stringify(summary))).toEqual(summary);
    }),
    { numRuns: RUNS },
  );
});

test('bytes of a recording may be cut and changed anywhere', () => {
  const file = asPcap(session());
  fc.assert(
    fc.property(fc.nat({ max: file.length }), fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 }))), (end, changes) => {
      const bytes = Buffer.from(file.subarray(0, end));
      for (const [at, byte] of changes) if (bytes.length > 0) bytes[at % bytes.length] = byte;
      expect([...captureJsonLines(bytes)].at(-1)).toContain('"summary"');
    }),
    { numRuns: RUNS },
  );
});
