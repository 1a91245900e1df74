import { SystemClock, SystemRandom } from '@towpath/core';
import { expect, test } from 'vitest';
import { ControlServer } from '../src/http/control-server.ts';
import { MemoryStore } from '../src/store/memory-store.ts';
import { SqliteStore } from '../src/store/sqlite-store.ts';
import type { RecordKind } from '../src/store/store.ts';

const clock = new SystemClock();
const random = new SystemRandom();
const relay = { id: 'r1', urls: ['turn:198.51.100.7'], region: '', load: 0, healthy: true };

/** A store that answers about relays when it is told to. */
class SlowStore extends MemoryStore {
  readonly asked = Promise.withResolvers<void>();
  readonly answer = Promise.withResolvers<void>();
  isSlow = false;
  isClosed = false;

  override async listRecords(kind: RecordKind) {
    if (this.isSlow) {
      this.asked.resolve();
      await this.answer.promise;
    }
    if (this.isClosed) throw new Error('statement has been finalized');
    return super.listRecords(kind);
  }
}

test('a server that is closed waits for the report of a relay that is under way, so that its store can be closed (C12)', async () => {
  const lines: string[] = [];
  const log = {
    debug() {},
    info() {},
    warn: (text: string) => lines.push(text),
    error: (text: string) => lines.push(text),
  };
  const store = new SlowStore({ clock });
  const server = await ControlServer.start(
    { store, clock, random, log: { ...log, child: () => log } as never },
    { founding: 'open' },
  );
  store.isSlow = true;
  const reported = server.service.reportOwnRelay(relay);
  await store.asked.promise;
  const closed = server.close().then(() => {
    store.isClosed = true;
  });
  await new Promise((resolve) => setImmediate(resolve));
  expect(store.isClosed).toBe(false);
  store.answer.resolve();
  await Promise.all([reported, closed]);
  // What comes later does not touch the store.
  await server.service.reportOwnRelay(relay);
  expect(server.service.isTurnUserRevoked(`${'a'.repeat(32)}.${'b'.repeat(32)}.${'c'.repeat(32)}`)).toBe(false);
  await new Promise((resolve) => setImmediate(resolve));
  expect(lines).toEqual([]);
});

test('a request that arrives while a server shuts down is told so, in the documented form (C12)', async () => {
  const server = await ControlServer.start({ store: new MemoryStore({ clock }), clock, random }, {});
  const closing = server.close();
  const [answer, ready] = await Promise.all([server.inject('/health'), server.inject('/ready')]);
  expect([answer.statusCode, answer.headers.connection, answer.json()]).toEqual([
    503,
    'close',
    { code: 'closed', message: expect.stringContaining('shutting down'), details: {} },
  ]);
  expect([ready.statusCode, ready.json()]).toEqual([503, { status: 'closing' }]);
  await closing;
});

test('a closed SQLite store says that it is closed', async () => {
  const store = new SqliteStore({ clock }, { path: ':memory:' });
  await store.close();
  const uses = [
    store.listRecords('relay'),
    store.readLog('a'.repeat(32) as never, 0, 1),
    store.getRecord('invite', 'x'),
  ];
  for (const use of uses) await expect(use).rejects.toMatchObject({ code: 'closed' });
});
