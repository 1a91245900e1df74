import { CameraError, type CameraErrorCode } from '../artemis/camera-error.ts';
import { type Command, download, thumbnails } from '../artemis/commands.ts';
import { Channel, type Frame } from '../artemis/frame.ts';
import { type ItemId, itemFields, itemKey } from '../artemis/media-item.ts';
import { decodeFileRecord, decodeThumbnailRecord, fileCheckHolds, type ItemRecord } from '../artemis/record.ts';
import type { Decoded } from '../artemis/result.ts';
import type { ArtemisSession } from './artemis-session.ts';
import { Bell } from './bell.ts';

/** What differs between thumbnails and files. spec/artemis.md §8. */
export interface TransferKind {
  readonly channel: number;
  /** Items asked for in one request. */
  readonly batchItems: number;
  /** Sends the request for some items. */
  ask(session: ArtemisSession, items: readonly ItemId[], signal?: AbortSignal): Promise<unknown>;
  decode(body: Uint8Array): Decoded<ItemRecord>;
  /** True when the data ends as its header says. */
  intact(record: ItemRecord): boolean;
}

/** 772 on channel 4; the vendor's app asks for a whole page of 45 at once. */
export const THUMBNAILS: TransferKind = {
  channel: Channel.thumbnail,
  batchItems: 45,
  ask: (session, items, signal) => request(session, thumbnails, { thumbnailReqs: items.map(itemFields) }, signal),
  decode: decodeThumbnailRecord,
  intact: () => true,
};

/** 1285 on channel 3. A batch of files is short enough to lose little when the session changes under it. */
export const FILES: TransferKind = {
  channel: Channel.file,
  batchItems: 16,
  ask: (session, items, signal) => request(session, download, { downloadReqs: items.map(itemFields) }, signal),
  decode: decodeFileRecord,
  intact: fileCheckHolds,
};

function request<Fields extends object>(
  session: ArtemisSession,
  command: Command<Fields, unknown>,
  fields: Fields,
  signal?: AbortSignal,
): Promise<unknown> {
  return session.request(command, fields, { signal });
}

/** What became of one item. */
export type TransferResult<Item extends ItemId = ItemId> =
  | { readonly item: Item; readonly data: Uint8Array; readonly error?: undefined }
  | { readonly item: Item; readonly data?: undefined; readonly error: CameraError };

export interface TransferOptions {
  signal?: AbortSignal;
  /** Called with the number of bytes whenever some arrive, headers included. */
  onBytes?(count: number): void;
}

/** Arrived items that their reader has not taken yet; beyond this the channel is paused and the camera slows down. */
const MAX_QUEUED_BYTES: number = 8 * 1024 * 1024;

/** Data is on its way, although a lost packet holds it up, when so much has come in during a silence. */
const HELD_UP_BYTES = 2048;

/** A gap that lasts for so many silences is no longer waited for. */
const MAX_HELD_UP = 10;

/** So many requests in a row without any data: the items are asked for singly, then given up. */
const MAX_FRUITLESS_ASKS = 3;

/** So many items in a row that the camera stays silent about mean that it is stuck. */
const MAX_SILENT_ITEMS = 3;

/** An item is asked for again this often when others came and it did not, or when it came damaged. */
const MAX_ITEM_TRIES = 3;

/**
 * Fetches items over one session. The camera sends them in the order asked, without an end mark, so what counts is which
 * of them have come; after a second of silence the missing ones are asked for again.
 */
export class Transfer<Item extends ItemId> {
  readonly #session: ArtemisSession;
  readonly #kind: TransferKind;
  readonly #options: TransferOptions;
  readonly #missing = new Map<number, Item>();
  readonly #tries = new Map<number, number>();
  readonly #queue: ItemRecord[] = [];
  readonly #bell: Bell;
  readonly #stopping: () => boolean;
  #queuedBytes = 0;
  #paused = false;
  #quietSince = 0;
  #quiet = { since: 0, lookedAt: 0, undeliveredBytes: 0, heldUp: 0 };
  #fruitless = 0;
  #silentItems = 0;
  #batchItems: number;
  #asks = 0;
  #askError: unknown;

  /** @param stopping asked between items: true ends the transfer early, without an error */
  constructor(
    session: ArtemisSession,
    kind: TransferKind,
    items: Iterable<Item>,
    options: TransferOptions & { stopping?(): boolean } = {},
  ) {
    this.#session = session;
    this.#kind = kind;
    this.#options = options;
    this.#stopping = options.stopping ?? (() => false);
    this.#bell = new Bell(session.clock);
    this.#batchItems = kind.batchItems;
    for (const item of items) this.#missing.set(itemKey(item), item);
  }

  /** Wakes the transfer so that it asks `stopping` again. */
  nudge(): void {
    this.#bell.ring();
  }

  /**
   * Yields each item once: its data, or why it cannot be had (`item-missing`, `item-damaged`, `command-refused`,
   * `transfer-stalled`).
   * @throws CameraError `session-closed`, `transfer-stalled` when the camera is stuck altogether; the signal's reason.
   */
  async *run(): AsyncGenerator<TransferResult<Item>, void, undefined> {
    const session = this.#session;
    const stopReading = session.read(this.#kind.channel, {
      onFrame: (frame) => this.#take(frame),
      onBytes: this.#options.onBytes,
      onClosed: () => this.#bell.ring(),
    });
    try {
      while (this.#missing.size > 0 && !this.#stopping()) yield* this.#batch();
    } finally {
      stopReading();
      this.#setPaused(false);
    }
  }

  async *#batch(): AsyncGenerator<TransferResult<Item>, void, undefined> {
    const asked = [...this.#missing.values()].slice(0, this.#batchItems);
    this.#ask(asked);
    const last = itemKey(asked.at(-1)!);
    let received = 0;
    for (;;) {
      const record = await this.#next();
      if (record === undefined) break;
      received++;
      const key = itemKey(record);
      const result = this.#judge(key, record);
      if (result !== undefined) yield result;
      if (this.#stopping()) return;
      if (asked.every((item) => !this.#missing.has(itemKey(item)))) break;
      // They come in the order asked: behind the last one nothing more will follow.
      if (key === last && this.#queue.length === 0) break;
    }
    yield* received > 0 ? this.#passedOver(asked, last) : this.#silence(asked);
  }

  #ask(items: readonly Item[]): void {
    this.#askError = undefined;
    this.#quietSince = this.#session.clock.now();
    const ask = ++this.#asks;
    this.#kind.ask(this.#session, items, this.#options.signal).catch((error: unknown) => {
      // Whether data comes is what counts; a late answer says nothing, and silence is noticed sooner than its time limit.
      if (ask !== this.#asks || (error instanceof CameraError && error.code === 'command-timeout')) return;
      this.#askError = error;
      this.#bell.ring();
    });
  }

  /** The next item that was missing; undefined when none came for too long, or the request was refused. */
  async #next(): Promise<ItemRecord | undefined> {
    const session = this.#session;
    using _expecting = session.expectData();
    for (;;) {
      this.#options.signal?.throwIfAborted();
      const record = this.#queue.shift();
      if (record !== undefined) {
        this.#queuedBytes -= record.data.length;
        if (this.#queuedBytes === 0) this.#setPaused(false);
        // The reader's own pace is not the camera's silence.
        this.#quietSince = session.clock.now();
        if (this.#missing.has(itemKey(record))) return record;
        continue;
      }
      if (session.closed) throw session.closed;
      if (this.#askError !== undefined || this.#stopping()) return undefined;
      const quietSince = Math.max(this.#quietSince, session.lastDataAt(this.#kind.channel));
      this.#noteQuiet(quietSince);
      const limitMs = session.suspiciousAfterMs;
      const leftMs = quietSince + limitMs - session.clock.now();
      // A camera that is silent altogether need not be asked again, what we sent is on its way; the session decides.
      if (leftMs <= 0 && session.silentMs < limitMs && !this.#isHeldUp(limitMs)) return undefined;
      await this.#bell.wait(leftMs > 0 ? leftMs : limitMs, this.#options.signal);
    }
  }

  /** A silence begins: what comes in from now on without being delivered waits behind a gap. */
  #noteQuiet(since: number): void {
    if (this.#quiet.since === since) return;
    const { undeliveredBytes, clock } = this.#session;
    this.#quiet = { since, lookedAt: clock.now(), undeliveredBytes, heldUp: 0 };
  }

  /** True while data comes in but is held up by a lost packet: asking again would only lengthen the queue behind it. */
  #isHeldUp(limitMs: number): boolean {
    const { undeliveredBytes, clock } = this.#session;
    const quiet = this.#quiet;
    const now = clock.now();
    // Too short a look would see nothing on a slow path.
    if (now - quiet.lookedAt < limitMs / 2) return true;
    const grownBytes = undeliveredBytes - quiet.undeliveredBytes;
    this.#quiet = { ...quiet, lookedAt: now, undeliveredBytes, heldUp: quiet.heldUp + 1 };
    return grownBytes > HELD_UP_BYTES && quiet.heldUp < MAX_HELD_UP;
  }

  #take(frame: Frame): void {
    const record = this.#kind.decode(frame.body);
    if (!record.ok || !this.#missing.has(itemKey(record.value))) return;
    this.#queue.push(record.value);
    this.#queuedBytes += record.value.data.length;
    if (this.#queuedBytes > MAX_QUEUED_BYTES) this.#setPaused(true);
    this.#bell.ring();
  }

  #judge(key: number, record: ItemRecord): TransferResult<Item> | undefined {
    const item = this.#missing.get(key)!;
    this.#fruitless = 0;
    this.#silentItems = 0;
    this.#batchItems = this.#kind.batchItems;
    if (record.data.length === 0) return this.#fail(item, 'item-missing', 'The camera sent it without data.');
    if (this.#kind.intact(record)) {
      this.#missing.delete(key);
      return { item, data: record.data };
    }
    return this.#tryAgain(key)
      ? undefined
      : this.#fail(item, 'item-damaged', `Its end was wrong ${MAX_ITEM_TRIES} times.`);
  }

  /** Others came; those of them that did not, although later ones did, may not exist. */
  *#passedOver(asked: readonly Item[], last: number): Generator<TransferResult<Item>, void, undefined> {
    if (this.#missing.has(last)) return;
    for (const item of asked) {
      const key = itemKey(item);
      if (!this.#missing.has(key) || this.#tryAgain(key)) continue;
      yield this.#fail(item, 'item-missing', `The camera passed over it ${MAX_ITEM_TRIES} times.`);
    }
  }

  /** Nothing came at all. */
  *#silence(asked: readonly Item[]): Generator<TransferResult<Item>, void, undefined> {
    if (this.#stopping()) return;
    const refusal = this.#askError;
    if (refusal !== undefined && !isRefusal(refusal)) throw refusal;
    const first = asked[0]!;
    if (asked.length > 1) {
      // One item that the camera chokes on must not cost the others.
      if (refusal !== undefined || ++this.#fruitless >= MAX_FRUITLESS_ASKS) this.#batchItems = 1;
    } else if (refusal !== undefined) {
      yield this.#give(first, refusal);
    } else if (!this.#tryAgain(itemKey(first))) {
      if (++this.#silentItems >= MAX_SILENT_ITEMS) throw this.#stalledError();
      yield this.#fail(first, 'transfer-stalled', `The camera stayed silent ${MAX_ITEM_TRIES} times.`);
    }
  }

  /** Counts a try of an item and says whether another is left. */
  #tryAgain(key: number): boolean {
    const tries = (this.#tries.get(key) ?? 0) + 1;
    this.#tries.set(key, tries);
    return tries < MAX_ITEM_TRIES;
  }

  #fail(item: Item, code: CameraErrorCode, why: string): TransferResult<Item> {
    const { target } = this.#session;
    const { dirNum, mediaNum } = item;
    const message = `Item ${dirNum}/${mediaNum} was not received. ${why}`;
    return this.#give(item, new CameraError(code, message, { target, details: { dirNum, mediaNum } }));
  }

  #give(item: Item, error: CameraError): TransferResult<Item> {
    this.#missing.delete(itemKey(item));
    return { item, error };
  }

  #stalledError(): CameraError {
    const { target } = this.#session;
    const message = `The camera answers but sends nothing of ${this.#missing.size} items; restarting it may help.`;
    return new CameraError('transfer-stalled', message, { target, details: { missing: this.#missing.size } });
  }

  #setPaused(paused: boolean): void {
    if (paused === this.#paused) return;
    this.#paused = paused;
    this.#session.carrier.setPaused(this.#kind.channel, paused);
  }
}

function isRefusal(error: unknown): error is CameraError {
  return error instanceof CameraError && error.code === 'command-refused';
}
