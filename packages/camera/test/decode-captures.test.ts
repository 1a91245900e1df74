import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { captureJsonLines, conversationDocument } from '../src/decode/decode-capture.ts';

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
});
