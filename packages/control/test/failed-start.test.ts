import { SeededRandom, SystemClock } from '@towpath/core';
import { expect, test, vi } from 'vitest';
import { startControlServer } from '../src/http/start-control-server.ts';
import { MemoryStore } from '../src/store/memory-store.ts';

test('a control server whose store fails at the start leaves no timer behind, so that the process can end', async () => {
  const waiting = new Set<unknown>();
  const clock = new SystemClock({
    now: () => 0,
    set: (callback) => {
      waiting.add(callback);
      return callback;
    },
    clear: (handle) => void waiting.delete(handle),
  });
  const store = new MemoryStore({ clock });
  vi.spyOn(store, 'listRecords').mockImplementation(async (kind) => {
    if (kind === 'relay') throw new Error('damaged');
    return [];
  });
  const components = { store, clock, random: new SeededRandom(1) };
  await expect(startControlServer(components, { port: 0 })).rejects.toThrow('damaged');
  expect(waiting.size).toBe(0);
});
