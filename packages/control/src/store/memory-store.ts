import type { Clock } from '@towpath/core';
import type { PartyId } from '@towpath/membership';
import { LocalBus } from './local-bus.ts';
import { type ControlStore, checkedKey, expiryOf, type RecordKind, type StoredRecord } from './store.ts';

interface Kept {
  readonly value: Uint8Array;
  readonly expiresAtMs: number;
}

/** Number of records above which expired ones are removed at each insertion. */
const SWEEP_FROM = 1_024;

/** A store in memory for tests and for {@link LocalControlPlane}. Several servers may share one. */
export class MemoryStore implements ControlStore {
  readonly #clock: Clock;
  readonly #logs = new Map<PartyId, Uint8Array[]>();
  readonly #records = new Map<RecordKind, Map<string, Kept>>();
  readonly #bus = new LocalBus();
  #sweepAt = SWEEP_FROM;

  constructor(components: { clock: Clock }) {
    this.#clock = components.clock;
  }

  async readLog(party: PartyId, from: number, limit: number): Promise<Uint8Array[]> {
    return (this.#logs.get(party) ?? []).slice(from, from + limit);
  }

  async append(party: PartyId, sequence: number, statement: Uint8Array): Promise<'appended' | 'conflict'> {
    const log = this.#logs.get(party) ?? [];
    if (log.length !== sequence) return 'conflict';
    log.push(new Uint8Array(statement));
    this.#logs.set(party, log);
    return 'appended';
  }

  async createRecord(kind: RecordKind, key: string, value: Uint8Array, expiresAtMs: number): Promise<boolean> {
    if (this.#live(kind, checkedKey(key)) !== undefined) return false;
    this.#put(kind, key, value, expiresAtMs);
    return true;
  }

  async putRecord(kind: RecordKind, key: string, value: Uint8Array, expiresAtMs: number): Promise<void> {
    this.#put(kind, checkedKey(key), value, expiresAtMs);
  }

  async getRecord(kind: RecordKind, key: string): Promise<Uint8Array | undefined> {
    return this.#live(kind, checkedKey(key));
  }

  #put(kind: RecordKind, key: string, value: Uint8Array, expiresAtMs: number): void {
    const now = this.#clock.wallTime();
    const kept = this.#kind(kind);
    if (kept.size >= this.#sweepAt) {
      for (const [each, { expiresAtMs: until }] of kept) if (until <= now) kept.delete(each);
      this.#sweepAt = Math.max(SWEEP_FROM, kept.size * 2);
    }
    kept.set(key, { value: new Uint8Array(value), expiresAtMs: expiryOf(kind, expiresAtMs, now) });
  }

  #live(kind: RecordKind, key: string): Uint8Array | undefined {
    const kept = this.#kind(kind).get(key);
    return kept !== undefined && kept.expiresAtMs > this.#clock.wallTime() ? kept.value : undefined;
  }

  async listRecords(kind: RecordKind): Promise<StoredRecord[]> {
    const now = this.#clock.wallTime();
    const list = [...this.#kind(kind)].filter(([, kept]) => kept.expiresAtMs > now);
    return list.map(([key, { value }]) => ({ key, value })).sort((a, b) => (a.key < b.key ? -1 : 1));
  }

  async deleteRecord(kind: RecordKind, key: string): Promise<boolean> {
    const there = this.#live(kind, checkedKey(key)) !== undefined;
    this.#kind(kind).delete(key);
    return there;
  }

  publish(channel: string, data: Uint8Array): void {
    this.#bus.publish(channel, data);
  }

  async subscribe(channel: string, handler: (data: Uint8Array) => void): Promise<() => void> {
    return this.#bus.subscribe(channel, handler);
  }

  onBusRestored(_listener: () => void): () => void {
    return () => {};
  }

  async ready(): Promise<void> {}

  async close(): Promise<void> {}

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #kind(kind: RecordKind): Map<string, Kept> {
    const kept = this.#records.get(kind) ?? new Map<string, Kept>();
    this.#records.set(kind, kept);
    return kept;
  }
}
