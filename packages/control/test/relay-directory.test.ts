import { createLog, type LogRecord } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import { expect, test } from 'vitest';
import { RelayDirectory } from '../src/server/relay-directory.ts';
import { MemoryStore } from '../src/store/memory-store.ts';

test('malformed relay records are told once for each reading of the store, and the others are used', async () => {
  const clock = new VirtualClock();
  const store = new MemoryStore({ clock });
  const records: LogRecord[] = [];
  const log = createLog((record) => records.push(record));
  const relays = new RelayDirectory({ store, clock, log }, { fixed: [], onChange: () => {} });
  const until = clock.wallTime() + 60_000;
  const texts = ['{', 'null', '{"urls":{}}', '['.repeat(10_000)];
  for (const [at, text] of texts.entries()) {
    await store.putRecord('relay', `r${at}`, new TextEncoder().encode(text), until);
  }
  await relays.report({ id: 'a', urls: ['turn:198.51.100.7:3478'], region: '', load: 0, healthy: true });
  expect(relays.current.map(({ id }) => id)).toEqual(['a']);
  expect(records.map(({ level, fields }) => [level, fields.records])).toEqual([['warn', texts.length]]);
});
