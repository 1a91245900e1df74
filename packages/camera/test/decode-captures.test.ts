import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type CapturedPacket, readCapture } from '@towpath/net/capture';
import { describe, expect, test } from 'vitest';
import { captureJsonLines, conversationDocument } from '../src/decode/decode-capture.ts';
import { asClientLog, asHookLog, asTcpdump, asWiresharkText } from './decode-texts.ts';

const captures = join(import.meta.dirname, '../../../../shared/captures');
const names = existsSync(captures)
  ? readdirSync(captures).flatMap((file) => (file.endsWith('.expected.json') ? [file.slice(0, -14)] : []))
  : [];

function capture(name: string): Buffer {
  return readFileSync(join(captures, `${name}.jsonl`));
}

function expected(name: string): Record<string, unknown> {
  const { source: _source, ...document } = JSON.parse(readFileSync(join(captures, `${name}.expected.json`), 'utf8'));
  return document;
}

/** The form in which each kind of recording was made. */
const ORIGINAL_FORMS: readonly [RegExp, (packets: readonly CapturedPacket[]) => string][] = [
  [/^(ble_udp|udp_traffic|frida)/, asHookLog],
  [/^tcpdump/, asTcpdump],
  [/^(export|mitm)/, asWiresharkText],
  [/^client_debug/, asClientLog],
];

describe.skipIf(names.length === 0)('recordings of the camera (skipped where ../shared/captures is absent)', () => {
  test.each(names)('%s decodes to its expected file, in its order of keys and messages (B12)', (name) => {
    // Compared as text, so that the order of the keys counts as well.
    expect(JSON.stringify(conversationDocument(capture(name)), null, 1)).toBe(JSON.stringify(expected(name), null, 1));
  });

  test.each(names)('%s prints one line per message and then the summary (B12)', (name) => {
    const { messages, ...summary } = expected(name);
    const lines = [...captureJsonLines(capture(name))].map((line) => JSON.parse(line));
    expect(lines.slice(0, -1)).toEqual(messages);
    expect(lines.at(-1)).toEqual({ summary });
  });

  test.each(names)('%s in the form in which it was recorded decodes to the same file (B12)', (name) => {
    const [, write] = ORIGINAL_FORMS.find(([pattern]) => pattern.test(name)) ?? [];
    const packets: CapturedPacket[] = [];
    readCapture(capture(name), { onPacket: (packet) => packets.push(packet) });
    expect(conversationDocument(Buffer.from(write!(packets)))).toEqual(expected(name));
  });
});
