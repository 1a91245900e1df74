import { Wakeup } from '@towpath/core';
import { CameraError, type CameraErrorCode } from '../artemis/camera-error.ts';
import { type Command, download, thumbnails } from '../artemis/commands.ts';
import { Channel, type Frame, MAX_FRAME_BODY_BYTES } from '../artemis/frame.ts';
import { type ItemId, itemFields, itemKey } from '../artemis/media-item.ts';
import { decodeFileRecord, decodeThumbnailRecord, fileCheckHolds, type ItemRecord } from '../artemis/record.ts';
import type { Decoded } from '../artemis/result.ts';
import type { ArtemisSession } from './artemis-session.ts';

/** Differences between thumbnails and files. docs/protocol/artemis.md, "Items". */
export interface TransferKind {
  readonly channel: number;
  /** Items in one request. */
  readonly batchItems: number;
  /** Longer data is refused. */
  readonly maxBytes: number;
  /** Sends the request for some items. */
  ask(session: ArtemisSession, items: readonly ItemId[], signal?: AbortSignal): Promise<unknown>;
  decode(body: Uint8Array): Decoded<ItemRecord>;
  /** True when the data's end check is correct. */
  intact(record: ItemRecord): boolean;
}

/** 772 on channel 4; the vendor's application requests a whole page of 45 at once. */
export const THUMBNAILS: TransferKind = {
  channel: Channel.thumbnail,
  batchItems: 45,
  // Recorded ones have up to 20 kB.
  maxBytes: 1024 * 1024,
  ask: (session, items, signal) => request(session, thumbnails, { thumbnailReqs: items.map(itemFields) }, signal),
  decode: decodeThumbnailRecord,
  intact: () => true,
};

/** 1285 on channel 3. A small batch loses little when the session changes during it. */
export const FILES: TransferKind = {
  channel: Channel.file,
  batchItems: 16,
  maxBytes: MAX_FRAME_BODY_BYTES,
  ask: (session, items, signal) => request(session, download, { downloadReqs: items.map(itemFields) }, signal),
  decode: decodeFileRecord,
  intact: fileCheckHolds,
};

function request<Fields extends object>(
  session: ArtemisSession,
  command: Command<Fields, unknown>,
  fields: Fields,
  signal?: AbortSignal | undefined,
): Promise<unknown> {
  return session.request(command, fields, { signal });
}

/** Result of one item. */
export type TransferResult<Item extends ItemId = ItemId> =
  | { readonly item: Item; readonly data: Uint8Array; readonly error?: undefined }
  | { readonly item: Item; readonly data?: undefined; readonly error: CameraError };

export interface TransferOptions {
  signal?: AbortSignal | undefined;
  /** Called with the number of bytes whenever some arrive, headers included. */
  onBytes?: ((count: number) => void) | undefined;
  /** `devId` of the camera that the items are of; records of another one end the transfer. @default that of the first */
  deviceId?: string;
}

/** Received items that their reader has not taken yet; beyond this the channel is paused and the camera slows down. */
const MAX_QUEUED_BYTES: number = 8 * 1024 * 1024;

/** More bytes than this without a delivered record mean that data arrives after a lost packet. */
const HELD_UP_BYTES = 2048;

/** A gap is waited for during this many silences. */
const MAX_HELD_UP = 10;

/** After this many requests in a row without data, the items are requested one by one, then given up. */
const MAX_FRUITLESS_ASKS = 3;

/** After this many items in a row without data, the camera counts as unresponsive. */
const MAX_SILENT_ITEMS = 3;

/**
 * So many unrequested records in a row, or bytes of them, count as no progress. What was requested twice comes twice: a
 * batch of 16 photos of 8 MB.
 */
const MAX_UNWANTED = 256;
const MAX_UNWANTED_BYTES: number = 128 * 1024 * 1024;

/**
 * Longest wait for a requested record, ms: one that is sent a few bytes at a time must not last for ever. A photo
 * of 3 MB needs 1.7 kB/s.
 */
const MAX_WITHOUT_RECORD_MS = 30 * 60_000;

/** An item is requested again this often when others arrived and it did not, or when it was damaged. */
const MAX_ITEM_TRIES = 3;

/**
 * Downloads items over one session. The camera sends them in the order of the request, without an end mark, so the
 * transfer counts which have arrived; after a second of silence the missing ones are requested again.
 */
export class Transfer<Item extends ItemId> {
  readonly #session: ArtemisSession;
  readonly #kind: TransferKind;
  readonly #options: TransferOptions;
  readonly #missing = new Map<number, Item>();
  readonly #tries = new Map<number, number>();
  readonly #queue: ItemRecord[] = [];
  readonly #wakeup: Wakeup;
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
  #deviceId: string | undefined;
  #other: CameraError | undefined;
  /** A record's media id was that of the list before, so that another one means another picture. */
  #mediaIdsKnown = false;
  /** Unrequested records since the last requested one. */
  #unwanted = 0;
  #unwantedBytes = 0;

  /** @param stopping called between items: true ends the transfer early, without an error */
  constructor(
    session: ArtemisSession,
    kind: TransferKind,
    items: Iterable<Item>,
    options: TransferOptions & { stopping?(): boolean } = {},
  ) {
    this.#session = session;
    this.#kind = kind;
    this.#options = options;
    this.#deviceId = options.deviceId;
    this.#stopping = options.stopping ?? (() => false);
    this.#wakeup = new Wakeup({ clock: session.clock });
    this.#batchItems = kind.batchItems;
    for (const item of items) this.#missing.set(itemKey(item), item);
  }

  /** Makes the transfer call `stopping` again. */
  wake(): void {
    this.#wakeup.wake();
  }

  /**
   * Yields each item once: its data, or why there is none (`item-missing`, `item-damaged`, `command-refused`,
   * `transfer-stalled`).
   * @throws CameraError `session-closed`, `transfer-stalled` when the camera sends nothing; the signal's reason.
   */
  async *run(): AsyncGenerator<TransferResult<Item>, void, undefined> {
    const session = this.#session;
    const stopReading = session.read(this.#kind.channel, {
      onFrame: (frame) => this.#take(frame),
      onBytes: this.#options.onBytes,
      onClosed: () => this.#wakeup.wake(),
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
      // Items arrive in the order of the request: nothing follows the last one.
      if (key === last && this.#queue.length === 0) break;
    }
    yield* received > 0 ? this.#passedOver(asked, last) : this.#silence(asked);
  }

  #ask(items: readonly Item[]): void {
    this.#askError = undefined;
    this.#quietSince = this.#session.clock.now();
    const ask = ++this.#asks;
    this.#kind.ask(this.#session, items, this.#options.signal).catch((error: unknown) => {
      // Arriving data decides; a late response has no meaning, and silence is detected before the request's time
      // limit.
      if (ask !== this.#asks || (error instanceof CameraError && error.code === 'command-timeout')) return;
      this.#askError = error;
      this.#wakeup.wake();
    });
  }

  /** Returns the next missing item; undefined when none arrived for too long, or the request was refused. */
  async #next(): Promise<ItemRecord | undefined> {
    const session = this.#session;
    using _expecting = session.expectData();
    const waitsSince = session.clock.now();
    for (;;) {
      this.#options.signal?.throwIfAborted();
      const record = this.#queue.shift();
      if (record !== undefined) {
        this.#queuedBytes -= record.data.length;
        if (this.#queuedBytes === 0) this.#setPaused(false);
        // Waiting for the reader does not count as silence of the camera.
        this.#quietSince = session.clock.now();
        if (this.#missing.has(itemKey(record))) return record;
        continue;
      }
      if (this.#other !== undefined) throw this.#other;
      if (session.closed) throw session.closed;
      const isOverdue = session.clock.now() - waitsSince > MAX_WITHOUT_RECORD_MS;
      if (this.#isFlooded || isOverdue) throw this.#stalledError(isOverdue);
      if (this.#askError !== undefined || this.#stopping()) return undefined;
      const quietSince = Math.max(this.#quietSince, session.lastDataAt(this.#kind.channel));
      this.#noteQuiet(quietSince);
      const limitMs = session.suspiciousAfterMs;
      const leftMs = quietSince + limitMs - session.clock.now();
      // While the camera sends nothing the request is not repeated: it may still be under way, and the session detects a loss.
      if (leftMs <= 0 && session.silentMs < limitMs && !this.#isHeldUp(limitMs)) return undefined;
      await this.#wakeup.wait(leftMs > 0 ? leftMs : limitMs, this.#options.signal);
    }
  }

  /** Begins to count bytes that arrive without being delivered: they come after a gap. */
  #noteQuiet(since: number): void {
    if (this.#quiet.since === since) return;
    const { undeliveredBytes, clock } = this.#session;
    this.#quiet = { since, lookedAt: clock.now(), undeliveredBytes, heldUp: 0 };
  }

  /** True while data arrives after a lost packet: a further request would only lengthen the queue. */
  #isHeldUp(limitMs: number): boolean {
    const { undeliveredBytes, clock } = this.#session;
    const quiet = this.#quiet;
    const now = clock.now();
    // A shorter interval would see nothing on a slow path.
    if (now - quiet.lookedAt < limitMs / 2) return true;
    const grownBytes = undeliveredBytes - quiet.undeliveredBytes;
    this.#quiet = { ...quiet, lookedAt: now, undeliveredBytes, heldUp: quiet.heldUp + 1 };
    return grownBytes > HELD_UP_BYTES && quiet.heldUp < MAX_HELD_UP;
  }

  #take(frame: Frame): void {
    const record = this.#kind.decode(frame.body);
    if (!record.ok || !this.#missing.has(itemKey(record.value))) {
      // Otherwise they would count as progress without end.
      this.#unwanted++;
      this.#unwantedBytes += frame.body.length;
      if (this.#isFlooded) this.#wakeup.wake();
      return;
    }
    if (!this.#isOurCamera(record.value)) return;
    this.#unwanted = 0;
    this.#unwantedBytes = 0;
    this.#queue.push(record.value);
    this.#queuedBytes += record.value.data.length;
    if (this.#queuedBytes > MAX_QUEUED_BYTES) this.#setPaused(true);
    this.#wakeup.wake();
  }

  get #isFlooded(): boolean {
    return this.#unwanted > MAX_UNWANTED || this.#unwantedBytes > MAX_UNWANTED_BYTES;
  }

  /** Two cameras of one UID at one address number their pictures alike; only the record tells them apart. */
  #isOurCamera({ deviceId }: ItemRecord): boolean {
    if (deviceId === '') return true;
    this.#deviceId ??= deviceId;
    if (deviceId === this.#deviceId) return true;
    this.#other ??= otherCameraError(this.#deviceId, deviceId);
    this.#wakeup.wake();
    return false;
  }

  /** Numbers come again after the card was formatted; media ids do not. Not every model fills them in. */
  #isListed(item: ItemId & { readonly mediaId?: number }, { mediaId }: ItemRecord): boolean {
    if (!item.mediaId || mediaId === 0) return true;
    if (mediaId === item.mediaId) this.#mediaIdsKnown = true;
    return mediaId === item.mediaId || !this.#mediaIdsKnown;
  }

  #judge(key: number, record: ItemRecord): TransferResult<Item> | undefined {
    const item = this.#missing.get(key)!;
    this.#fruitless = 0;
    this.#silentItems = 0;
    this.#batchItems = this.#kind.batchItems;
    if (record.data.length === 0) return this.#fail(item, 'item-empty', 'The camera sent no data for it.');
    const { maxBytes } = this.#kind;
    if (record.data.length > maxBytes)
      return this.#fail(item, 'item-damaged', `It has ${record.data.length} bytes; at most ${maxBytes} are taken.`);
    if (!this.#isListed(item, record))
      return this.#fail(item, 'item-missing', 'The card has another picture of this number now.');
    if (this.#kind.intact(record)) {
      this.#missing.delete(key);
      return { item, data: record.data };
    }
    return this.#tryAgain(key)
      ? undefined
      : this.#fail(item, 'item-damaged', `Its end check was wrong ${MAX_ITEM_TRIES} times.`);
  }

  /** Others arrived: items that were passed over may not exist. */
  *#passedOver(asked: readonly Item[], last: number): Generator<TransferResult<Item>, void, undefined> {
    if (this.#missing.has(last)) return;
    for (const item of asked) {
      const key = itemKey(item);
      if (!this.#missing.has(key) || this.#tryAgain(key)) continue;
      yield this.#fail(item, 'item-missing', `The camera omitted it ${MAX_ITEM_TRIES} times.`);
    }
  }

  /** Nothing arrived. */
  *#silence(asked: readonly Item[]): Generator<TransferResult<Item>, void, undefined> {
    if (this.#stopping()) return;
    const refusal = this.#askError;
    if (refusal !== undefined && !isRefusal(refusal)) throw refusal;
    const first = asked[0]!;
    if (asked.length > 1) {
      // One item that stops the camera must not block the others.
      if (refusal !== undefined || ++this.#fruitless >= MAX_FRUITLESS_ASKS) this.#batchItems = 1;
    } else if (refusal !== undefined) {
      yield this.#give(first, refusal);
    } else if (!this.#tryAgain(itemKey(first))) {
      yield this.#fail(first, 'transfer-stalled', `The camera did not answer ${MAX_ITEM_TRIES} times.`);
      if (++this.#silentItems >= MAX_SILENT_ITEMS && this.#missing.size > 0) throw this.#stalledError();
    }
  }

  /** Counts an attempt of an item. @returns whether another one is left */
  #tryAgain(key: number): boolean {
    const tries = (this.#tries.get(key) ?? 0) + 1;
    this.#tries.set(key, tries);
    return tries < MAX_ITEM_TRIES;
  }

  #fail(item: Item, code: CameraErrorCode, why: string): TransferResult<Item> {
    const { target } = this.#session;
    const { dirNum, mediaNum } = item;
    const message = `Item ${dirNum}/${mediaNum} was not downloaded. ${why}`;
    return this.#give(item, new CameraError(code, message, { target, details: { dirNum, mediaNum } }));
  }

  #give(item: Item, error: CameraError): TransferResult<Item> {
    this.#missing.delete(itemKey(item));
    return { item, error };
  }

  #stalledError(isOverdue = false): CameraError {
    const { target } = this.#session;
    const left = this.#missing.size;
    const minutes = MAX_WITHOUT_RECORD_MS / 60_000;
    const message = isOverdue
      ? `The camera sent none of the items for ${minutes} minutes; ${left} are missing. Next: restart the camera.`
      : this.#isFlooded
        ? `The camera sends other items than were asked for; ${left} are missing. Next: restart the camera.`
        : `The camera answers but sent none of ${this.#silentItems} items; ${left} more were not asked for. Next: restart the camera.`;
    return new CameraError('transfer-stalled', message, { target, details: { missing: left } });
  }

  #setPaused(paused: boolean): void {
    if (paused === this.#paused) return;
    this.#paused = paused;
    this.#session.carrier.setPaused(this.#kind.channel, paused);
  }
}

/** @returns the error for a camera that answers in place of another one */
export function otherCameraError(expected: string, found: string): CameraError {
  const message = `Camera ${found} answers where camera ${expected} was connected; nothing of it was saved. Next: connect to the right one.`;
  return new CameraError('other-camera', message, { details: { expected, found } });
}

function isRefusal(error: unknown): error is CameraError {
  return error instanceof CameraError && error.code === 'command-refused';
}
