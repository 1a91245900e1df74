import type { PartyId } from '@towpath/membership';
import { ControlError } from '../control-error.ts';

/** Purpose of a record; each kind has its own names. */
export type RecordKind =
  /** an invite behind a short code, sealed */
  | 'invite'
  /** a nonce that was used */
  | 'nonce'
  /** the last report of a relay */
  | 'relay'
  /** a setup code that may create a first party; kept until it is used */
  | 'setup'
  /** who created which parties; kept for good */
  | 'founder'
  /** the short codes of a party's invites */
  | 'codes';

/** Longest lifetime of a record in a {@link ControlStore}: 31 days. */
export const MAX_RECORD_AGE_MS: number = 31 * 24 * 3_600_000;
/** Nonces have a shorter lifetime, so that a cluster can keep them in memory: 5 minutes. */
export const MAX_NONCE_AGE_MS = 300_000;

/** Kinds of records that do not expire by themselves. */
const PERMANENT: ReadonlySet<RecordKind> = new Set(['setup', 'founder']);
/** An expiry that is never reached: 48 bits of ms. */
export const NEVER_MS: number = 2 ** 48 - 1;

/**
 * @returns the key, which every store takes.
 * @throws ControlError `store-failed` for a key that is empty, ends with a point or has other characters than `A–Z a–z 0–9 - _ . / =`.
 */
export function checkedKey(key: string): string {
  if (/^[\w./=-]*[\w/=-]$/.test(key)) return key;
  throw new ControlError('store-failed', `A record has the key ${JSON.stringify(key)}, which no store takes.`);
}

/** When a record of this kind expires that was given `expiresAtMs` at `nowMs`. */
export function expiryOf(kind: RecordKind, expiresAtMs: number, nowMs: number): number {
  if (PERMANENT.has(kind)) return NEVER_MS;
  return Math.floor(Math.min(expiresAtMs, nowMs + (kind === 'nonce' ? MAX_NONCE_AGE_MS : MAX_RECORD_AGE_MS)));
}

/** Whether records of this kind need a place without an expiry of its own. */
export function isPermanent(kind: RecordKind): boolean {
  return PERMANENT.has(kind);
}

export interface StoredRecord {
  readonly key: string;
  readonly value: Uint8Array;
}

/**
 * Shared state of control servers: the parties' logs, records that expire, and a bus that reaches every server
 * with the same store. Statements are opaque bytes. Every implementation passes one test suite.
 *
 * Channels consist of `A–Z a–z 0–9 - _ .`, keys of what {@link checkedKey} takes.
 *
 * @throws ControlError `store-failed` from every method when the storage fails; data that was not
 *   acknowledged may or may not have been stored.
 */
export interface ControlStore extends AsyncDisposable {
  /** Reads statements of a party from `from` on, in order, at most `limit`. */
  readLog(party: PartyId, from: number, limit: number): Promise<Uint8Array[]>;
  /**
   * Appends statement `sequence` if the log has exactly that many: of two concurrent servers one succeeds.
   * Durable once it resolves with `appended`.
   */
  append(party: PartyId, sequence: number, statement: Uint8Array): Promise<'appended' | 'conflict'>;

  /** Stores a record unless there is one of this key. @returns whether it was stored. */
  createRecord(kind: RecordKind, key: string, value: Uint8Array, expiresAtMs: number): Promise<boolean>;
  /** Stores or replaces a record. */
  putRecord(kind: RecordKind, key: string, value: Uint8Array, expiresAtMs: number): Promise<void>;
  getRecord(kind: RecordKind, key: string): Promise<Uint8Array | undefined>;
  listRecords(kind: RecordKind): Promise<StoredRecord[]>;
  /** Removes a record. @returns false when there was none: of two that remove it at once, one did. */
  deleteRecord(kind: RecordKind, key: string): Promise<boolean>;

  /** Sends `data` to every subscriber of `channel` on every server, this one included; not stored, may be lost. */
  publish(channel: string, data: Uint8Array): void;
  /** Calls `handler` for everything published from the time it resolves, in each publisher's order. */
  subscribe(channel: string, handler: (data: Uint8Array) => void): Promise<() => void>;
  /** Calls `listener` when the bus works again after it may have lost messages. */
  onBusRestored(listener: () => void): () => void;

  /** Resolves when the store can be written to. */
  ready(): Promise<void>;
  /** Idempotent. */
  close(): Promise<void>;
}
