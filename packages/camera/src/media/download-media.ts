import { type Clock, SystemClock } from '@towpath/core';
import { CameraError, type CameraErrorCode } from '../artemis/camera-error.ts';
import { FileType, type MediaItem } from '../artemis/media-item.ts';
import type { TransferOptions, TransferResult } from '../client/transfer.ts';
import type { MediaLibrary } from './media-library.ts';
import type { MediaSource } from './media-source.ts';
import { recordVideo } from './record-video.ts';

/** What is happening in {@link downloadMedia}. */
export type DownloadEvent =
  /** The list was read: `wanted` of its items will be fetched. */
  | { readonly type: 'listed'; readonly listed: number; readonly present: number; readonly wanted: number }
  /** An item is on disk. */
  | { readonly type: 'saved'; readonly item: MediaItem; readonly path: string; readonly progress: DownloadProgress }
  /** An item could not be had. */
  | {
      readonly type: 'failed';
      readonly item: MediaItem;
      readonly error: CameraError;
      readonly progress: DownloadProgress;
    }
  /** Bytes have come in; at most every 200 ms. */
  | { readonly type: 'bytes'; readonly progress: DownloadProgress };

export interface DownloadProgress {
  /** Items saved or failed. */
  readonly done: number;
  readonly wanted: number;
  /** Received so far, headers and repeated items included. */
  readonly bytes: number;
  /** Over the last second or so. */
  readonly bytesPerSecond: number;
}

export interface DownloadMediaOptions {
  client: MediaSource;
  library: MediaLibrary;
  clock?: Clock;
  /** @default 'files' */
  what?: 'files' | 'thumbnails';
  /** Only items taken at this moment or later: seconds of the camera's local wall time, counted as if they were UTC. */
  since?: number;
  /** Leave out what was ever saved here, also when its file is gone. Without it, missing and incomplete files come again. */
  newOnly?: boolean;
  /** At most so many, newest number first. */
  limit?: number;
  /** Any further choice. */
  select?(item: MediaItem): boolean;
  onEvent?(event: DownloadEvent): void;
  signal?: AbortSignal;
}

/** What came of it. */
export interface DownloadSummary {
  /** Items on the card. */
  readonly listed: number;
  /** Chosen items that were complete on disk already. */
  readonly present: number;
  readonly saved: number;
  readonly failed: readonly { readonly item: MediaItem; readonly error: CameraError }[];
  /** Of the saved items. */
  readonly bytes: number;
  readonly elapsedMs: number;
}

const BYTES_EVENT_INTERVAL_MS = 200;
const RATE_WINDOW_MS = 1000;

/** Saves under way at once: enough to hide the disk's latency behind the network. */
const MAX_SAVES = 4;

/**
 * Fetches pictures and videos, or their thumbnails, to disk. What is there already is not fetched again, so a download that
 * was interrupted goes on where it was.
 * @throws CameraError `disk-full`, `permission-denied`, `disk-failed`; as `CameraClient.mediaList` and `download`; the
 *   signal's reason. What was saved before stays.
 */
export async function downloadMedia(options: DownloadMediaOptions): Promise<DownloadSummary> {
  const { client, library, onEvent, what = 'files' } = options;
  const clock = options.clock ?? new SystemClock();
  const startedAt = clock.now();
  const { listed, present, wanted } = await choose(options);
  onEvent?.({ type: 'listed', listed, present, wanted: wanted.length });
  const job = new Job(options, new Meter(clock, wanted.length, onEvent));
  const isPhoto = ({ fileType }: MediaItem) => fileType === FileType.photo;
  try {
    if (what === 'thumbnails') await job.transfer(client.thumbnails(wanted, job.transferOptions), 'saveThumbnail');
    else {
      await job.transfer(client.download(wanted.filter(isPhoto), job.transferOptions), 'save');
      for (const item of wanted) if (!isPhoto(item)) await job.video(item);
    }
    await job.saves.all();
  } finally {
    await job.saves.settled();
    await library.flush();
  }
  const { saved, failed, bytes } = job;
  return { listed, present, saved, failed, bytes, elapsedMs: Math.round(clock.now() - startedAt) };
}

/** One run of {@link downloadMedia}: what it has saved, and what it could not have. */
class Job {
  readonly saves: Saves = new Saves();
  readonly failed: { item: MediaItem; error: CameraError }[] = [];
  saved = 0;
  bytes = 0;
  readonly transferOptions: TransferOptions;
  readonly #options: DownloadMediaOptions;
  readonly #meter: Meter;

  constructor(options: DownloadMediaOptions, meter: Meter) {
    this.#options = options;
    this.#meter = meter;
    this.transferOptions = { signal: options.signal, onBytes: (count) => meter.add(count) };
  }

  async transfer(results: AsyncIterable<TransferResult<MediaItem>>, save: 'save' | 'saveThumbnail'): Promise<void> {
    const { library } = this.#options;
    for await (const { item, data, error } of results) {
      if (error) this.#failed(item, error);
      else await this.saves.add(library[save](item, data).then((path) => this.#saved(item, path, data.length)));
    }
  }

  /** Videos cannot be downloaded, only played. */
  async video(item: MediaItem): Promise<void> {
    const { client, library } = this.#options;
    try {
      const recorded = await recordVideo(client, item, this.transferOptions);
      const save = library.saveVideo(item, recorded);
      await this.saves.add(save.then((path) => this.#saved(item, path, recorded.video.length)));
    } catch (error) {
      if (!(error instanceof CameraError) || !OF_ONE_ITEM.has(error.code)) throw error;
      this.#failed(item, error);
    }
  }

  #saved(item: MediaItem, path: string, bytes: number): void {
    this.saved++;
    this.bytes += bytes;
    this.#options.onEvent?.({ type: 'saved', item, path, progress: this.#meter.itemDone() });
  }

  #failed(item: MediaItem, error: CameraError): void {
    this.failed.push({ item, error });
    this.#options.onEvent?.({ type: 'failed', item, error, progress: this.#meter.itemDone() });
  }
}

/** Failures that say nothing about the other items. */
const OF_ONE_ITEM: ReadonlySet<CameraErrorCode> = new Set<CameraErrorCode>([
  'command-refused',
  'command-timeout',
  'bad-response',
  'item-missing',
  'item-damaged',
  'session-closed',
  'transfer-stalled',
]);

async function choose(
  options: DownloadMediaOptions,
): Promise<{ listed: number; present: number; wanted: MediaItem[] }> {
  const { client, library, signal, since, newOnly, limit = Number.POSITIVE_INFINITY, select, what } = options;
  const wanted: MediaItem[] = [];
  let listed = 0;
  let chosen = 0;
  let present = 0;
  for await (const item of client.mediaList({ signal })) {
    listed++;
    if (since !== undefined && item.mediaTime < since) continue;
    if (chosen >= limit || select?.(item) === false) continue;
    chosen++;
    const here =
      (newOnly === true && library.knows(item)) ||
      (await (what === 'thumbnails' ? library.holdsThumbnail(item) : library.holds(item)));
    if (here) present++;
    else wanted.push(item);
  }
  return { listed, present, wanted };
}

/** A few writes at a time; the first failure stops the rest. */
class Saves {
  readonly #running = new Set<Promise<void>>();
  #failure: { error: unknown } | undefined;

  /** Starts minding `save`; resolves when there is room for another. @throws the first failure of any save */
  async add(save: Promise<void>): Promise<void> {
    const minded = save
      .catch((error: unknown) => {
        this.#failure ??= { error };
      })
      .finally(() => this.#running.delete(minded));
    this.#running.add(minded);
    if (this.#running.size >= MAX_SAVES) await Promise.race(this.#running);
    this.#check();
  }

  async all(): Promise<void> {
    await this.settled();
    this.#check();
  }

  async settled(): Promise<void> {
    await Promise.all(this.#running);
  }

  #check(): void {
    if (this.#failure) throw this.#failure.error;
  }
}

/** Counts bytes and items, and tells of them now and then. */
class Meter {
  readonly #clock: Clock;
  readonly #wanted: number;
  readonly #onEvent: ((event: DownloadEvent) => void) | undefined;
  #done = 0;
  #bytes = 0;
  #toldAt = Number.NEGATIVE_INFINITY;
  #windowAt: number;
  #windowBytes = 0;
  #rate = 0;

  constructor(clock: Clock, wanted: number, onEvent: ((event: DownloadEvent) => void) | undefined) {
    this.#clock = clock;
    this.#wanted = wanted;
    this.#onEvent = onEvent;
    this.#windowAt = clock.now();
  }

  add(count: number): void {
    this.#bytes += count;
    this.#windowBytes += count;
    const now = this.#clock.now();
    if (now - this.#toldAt < BYTES_EVENT_INTERVAL_MS) return;
    this.#toldAt = now;
    this.#onEvent?.({ type: 'bytes', progress: this.#progress() });
  }

  itemDone(): DownloadProgress {
    this.#done++;
    return this.#progress();
  }

  #progress(): DownloadProgress {
    const elapsedMs = this.#clock.now() - this.#windowAt;
    const current = elapsedMs > 0 ? (1000 * this.#windowBytes) / elapsedMs : 0;
    if (elapsedMs >= RATE_WINDOW_MS) {
      this.#rate = current;
      this.#windowAt = this.#clock.now();
      this.#windowBytes = 0;
    }
    const bytesPerSecond = Math.round(this.#rate || current);
    return { done: this.#done, wanted: this.#wanted, bytes: this.#bytes, bytesPerSecond };
  }
}
