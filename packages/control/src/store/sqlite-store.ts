import { chmodSync } from 'node:fs';
import { backup, DatabaseSync, type StatementSync } from 'node:sqlite';
import type { Clock, Timer } from '@towpath/core';
import { ControlError } from '../control-error.ts';
import type { PartyId } from '@towpath/membership';
import { databaseFailure, requireDatabaseFile } from './database-file.ts';
import { LocalBus } from './local-bus.ts';
import { type ControlStore, checkedKey, expiryOf, type RecordKind, type StoredRecord } from './store.ts';

/** Each entry migrates the database from one version (its index) to the next. Append only. */
const MIGRATIONS: readonly string[] = [
  `CREATE TABLE statements (
     party TEXT NOT NULL, sequence INTEGER NOT NULL, statement BLOB NOT NULL,
     PRIMARY KEY (party, sequence)) STRICT, WITHOUT ROWID;
   CREATE TABLE records (
     kind TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, expires_at INTEGER NOT NULL,
     PRIMARY KEY (kind, key)) STRICT, WITHOUT ROWID;
   CREATE INDEX records_by_expiry ON records (expires_at);`,
];

/** Nonces wait this long for another write, ms. */
const NONCES_WAIT_MS = 200;

/** Expired records are deleted once in this many writes; until then they are ignored. */
const SWEEP_EVERY_WRITES = 1_000;

interface Job {
  run(): unknown;
  resolve(value: unknown): void;
  reject(error: Error): void;
}

/**
 * The embedded store: one SQLite file in WAL mode. Writes of one event loop iteration share a transaction, so
 * that a hundred joins need one flush to disk, and each is acknowledged after that flush. Nonces are the
 * exception: they are effective at once, because no other process uses the file, and are written with the next flush.
 */
export class SqliteStore implements ControlStore {
  readonly #clock: Clock;
  readonly #path: string;
  readonly #database: DatabaseSync;
  readonly #bus = new LocalBus();
  readonly #sql: Readonly<
    Record<'length' | 'read' | 'append' | 'create' | 'put' | 'get' | 'list' | 'delete', StatementSync>
  >;
  #jobs: Job[] = [];
  readonly #newNonces = new Map<string, { value: Uint8Array; until: number }>();
  #nonceTimer: Timer | undefined;
  #writes = 0;
  #closed = false;

  /**
   * Opens or creates the database and migrates its tables.
   * @param options.path a file, created with mode 0600, or `:memory:`.
   * @throws ControlError `store-failed` when the file cannot be opened, is damaged, or is of a newer version.
   */
  constructor(components: { clock: Clock }, options: { path: string }) {
    this.#clock = components.clock;
    this.#path = options.path;
    try {
      if (options.path !== ':memory:') requireDatabaseFile(options.path);
      const database = new DatabaseSync(options.path);
      this.#database = database;
      if (options.path !== ':memory:') chmodSync(options.path, 0o600);
      database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 2000;');
      migrate(database);
      const prepare = (sql: string): StatementSync => database.prepare(sql);
      this.#sql = {
        length: prepare('SELECT coalesce(max(sequence) + 1, 0) AS length FROM statements WHERE party = ?'),
        read: prepare('SELECT statement FROM statements WHERE party = ? AND sequence >= ? ORDER BY sequence LIMIT ?'),
        append: prepare('INSERT INTO statements (party, sequence, statement) VALUES (?, ?, ?)'),
        create: prepare(
          `INSERT INTO records (kind, key, value, expires_at) VALUES (?1, ?2, ?3, ?4)
           ON CONFLICT DO UPDATE SET value = ?3, expires_at = ?4 WHERE expires_at <= ?5`,
        ),
        put: prepare('INSERT OR REPLACE INTO records (kind, key, value, expires_at) VALUES (?, ?, ?, ?)'),
        get: prepare('SELECT value FROM records WHERE kind = ? AND key = ? AND expires_at > ?'),
        delete: prepare('DELETE FROM records WHERE kind = ? AND key = ? AND expires_at > ?'),
        list: prepare('SELECT key, value FROM records WHERE kind = ? AND expires_at > ? ORDER BY key'),
      };
    } catch (error) {
      throw databaseFailure(`open the database ${options.path}`, error);
    }
  }

  async readLog(party: PartyId, from: number, limit: number): Promise<Uint8Array[]> {
    const rows = this.#read(() => this.#sql.read.all(party, from, limit));
    return rows.map((row) => row.statement as Uint8Array);
  }

  append(party: PartyId, sequence: number, statement: Uint8Array): Promise<'appended' | 'conflict'> {
    return this.#write(() => {
      if (this.#sql.length.get(party)?.length !== sequence) return 'conflict';
      this.#sql.append.run(party, sequence, statement);
      return 'appended';
    });
  }

  async createRecord(kind: RecordKind, key: string, value: Uint8Array, expiresAtMs: number): Promise<boolean> {
    checkedKey(key);
    if (kind === 'nonce') return this.#takeNonce(key, value, this.#bounded(kind, expiresAtMs));
    return this.#write(() => {
      const until = this.#bounded(kind, expiresAtMs);
      return Number(this.#sql.create.run(kind, key, value, until, this.#now()).changes) > 0;
    });
  }

  putRecord(kind: RecordKind, key: string, value: Uint8Array, expiresAtMs: number): Promise<void> {
    return this.#write(() => {
      this.#sql.put.run(kind, checkedKey(key), value, this.#bounded(kind, expiresAtMs));
    });
  }

  async getRecord(kind: RecordKind, key: string): Promise<Uint8Array | undefined> {
    return this.#live(kind, checkedKey(key));
  }

  async listRecords(kind: RecordKind): Promise<StoredRecord[]> {
    const rows = this.#read(() => this.#sql.list.all(kind, this.#now()));
    return rows.map((row) => ({ key: row.key as string, value: row.value as Uint8Array }));
  }

  deleteRecord(kind: RecordKind, key: string): Promise<boolean> {
    return this.#write(() => Number(this.#sql.delete.run(kind, checkedKey(key), this.#now()).changes) > 0);
  }

  publish(channel: string, data: Uint8Array): void {
    this.#bus.publish(channel, data);
  }

  async subscribe(channel: string, handler: (data: Uint8Array) => void): Promise<() => void> {
    return this.#bus.subscribe(channel, handler);
  }

  onBusRestored(): () => void {
    return () => {};
  }

  async ready(): Promise<void> {
    await this.#write(() => undefined);
  }

  /**
   * Writes a consistent copy to `path` while the store is in use; the copy opens as a store of its own.
   * @throws ControlError `store-failed` when `path` cannot be written.
   */
  async backup(path: string): Promise<void> {
    try {
      await backup(this.#database, path);
      chmodSync(path, 0o600);
    } catch (error) {
      throw databaseFailure(`write a backup to ${path}`, error);
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#nonceTimer?.cancel();
    this.#flush();
    this.#closed = true;
    this.#database.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #now(): number {
    return Math.floor(this.#clock.wallTime());
  }

  #bounded(kind: RecordKind, expiresAtMs: number): number {
    return expiryOf(kind, expiresAtMs, this.#now());
  }

  #read<T>(query: () => T): T {
    if (this.#closed) throw new ControlError('closed', 'The store is closed.');
    try {
      return query();
    } catch (error) {
      throw databaseFailure(`read the database ${this.#path}`, error);
    }
  }

  #live(kind: RecordKind, key: string): Uint8Array | undefined {
    const fresh = kind === 'nonce' ? this.#newNonces.get(key) : undefined;
    if (fresh !== undefined && fresh.until > this.#now()) return fresh.value;
    const row = this.#read(() => this.#sql.get.get(kind, key, this.#now()));
    return row?.value as Uint8Array | undefined;
  }

  #takeNonce(key: string, value: Uint8Array, until: number): boolean {
    if (this.#closed) throw new ControlError('closed', 'The store is closed.');
    if (this.#live('nonce', key) !== undefined) return false;
    this.#newNonces.set(key, { value, until });
    this.#nonceTimer ??= this.#clock.timer(NONCES_WAIT_MS, () => this.#flush());
    return true;
  }

  #write<T>(run: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#closed) {
        reject(new ControlError('closed', 'The store is closed.'));
        return;
      }
      this.#jobs.push({ run, resolve: (value) => resolve(value as T), reject });
      if (this.#jobs.length === 1) setImmediate(() => this.#flush());
    });
  }

  #flush(): void {
    const jobs = this.#jobs;
    if (jobs.length === 0 && this.#newNonces.size === 0) return;
    this.#jobs = [];
    this.#nonceTimer?.cancel();
    this.#nonceTimer = undefined;
    const results: unknown[] = [];
    try {
      this.#database.exec('BEGIN IMMEDIATE');
      for (const [key, { value, until }] of this.#newNonces) this.#sql.put.run('nonce', key, value, until);
      for (const job of jobs) results.push(job.run());
      this.#sweep(jobs.length + this.#newNonces.size);
      this.#database.exec('COMMIT');
      this.#newNonces.clear();
    } catch (error) {
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK');
      // Nonces stay for the next flush; callers that wait for a write get the error.
      for (const job of jobs) job.reject(databaseFailure(`write to the database ${this.#path}`, error));
      return;
    }
    for (const [at, job] of jobs.entries()) job.resolve(results[at]);
  }

  #sweep(writes: number): void {
    this.#writes += writes;
    if (this.#writes < SWEEP_EVERY_WRITES) return;
    this.#writes = 0;
    this.#database.prepare('DELETE FROM records WHERE expires_at <= ?').run(this.#now());
  }
}

function migrate(database: DatabaseSync): void {
  const version = Number(database.prepare('PRAGMA user_version').get()?.user_version);
  if (version > MIGRATIONS.length) {
    throw new Error(
      `it has version ${version}, this program supports ${MIGRATIONS.length}. Next: use a newer version of Towpath`,
    );
  }
  for (const [at, sql] of MIGRATIONS.entries()) {
    if (at >= version) database.exec(`BEGIN; ${sql} PRAGMA user_version = ${at + 1}; COMMIT;`);
  }
}
