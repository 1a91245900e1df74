import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, expect, test } from 'vitest';
import { MemoryStore } from '../src/store/memory-store.ts';
import { SqliteStore } from '../src/store/sqlite-store.ts';
import { storeSuite, wallClock } from './store-suite.ts';

storeSuite('memory', {
  open: async (clock) => new MemoryStore({ clock: wallClock(clock) }),
  // Servers of one process share the object itself.
  openSecond: async (store) => store,
});
storeSuite('SQLite', { open: async (clock) => new SqliteStore({ clock: wallClock(clock) }, { path: ':memory:' }) });

async function inFolder(body: (folder: string) => Promise<void>) {
  const folder = await mkdtemp(join(tmpdir(), 'towpath-store-'));
  try {
    await body(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

const clock = wallClock({ nowMs: Date.UTC(2026, 10, 1) });
const PARTY = 'a'.repeat(32);

describe('SQLite store on disk', () => {
  test('has everything that was acknowledged after it was opened again, in a file for the owner only (C12)', () =>
    inFolder(async (folder) => {
      const path = join(folder, 'control.db');
      {
        await using store = new SqliteStore({ clock }, { path });
        await Promise.all(Array.from({ length: 100 }, (_, at) => store.append(PARTY, at, new Uint8Array([at]))));
        await store.putRecord('relay', 'r', new Uint8Array([1]), clock.wallTime() + 1_000);
        expect((await stat(path)).mode & 0o777).toBe(0o600);
      }
      await using store = new SqliteStore({ clock }, { path });
      expect(await store.readLog(PARTY, 0, 1_000)).toHaveLength(100);
      expect(await store.getRecord('relay', 'r')).toEqual(new Uint8Array([1]));
    }));

  test('remembers used nonces over a restart, so that no request is replayed after one (C12)', () =>
    inFolder(async (folder) => {
      const path = join(folder, 'control.db');
      const until = clock.wallTime() + 60_000;
      for (const expected of [true, false, false]) {
        await using store = new SqliteStore({ clock }, { path });
        expect(await store.createRecord('nonce', 'once', new Uint8Array([1]), until)).toBe(expected);
        expect(await store.createRecord('nonce', 'once', new Uint8Array([2]), until)).toBe(false);
      }
    }));

  test('backs itself up while in use; the copy opens as a store (C12)', () =>
    inFolder(async (folder) => {
      await using store = new SqliteStore({ clock }, { path: join(folder, 'control.db') });
      await store.append(PARTY, 0, new Uint8Array([1]));
      await store.backup(join(folder, 'copy.db'));
      await store.append(PARTY, 1, new Uint8Array([2]));
      await using copy = new SqliteStore({ clock }, { path: join(folder, 'copy.db') });
      expect(await copy.readLog(PARTY, 0, 10)).toEqual([new Uint8Array([1])]);
      await expect(store.backup(join(folder, 'no', 'such', 'folder.db'))).rejects.toMatchObject({
        code: 'store-failed',
      });
    }));

  test('says so when the file is no database, or of a newer version', () =>
    inFolder(async (folder) => {
      const garbage = join(folder, 'garbage.db');
      await writeFile(garbage, 'x'.repeat(5_000));
      expect(() => new SqliteStore({ clock }, { path: garbage })).toThrow(/Could not open the database/);
      const newer = join(folder, 'newer.db');
      const database = new DatabaseSync(newer);
      database.exec('PRAGMA user_version = 99');
      database.close();
      expect(() => new SqliteStore({ clock }, { path: newer })).toThrow(/use a newer version of Towpath/);
    }));

  test('forgets expired records for good and refuses to write once closed', () =>
    inFolder(async (folder) => {
      const time = { nowMs: 0 };
      const path = join(folder, 'control.db');
      const store = new SqliteStore({ clock: wallClock(time) }, { path });
      await Promise.all(
        Array.from({ length: 1_500 }, (_, at) => store.createRecord('nonce', `n${at}`, new Uint8Array(1), 1_000)),
      );
      time.nowMs = 2_000;
      await Promise.all(
        Array.from({ length: 1_500 }, (_, at) => store.createRecord('nonce', `m${at}`, new Uint8Array(1), 9_000)),
      );
      await store.close();
      await expect(store.append(PARTY, 0, new Uint8Array(1))).rejects.toMatchObject({ code: 'closed' });
      const database = new DatabaseSync(path);
      expect(database.prepare('SELECT count(*) AS n FROM records').get()?.n).toBe(1_500);
      database.close();
    }));
});
