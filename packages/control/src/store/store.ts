import type { PartyId } from '../identity/keys.ts';

/** What a record is for; each kind has names of its own. */
export type RecordKind =
  /** an invite behind a short code, sealed */
  | 'invite'
  /** a nonce that was used */
  | 'nonce'
  /** a relay's last report */
  | 'relay';

/** A {@link ControlStore} keeps a record no longer than this, whatever expiry it was given: 31 days. */
export const MAX_RECORD_AGE_MS: number = 31 * 24 * 3_600_000;
/** Nonces are kept shorter, so that a cluster can hold them in memory: 5 minutes. */
export const MAX_NONCE_AGE_MS = 300_000;

export interface StoredRecord {
  readonly key: string;
  readonly value: Uint8Array;
}

/**
 * What control servers share: the parties' logs, a few records that expire, and a bus that reaches every server
 * on the same store. Statements are opaque bytes here. Every implementation passes one suite of tests.
 *
 * Keys and channels consist of `A–Z a–z 0–9 - _ .`
 *
 * @throws ControlError `store-failed` from every method when the storage behind it fails; what was not
 *   acknowledged may or may not have been stored.
 */
export interface ControlStore extends AsyncDisposable {
  /** Statements of a party from `from` on, in order, `limit` at most; none when there are none. */
  readLog(party: PartyId, from: number, limit: number): Promise<Uint8Array[]>;
  /**
   * Adds statement number `sequence`, if the log has exactly that many: of two servers that try, one wins.
   * Durable once it resolves with `appended`.
   */
  append(party: PartyId, sequence: number, statement: Uint8Array): Promise<'appended' | 'conflict'>;

  /** Stores a record unless there is one of this key. @returns whether it was stored. */
  createRecord(kind: RecordKind, key: string, value: Uint8Array, expiresAtMs: number): Promise<boolean>;
  /** Stores or replaces a record. */
  putRecord(kind: RecordKind, key: string, value: Uint8Array, expiresAtMs: number): Promise<void>;
  getRecord(kind: RecordKind, key: string): Promise<Uint8Array | undefined>;
  listRecords(kind: RecordKind): Promise<StoredRecord[]>;

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
