import type { KV, KvOptions } from '@nats-io/kv';
import type { NatsConnection } from '@nats-io/transport-node';
import { backoff, type Clock, errorMessage, type Log, type Random, silentLog } from '@towpath/core';
import { ByteReader, ByteWriter, equalBytes } from '../encoding/bytes.ts';
import { ControlError } from '../control-error.ts';
import type { PartyId } from '../identity/keys.ts';
import { type ControlStore, MAX_NONCE_AGE_MS, MAX_RECORD_AGE_MS, type RecordKind, type StoredRecord } from './store.ts';

/** Where the cluster is and how much of it has to agree. */
export interface NatsStoreInit {
  /** `127.0.0.1:4222`, several for a cluster. */
  servers: readonly string[];
  /** Copies of everything: 1 on a single server, 3 or 5 on a cluster. @default 1 */
  replicas?: 1 | 3 | 5;
  /** Begins the name of every bucket and subject. @default 'towpath' */
  prefix?: string;
  /** PEM of the authority to trust, when the servers want TLS. */
  tls?: { ca?: string; cert?: string; key?: string };
  user?: string;
  password?: string;
  token?: string;
  /** How long to wait for the first server, and for each answer, in ms. @default 2000 */
  timeoutMs?: number;
}

/** Statements fetched one by one before the rest is streamed: what a reader that is nearly up to date lacks. */
const FETCH_SINGLY = 8;
/** How long an operation is tried again: a cluster that lost a leader takes up to 9 s to elect another. */
const RETRY_LIMIT_MS = 9_500;
const RETRY = { baseMs: 50, maxMs: 500 };
/** Parties whose length is remembered, to spare a look at the statement before the one that is added. */
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
  readonly #lengths = new Map<PartyId, number>();
  readonly #restored = new Set<() => void>();

  private constructor(
    components: { clock: Clock; random: Random; log?: Log },
    opened: { connection: NatsConnection; prefix: string; statements: KV; records: KV; nonces: KV },
  ) {
    this.#clock = components.clock;
    this.#random = components.random;
    this.#log = components.log ?? silentLog;
    this.#connection = opened.connection;
    this.#prefix = opened.prefix;
    this.#statements = opened.statements;
    this.#records = opened.records;
    this.#nonces = opened.nonces;
    this.#watchConnection().catch((error: unknown) => {
      this.#log.error('the watch over the NATS connection ended', { error: errorMessage(error) });
    });
  }

  /**
   * Connects and creates the buckets that are missing.
   * @throws ControlError `store-failed` when no server answers or JetStream is off.
   */
  static async connect(
    components: { clock: Clock; random: Random; log?: Log },
    init: NatsStoreInit,
  ): Promise<NatsStore> {
    // Loaded only where a cluster is used.
    const [{ connect }, { Kvm }, { jetstream, StorageType }] = await Promise.all([
      import('@nats-io/transport-node'),
      import('@nats-io/kv'),
      import('@nats-io/jetstream'),
    ]);
    const { servers, replicas = 1, prefix = 'towpath', timeoutMs = 2_000, user, password, token, tls } = init;
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
      const name = `${kind}.${key}`;
      const data = withExpiry(value, expiresAtMs);
      if (await this.#create(this.#bucket(kind), name, data, again)) return true;
      const there = await this.#bucket(kind).get(name);
      if (there === null || this.#live(there.value) !== undefined) return false;
      await this.#bucket(kind).update(name, data, there.revision);
      return true;
    });
  }

  putRecord(kind: RecordKind, key: string, value: Uint8Array, expiresAtMs: number): Promise<void> {
    return this.#try('store a record in NATS', async () => {
      await this.#bucket(kind).put(`${kind}.${key}`, withExpiry(value, expiresAtMs));
    });
  }

  getRecord(kind: RecordKind, key: string): Promise<Uint8Array | undefined> {
    return this.#try('read a record from NATS', async () => {
      const entry = await this.#bucket(kind).get(`${kind}.${key}`);
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
      // The servers take commands in order: once they answer, the subscription stands.
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

  /** Does not try again: whoever asks wants to know how it is now. */
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
      this.#log.info('connected to a NATS server again', { server: status.server });
      for (const listener of [...this.#restored]) listener();
    }
  }

  #bucket(kind: RecordKind): KV {
    return kind === 'nonce' ? this.#nonces : this.#records;
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

  /** Whether the key was free. @param again it was tried before, and may have been stored without an answer. */
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

/** Runs something again while the cluster elects a leader or the connection moves to another server. */
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
      if (hopeless() || clock.now() + delayMs > end) throw error;
      await clock.sleep(delayMs);
    }
  }
}

/** JetStream says that the key is not at the revision that was expected: somebody was there first. */
function isTaken(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return code === 10_071 || code === 10_164;
}

function withExpiry(value: Uint8Array, expiresAtMs: number): Uint8Array {
  return new ByteWriter().u48(Math.floor(expiresAtMs)).raw(value).done();
}

function failed(what: string, cause: unknown): ControlError {
  if (cause instanceof ControlError) return cause;
  return new ControlError('store-failed', `Could not ${what}: ${errorMessage(cause)}`, { cause });
}
