import { type Clock, SystemClock } from '@towpath/core';
import { CameraError, type CameraErrorCode } from '../artemis/camera-error.ts';
import { FileType, itemKey, type MediaItem } from '../artemis/media-item.ts';
import { otherCameraError, type TransferOptions, type TransferResult } from '../client/transfer.ts';
import type { MediaLibrary } from './media-library.ts';
import type { MediaSource } from './media-source.ts';
import { recordVideo } from './record-video.ts';

/** Events of {@link downloadMedia}. */
export type DownloadEvent =
  /** The list was read: `wanted` of its items will be downloaded. */
  | { readonly type: 'listed'; readonly listed: number; readonly present: number; readonly wanted: number }
  /** An item is on disk. */
  | {
      readonly type: 'saved';
      readonly item: MediaItem;
      readonly path: string;
      /** Frames that a video lacks; absent when it has all. */
      readonly lostFrames?: number;
      readonly progress: DownloadProgress;
    }
  /** An item could not be downloaded. */
  | {
      readonly type: 'failed';
      readonly item: MediaItem;
      readonly error: CameraError;
      readonly progress: DownloadProgress;
    }
  /** Bytes have arrived; at most every 200 ms. */
  | { readonly type: 'bytes'; readonly progress: DownloadProgress };

export interface DownloadProgress {
  /** Items saved or failed. */
  readonly done: number;
  readonly wanted: number;
  /** Received so far, including headers and repeated items. */
  readonly bytes: number;
  /** Over the last second or so. */
  readonly bytesPerSecond: number;
}

/** What names an item for people: the folder's number and its own. */
export type ItemName = Pick<MediaItem, 'dirNum' | 'mediaNum'>;

export interface DownloadMediaOptions {
  client: MediaSource;
  library: MediaLibrary;
  clock?: Clock;
  /** @default 'files' */
  what?: 'files' | 'thumbnails';
  /** Only items taken at this time or later: seconds of the camera's local wall time, counted as if they were UTC. */
  since?: number;
  /**
   * Skip items that were ever saved here, also when the file was removed. Otherwise missing and incomplete files are
   * downloaded again.
   */
  newOnly?: boolean;
  /** At most this many, newest number first. */
  limit?: number;
  /** Further filter. */
  select?(item: MediaItem): boolean;
  /** Items of an earlier listing to choose from. @default those on the card */
  among?: Iterable<MediaItem>;
  /** Items that must be among the chosen ones: those that the card does not have are listed in the summary. */
  items?: readonly ItemName[];
  onEvent?(event: DownloadEvent): void;
  signal?: AbortSignal | undefined;
}

/** A video that was saved and lacks frames: they came damaged, or followed a damaged one. */
export interface DamagedVideo {
  readonly item: MediaItem;
  readonly lostFrames: number;
}

/** Result of a download. */
export interface DownloadSummary {
  /** Items on the card. */
  readonly listed: number;
  /** Selected items that were complete on disk already. */
  readonly present: number;
  readonly saved: number;
  readonly failed: readonly { readonly item: MediaItem; readonly error: CameraError }[];
  /** Videos that were saved without some of their frames. */
  readonly damaged: readonly DamagedVideo[];
  /** Items of {@link DownloadMediaOptions.items} that the card does not have. */
  readonly missing: readonly ItemName[];
  /** Entries of the card's list that could not be read: they exist, and were not downloaded. */
  readonly unreadable: number;
  /** Selected items that the camera sent without data within the last day, and that were not requested again. */
  readonly empty: number;
  /** Of the saved items. */
  readonly bytes: number;
  readonly elapsedMs: number;
}

const BYTES_EVENT_INTERVAL_MS = 200;
const RATE_WINDOW_MS = 1000;

/** Concurrent saves: enough to hide the disk's latency. */
const MAX_SAVES = 4;

/**
 * Downloads pictures and videos, or their thumbnails, to disk. Completed files are never fetched again, so that an
 * interrupted download can be resumed.
 * @throws CameraError `disk-full`, `permission-denied`, `disk-failed`; `other-camera` when the folder holds the items of
 *   another camera, or when another one answers in the middle; as `CameraClient.mediaList` and `download`; the
 * signal's reason. Files saved before are kept.
 */
export async function downloadMedia(options: DownloadMediaOptions): Promise<DownloadSummary> {
  const { client, library, onEvent, what = 'files' } = options;
  const clock = options.clock ?? new SystemClock();
  const startedAt = clock.now();
  const deviceId = await identify(options);
  const { listed, present, empty, unreadable, missing, wanted } = await choose(options);
  onEvent?.({ type: 'listed', listed, present, wanted: wanted.length });
  const job = new Job(
    { client, library, clock, meter: new Meter(clock, wanted.length, onEvent) },
    { ...options, deviceId },
  );
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
  const { saved, failed, damaged, bytes } = job;
  return {
    listed,
    present,
    saved,
    failed,
    damaged,
    missing,
    unreadable,
    empty,
    bytes,
    elapsedMs: Math.round(clock.now() - startedAt),
  };
}

interface JobComponents {
  client: MediaSource;
  library: MediaLibrary;
  clock: Clock;
  meter: Meter;
}

interface JobOptions {
  deviceId: string | undefined;
  onEvent?(event: DownloadEvent): void;
  signal?: AbortSignal | undefined;
}

/** One run of {@link downloadMedia}: saved items and failures. */
class Job {
  readonly saves: Saves = new Saves();
  readonly failed: { item: MediaItem; error: CameraError }[] = [];
  readonly damaged: DamagedVideo[] = [];
  saved = 0;
  bytes = 0;
  readonly transferOptions: TransferOptions;
  readonly #client: MediaSource;
  readonly #library: MediaLibrary;
  readonly #clock: Clock;
  readonly #meter: Meter;
  readonly #options: JobOptions;

  constructor({ client, library, clock, meter }: JobComponents, options: JobOptions) {
    const { deviceId } = options;
    this.#client = client;
    this.#library = library;
    this.#clock = clock;
    this.#meter = meter;
    this.#options = options;
    this.transferOptions = {
      signal: options.signal,
      onBytes: (count) => meter.add(count),
      ...(deviceId !== undefined && { deviceId }),
    };
  }

  async transfer(results: AsyncIterable<TransferResult<MediaItem>>, save: 'save' | 'saveThumbnail'): Promise<void> {
    const library = this.#library;
    for await (const { item, data, error } of results) {
      if (error) this.#failed(item, error);
      else await this.saves.add(library[save](item, data).then((path) => this.#saved(item, path, data.length)));
    }
  }

  /** Videos cannot be downloaded, only played. */
  async video(item: MediaItem): Promise<void> {
    const { deviceId } = this.#options;
    try {
      const { signal, onBytes } = this.transferOptions;
      const recorded = await recordVideo(this.#client, item, {
        signal,
        clock: this.#clock,
        ...(onBytes && { onBytes }),
      });
      // Frames carry no device id, and the session may be another one than when the recording was listed.
      if (deviceId !== undefined) checkIdentity(deviceId, await deviceIdOf(this.#client, signal));
      const save = this.#library.saveVideo(item, recorded);
      await this.saves.add(save.then((path) => this.#saved(item, path, recorded.video.length, recorded.lostFrames)));
    } catch (error) {
      if (!(error instanceof CameraError) || !OF_ONE_ITEM.has(error.code)) throw error;
      this.#failed(item, error);
    }
  }

  #saved(item: MediaItem, path: string, bytes: number, lostFrames = 0): void {
    this.saved++;
    this.bytes += bytes;
    if (lostFrames > 0) this.damaged.push({ item, lostFrames });
    const lost = lostFrames > 0 && { lostFrames };
    this.#options.onEvent?.({ type: 'saved', item, path, ...lost, progress: this.#meter.itemDone() });
  }

  #failed(item: MediaItem, error: CameraError): void {
    this.failed.push({ item, error });
    if (error.code === 'item-empty') this.#library.noteEmpty(item);
    this.#options.onEvent?.({ type: 'failed', item, error, progress: this.#meter.itemDone() });
  }
}

/** Failures that concern one item only. */
const OF_ONE_ITEM: ReadonlySet<CameraErrorCode> = new Set<CameraErrorCode>([
  'command-refused',
  'command-timeout',
  'bad-response',
  'item-missing',
  'item-empty',
  'item-damaged',
  'session-closed',
  'transfer-stalled',
]);

/** What {@link choose} found. */
interface Choice extends Pick<DownloadSummary, 'listed' | 'present' | 'empty' | 'unreadable' | 'missing'> {
  readonly wanted: readonly MediaItem[];
}

/** Binds the folder to the camera. @returns its device id; undefined when it does not tell one */
async function identify(options: DownloadMediaOptions): Promise<string | undefined> {
  const deviceId = await deviceIdOf(options.client, options.signal);
  if (deviceId !== undefined) options.library.claim(deviceId);
  return deviceId;
}

async function deviceIdOf(client: MediaSource, signal: AbortSignal | undefined): Promise<string | undefined> {
  try {
    return (await client.deviceInfo({ signal })).devId || undefined;
  } catch (error) {
    // Some models do not answer; then the records' own ids still have to be the same.
    const silent = error instanceof CameraError && SILENT_ABOUT_ITSELF.has(error.code);
    if (silent) return undefined;
    throw error;
  }
}

const SILENT_ABOUT_ITSELF: ReadonlySet<CameraErrorCode> = new Set<CameraErrorCode>([
  'command-refused',
  'command-timeout',
  'bad-response',
]);

function checkIdentity(expected: string, found: string | undefined): void {
  if (found !== undefined && found !== expected) throw otherCameraError(expected, found);
}

async function choose(options: DownloadMediaOptions): Promise<Choice> {
  const { client, library, signal, since, newOnly, limit = Number.POSITIVE_INFINITY, select, what } = options;
  const wanted: MediaItem[] = [];
  const missing = new Map((options.items ?? []).map((item) => [itemKey(item), item]));
  const isNamed = (item: MediaItem) => options.items === undefined || missing.delete(itemKey(item));
  let unreadable = 0;
  let empty = 0;
  let listed = 0;
  let chosen = 0;
  let present = 0;
  const onUnreadable = (count: number) => {
    unreadable = count;
  };
  for await (const item of options.among ?? client.mediaList({ signal, onUnreadable })) {
    listed++;
    if (!isNamed(item)) continue;
    if (since !== undefined && item.mediaTime < since) continue;
    if (chosen >= limit || select?.(item) === false) continue;
    chosen++;
    const here =
      (newOnly === true && library.knows(item)) ||
      (await (what === 'thumbnails' ? library.holdsThumbnail(item) : library.holds(item)));
    if (here) present++;
    else if (options.items === undefined && library.isEmpty(item)) empty++;
    else wanted.push(item);
  }
  return { listed, present, empty, unreadable, missing: [...missing.values()], wanted };
}

/** A few concurrent writes; the first failure stops the others. */
class Saves {
  readonly #running = new Set<Promise<void>>();
  #failure: { error: unknown } | undefined;

  /** Adds `save`; resolves when there is room for another. @throws the first failure of any save */
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

/** Counts bytes and items, and reports them at intervals. */
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
