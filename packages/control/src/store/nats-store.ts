import type { KV, KvOptions } from '@nats-io/kv';
import type { NatsConnection } from '@nats-io/transport-node';
import { backoff, type Clock, errorMessage, type Log, type Random, silentLog } from '@towpath/core';
import { ByteReader, ByteWriter, equalBytes, type PartyId } from '@towpath/membership';
import { ControlError } from '../control-error.ts';
import {
  type ControlStore,
  checkedKey,
  expiryOf,
  isPermanent,
  MAX_NONCE_AGE_MS,
  MAX_RECORD_AGE_MS,
  type RecordKind,
  type StoredRecord,
} from './store.ts';

/** Connection to the cluster. */
export interface NatsStoreOptions {
  /** `127.0.0.1:4222`, several for a cluster. */
  servers: readonly string[];
  /** Number of replicas: 1 on a single server, 3 or 5 on a cluster. @default 1 */
  replicas?: 1 | 3 | 5;
  /** Prefix of every bucket and subject. @default 'towpath' */
  prefix?: string;
  /** PEM of a certificate authority, when the servers require TLS. */
  tls?: { ca?: string; cert?: string; key?: string };
  user?: string;
  password?: string;
  token?: string;
  /** Time limit for the first server, and for each answer, ms. @default 2000 */
  timeoutMs?: number;
}

/** Statements fetched one by one before the rest is streamed: enough for a reader that is nearly up to date. */
const FETCH_SINGLY = 8;
/** Time limit of retries: a cluster that lost its leader takes up to 9 s to elect another. */
const RETRY_LIMIT_MS = 9_500;
const RETRY = { baseMs: 50, maxMs: 500 };
/** Parties whose length is cached, to save a read before an append. */
const MAX_REMEMBERED_LENGTHS = 50_000;

/**
 * The store of a cluster: NATS JetStream. Statement `n` of a party is the key `<party>.<n>` of a KV bucket, written
 * by compare-and-set against "there is none", so that any number of control servers can append at once.
 * Reads go to the stream's leader, so that what was acknowledged is seen.
 */
export class NatsStore implements ControlStore {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #log: Log;
  readonly #connection: NatsConnection;
  readonly #prefix: string;
  readonly #statements: KV;
  readonly #records: KV;
  readonly #nonces: KV;
  readonly #grants: KV;
  readonly #lengths = new Map<PartyId, number>();
  readonly #restored = new Set<() => void>();

  private constructor(
    components: { clock: Clock; random: Random; log?: Log | undefined },
    opened: { connection: NatsConnection; prefix: string; statements: KV; records: KV; nonces: KV; grants: KV },
  ) {
    this.#clock = components.clock;
    this.#random = components.random;
    this.#log = components.log ?? silentLog;
    this.#connection = opened.connection;
    this.#prefix = opened.prefix;
    this.#statements = opened.statements;
    this.#records = opened.records;
    this.#nonces = opened.nonces;
    this.#grants = opened.grants;
    this.#watchConnection().catch((error: unknown) => {
      this.#log.error('Monitoring of the NATS connection ended', { error: errorMessage(error) });
    });
  }

  /**
   * Connects and creates the buckets that are missing.
   * @throws ControlError `store-failed` when no server answers or JetStream is off.
   */
  static async connect(
    components: { clock: Clock; random: Random; log?: Log | undefined },
    options: NatsStoreOptions,
  ): Promise<NatsStore> {
    // Loaded only when a cluster is used.
    const [{ connect }, { Kvm }, { jetstream, StorageType }] = await Promise.all([
      import('@nats-io/transport-node'),
      import('@nats-io/kv'),
      import('@nats-io/jetstream'),
    ]);
    const { servers, replicas = 1, prefix = 'towpath', timeoutMs = 2_000, user, password, token, tls } = options;
    let connection: NatsConnection | undefined;
    try {
      connection = await connect({
        servers: [...servers],
        name: `${prefix} control server`,
        maxReconnectAttempts: -1,
        reconnectTimeWait: 250,
        pingInterval: 2_000,
        maxPingOut: 2,
        timeout: timeoutMs,
        ...(user === undefined ? {} : { user, pass: password ?? '' }),
        ...(token === undefined ? {} : { token }),
        ...(tls === undefined ? {} : { tls }),
      });
      const buckets = new Kvm(jetstream(connection, { timeout: timeoutMs }));
      const common = { replicas, history: 1, allow_direct: false };
      const create = (name: string, options: Partial<KvOptions>) =>
        tryAgain(components, () => buckets.create(`${prefix}-${name}`, { ...common, ...options }));
      return new NatsStore(components, {
        connection,
        prefix,
        statements: await create('statements', { storage: StorageType.File }),
        records: await create('records', { storage: StorageType.File, ttl: MAX_RECORD_AGE_MS }),
        grants: await create('grants', { storage: StorageType.File }),
        nonces: await create('nonces', { storage: StorageType.Memory, ttl: MAX_NONCE_AGE_MS }),
      });
    } catch (error) {
      await connection?.close();
      throw failed(`connect to NATS at ${servers.join(', ')} (is JetStream on, are ${replicas} servers up?)`, error);
    }
  }

  readLog(party: PartyId, from: number, limit: number): Promise<Uint8Array[]> {
    return this.#try('read a party from NATS', async () => {
      const first = await this.#statement(party, from);
      if (first === undefined || limit < 1) return [];
      const some = Math.min(FETCH_SINGLY, limit) - 1;
      const next = await Promise.all(Array.from({ length: some }, (_, at) => this.#statement(party, from + 1 + at)));
      const end = next.indexOf(undefined);
      const fetched = [first, ...(end < 0 ? next : next.slice(0, end))] as Uint8Array[];
      if (end >= 0 || fetched.length >= limit) return this.#seen(party, from, fetched);
      return this.#seen(party, from, await this.#stream(party, from, limit));
    });
  }

  append(party: PartyId, sequence: number, statement: Uint8Array): Promise<'appended' | 'conflict'> {
    return this.#try('store a statement in NATS', async (again) => {
      const known = this.#lengths.get(party) ?? 0;
      if (sequence > known && (await this.#statement(party, sequence - 1)) === undefined) return 'conflict';
      const stored = await this.#create(this.#statements, `${party}.${sequence}`, statement, again);
      if (stored) this.#remember(party, sequence + 1);
      return stored ? 'appended' : 'conflict';
    });
  }

  createRecord(kind: RecordKind, key: string, value: Uint8Array, expiresAtMs: number): Promise<boolean> {
    return this.#try('store a record in NATS', async (again) => {
      const name = recordName(kind, key);
      const data = this.#withExpiry(kind, value, expiresAtMs);
      if (await this.#create(this.#bucket(kind), name, data, again)) return true;
      const there = await this.#bucket(kind).get(name);
      if (there === null || this.#live(there.value) !== undefined) return false;
      await this.#bucket(kind).update(name, data, there.revision);
      return true;
    });
  }

  putRecord(kind: RecordKind, key: string, value: Uint8Array, expiresAtMs: number): Promise<void> {
    return this.#try('store a record in NATS', async () => {
      await this.#bucket(kind).put(recordName(kind, key), this.#withExpiry(kind, value, expiresAtMs));
    });
  }

  getRecord(kind: RecordKind, key: string): Promise<Uint8Array | undefined> {
    return this.#try('read a record from NATS', async () => {
      const entry = await this.#bucket(kind).get(recordName(kind, key));
      return entry === null ? undefined : this.#live(entry.value);
    });
  }

  listRecords(kind: RecordKind): Promise<StoredRecord[]> {
    return this.#try('read records from NATS', async () => {
      const found = new Map<string, Uint8Array>();
      for await (const entry of await this.#bucket(kind).history({ key: `${kind}.*` })) {
        const value = this.#live(entry.value);
        if (value !== undefined) found.set(entry.key.slice(kind.length + 1), value);
      }
      const list = [...found].map(([key, value]) => ({ key, value }));
      return list.sort((a, b) => (a.key < b.key ? -1 : 1));
    });
  }

  deleteRecord(kind: RecordKind, key: string): Promise<boolean> {
    return this.#try('remove a record from NATS', async () => {
      const name = recordName(kind, key);
      const there = await this.#bucket(kind).get(name);
      if (there === null || there.operation !== 'PUT' || this.#live(there.value) === undefined) return false;
      try {
        await this.#bucket(kind).delete(name, { previousSeq: there.revision });
        return true;
      } catch (error) {
        if (isTaken(error)) return false;
        throw error;
      }
    });
  }

  publish(channel: string, data: Uint8Array): void {
    if (!this.#connection.isClosed()) this.#connection.publish(`${this.#prefix}.${channel}`, data);
  }

  subscribe(channel: string, handler: (data: Uint8Array) => void): Promise<() => void> {
    return this.#try('subscribe at NATS', async () => {
      const subscription = this.#connection.subscribe(`${this.#prefix}.${channel}`, {
        callback: (error, message) => {
          if (error) this.#log.warn('a NATS subscription failed', { channel, error: error.message });
          else handler(message.data);
        },
      });
      // The servers process commands in order: after their answer the subscription is active.
      await this.#connection.flush();
      return () => subscription.unsubscribe();
    });
  }

  onBusRestored(listener: () => void): () => void {
    this.#restored.add(listener);
    return () => {
      this.#restored.delete(listener);
    };
  }

  /** Does not retry: the caller wants the current state. */
  async ready(): Promise<void> {
    try {
      await this.#statements.status();
    } catch (error) {
      throw failed('reach JetStream', error);
    }
  }

  async close(): Promise<void> {
    if (!this.#connection.isClosed()) await this.#connection.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #watchConnection(): Promise<void> {
    for await (const status of this.#connection.status()) {
      if (status.type === 'disconnect') this.#log.warn('lost a NATS server', { server: status.server });
      if (status.type !== 'reconnect') continue;
      this.#log.info('Reconnected to a NATS server', { server: status.server });
      for (const listener of [...this.#restored]) listener();
    }
  }

  #bucket(kind: RecordKind): KV {
    if (kind === 'nonce') return this.#nonces;
    return isPermanent(kind) ? this.#grants : this.#records;
  }

  async #statement(party: PartyId, sequence: number): Promise<Uint8Array | undefined> {
    const entry = await this.#statements.get(`${party}.${sequence}`);
    // Copied: the value is a view into the buffer that the connection read.
    return entry?.operation === 'PUT' ? new Uint8Array(entry.value) : undefined;
  }

  async #stream(party: PartyId, from: number, limit: number): Promise<Uint8Array[]> {
    const found = new Map<number, Uint8Array>();
    for await (const entry of await this.#statements.history({ key: `${party}.*` })) {
      found.set(Number(entry.key.slice(party.length + 1)), new Uint8Array(entry.value));
    }
    const statements: Uint8Array[] = [];
    for (let at = from; at < from + limit; at++) {
      const statement = found.get(at);
      if (statement === undefined) break;
      statements.push(statement);
    }
    return statements;
  }

  /**
   * Returns whether the key was free. @param again a retry; the first attempt may have been stored without an answer
   */
  async #create(bucket: KV, key: string, value: Uint8Array, again: boolean): Promise<boolean> {
    try {
      await bucket.create(key, value);
      return true;
    } catch (error) {
      if (!isTaken(error)) throw error;
      const there = again ? await bucket.get(key) : null;
      return there !== null && equalBytes(there.value, value);
    }
  }

  #seen(party: PartyId, from: number, statements: Uint8Array[]): Uint8Array[] {
    this.#remember(party, from + statements.length);
    return statements;
  }

  #remember(party: PartyId, length: number): void {
    if (length <= (this.#lengths.get(party) ?? 0)) return;
    if (this.#lengths.size >= MAX_REMEMBERED_LENGTHS) this.#lengths.clear();
    this.#lengths.set(party, length);
  }

  #withExpiry(kind: RecordKind, value: Uint8Array, expiresAtMs: number): Uint8Array {
    return new ByteWriter()
      .u48(expiryOf(kind, expiresAtMs, this.#clock.wallTime()))
      .raw(value)
      .done();
  }

  #live(data: Uint8Array): Uint8Array | undefined {
    const reader = new ByteReader(data);
    const expiresAtMs = reader.u48();
    return !reader.failed && expiresAtMs > this.#clock.wallTime() ? reader.raw(reader.left) : undefined;
  }

  async #try<T>(what: string, run: (again: boolean) => Promise<T>): Promise<T> {
    try {
      return await tryAgain({ clock: this.#clock, random: this.#random }, run, () => this.#connection.isClosed());
    } catch (error) {
      throw failed(what, error);
    }
  }
}

/** A key in the buckets of records. */
function recordName(kind: RecordKind, key: string): string {
  return `${kind}.${checkedKey(key)}`;
}

/** Retries while the cluster elects a leader or the connection moves to another server. */
async function tryAgain<T>(
  { clock, random }: { clock: Clock; random: Random },
  run: (again: boolean) => Promise<T>,
  hopeless: () => boolean = () => false,
): Promise<T> {
  const end = clock.now() + RETRY_LIMIT_MS;
  const delays = backoff({ ...RETRY, random });
  for (let again = false; ; again = true) {
    try {
      return await run(again);
    } catch (error) {
      const delayMs = delays.next().value ?? RETRY.maxMs;
      if (error instanceof ControlError || hopeless() || clock.now() + delayMs > end) throw error;
      await clock.sleep(delayMs);
    }
  }
}

/** JetStream reports that the key does not have the expected revision: another writer was first. */
function isTaken(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return code === 10_071 || code === 10_164;
}

function failed(what: string, cause: unknown): ControlError {
  if (cause instanceof ControlError) return cause;
  return new ControlError('store-failed', `Could not ${what}: ${errorMessage(cause)}`, { cause });
}
