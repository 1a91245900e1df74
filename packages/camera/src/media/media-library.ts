import { rename, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type Clock, errorCode, type Log, makeFolder, readRegular, silentLog, SystemClock } from '@towpath/core';
import type { MediaItem } from '../artemis/media-item.ts';
import { diskError, replaceFile, syncFolder } from '../store/disk.ts';
import { CameraError } from '../artemis/camera-error.ts';
import { captureTime } from './capture-time.ts';
import { fileName } from './file-name.ts';
import { entryKey, formatIndex, INDEX_NAME, type IndexEntry, MAX_INDEX_BYTES, parseIndex } from './media-index.ts';
import type { RecordedVideo } from './record-video.ts';

export interface MediaLibraryComponents {
  /** @default that of the system */
  clock?: Clock | undefined;
  log?: Log | undefined;
}

export interface MediaLibraryOptions {
  /** Created if it does not exist. */
  folder: string;
  /** Zone of the camera's clock, an IANA name or `±HH:MM`. @default the machine's own */
  timeZone?: string | undefined;
}

interface PutOptions {
  /** Its name in the index. */
  own: string | undefined;
  subfolder?: string;
  extension?: string;
}

/** An item without data is asked for again after this long, ms: the camera may have been writing it. */
const EMPTY_AGAIN_MS = 24 * 3_600_000;

const THUMBNAIL_FOLDER = 'thumbnails';

/** Other users may read pictures. */
const FILE_MODE = 0o644;

/** Shortest interval between writes of the index, ms: it lists all items each time. */
const INDEX_INTERVAL_MS = 1000;

/**
 * A folder of pictures and videos with an index of the camera's data. Files get their names only when they
 * are complete. Existing files are not overwritten.
 */
export class MediaLibrary implements AsyncDisposable {
  readonly folder: string;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #timeZone: string | undefined;
  #camera: string | undefined;
  #isNew = true;
  readonly #entries = new Map<string, IndexEntry>();
  /** Names that a running save has chosen. */
  readonly #taken = new Set<string>();
  #dirty = false;
  #indexedAt = Number.NEGATIVE_INFINITY;
  #indexing: Promise<void> = Promise.resolve();

  private constructor({ clock, log }: MediaLibraryComponents, { folder, timeZone }: MediaLibraryOptions) {
    this.#timeZone = timeZone;
    this.folder = folder;
    this.#clock = clock ?? new SystemClock();
    this.#log = log ?? silentLog;
  }

  /**
   * Opens a folder and reads its index. A damaged index is moved away; its files are recognised when they are
   * downloaded again.
   * @throws CameraError `disk-full`, `permission-denied`, `disk-failed`
   */
  static async open(components: MediaLibraryComponents, options: MediaLibraryOptions): Promise<MediaLibrary> {
    const library = new MediaLibrary(components, options);
    try {
      await makeFolder(join(options.folder, THUMBNAIL_FOLDER));
      await library.#load();
    } catch (error) {
      throw diskError(error, options.folder);
    }
    return library;
  }

  /** Returns the entries of the index, in no particular order. */
  get entries(): IterableIterator<IndexEntry> {
    return this.#entries.values();
  }

  /** What the index says of an item. */
  entry(item: MediaItem): IndexEntry | undefined {
    return this.#entries.get(entryKey(item));
  }

  /** True when the item was ever saved here, even if its file was removed. */
  knows(item: MediaItem): boolean {
    return this.entry(item)?.file !== undefined;
  }

  /** True when the item's file exists with its verified size. */
  async holds(item: MediaItem): Promise<boolean> {
    const entry = this.entry(item);
    return entry?.file !== undefined && (await this.#size(entry.file)) === entry.bytes;
  }

  /** As {@link holds}, and the file lacks nothing: the one on the card is not needed any more. */
  async holdsAll(item: MediaItem): Promise<boolean> {
    return this.entry(item)?.lostFrames === undefined && (await this.holds(item));
  }

  /** True when this folder had no index when it was opened. */
  get isNew(): boolean {
    return this.#isNew;
  }

  /** Device id of the camera whose items the folder holds; undefined until {@link claim}. */
  get camera(): string | undefined {
    return this.#camera;
  }

  /**
   * Binds the folder to a camera: items of two cameras have the same numbers and must not be mixed.
   *
   * @param deviceId `devId` of the device info
   * @throws CameraError `other-camera` when the folder belongs to another one
   */
  claim(deviceId: string): void {
    if (this.#camera !== undefined && this.#camera !== deviceId) {
      throw new CameraError(
        'other-camera',
        `${this.folder} holds the pictures of camera ${this.#camera}, and this is camera ${deviceId}. Next: choose another folder.`,
        { details: { folder: this.folder, camera: this.#camera, deviceId } },
      );
    }
    if (this.#camera === undefined) this.#dirty = true;
    this.#camera = deviceId;
  }

  /** Marks items as known and not wanted: they were on the card before the folder was first used. */
  setBaseline(items: Iterable<MediaItem>): void {
    for (const item of items) if (!this.#entries.has(entryKey(item))) this.#note(item, { baseline: true });
  }

  /** True when the item was marked by {@link setBaseline} and never saved. */
  isBaseline(item: MediaItem): boolean {
    const entry = this.entry(item);
    return entry?.baseline === true && entry.file === undefined;
  }

  /** Notes that the camera sent the item without data. */
  noteEmpty(item: MediaItem): void {
    this.#note(item, { emptyAt: new Date(this.#clock.wallTime()).toISOString() });
  }

  /** True when the camera sent the item without data within the last day. Later it is asked for again: it may be complete. */
  isEmpty(item: MediaItem): boolean {
    const emptyAt = Date.parse(this.entry(item)?.emptyAt ?? '');
    return this.#clock.wallTime() - emptyAt < EMPTY_AGAIN_MS;
  }

  /** True when the item's thumbnail exists. */
  async holdsThumbnail(item: MediaItem): Promise<boolean> {
    const entry = this.entry(item);
    return entry?.thumbnail !== undefined && (await this.#size(join(THUMBNAIL_FOLDER, entry.thumbnail))) !== undefined;
  }

  /**
   * Saves verified data of an item and adds it to the index.
   * @returns the path of the file
   * @throws CameraError `disk-full`, `permission-denied`, `disk-failed`
   */
  async save(item: MediaItem, data: Uint8Array): Promise<string> {
    const file = await this.#put(item, data, { own: this.entry(item)?.file });
    this.#note(item, { file, bytes: data.length, savedAt: new Date(this.#clock.wallTime()).toISOString() });
    await this.#indexSoon();
    return join(this.folder, file);
  }

  /** Saves a video, and its sound beside it when the container cannot hold it. Returns and throws as {@link save}. */
  async saveVideo(item: MediaItem, { video, extension, audio, lostFrames }: RecordedVideo): Promise<string> {
    const entry = this.entry(item);
    // The sound first: an item counts as saved with its picture.
    if (audio) {
      const options = { own: entry?.audio, extension: audio.extension };
      this.#note(item, { audio: await this.#put(item, audio.data, options) });
    }
    const file = await this.#put(item, video, { own: entry?.file, extension });
    const savedAt = new Date(this.#clock.wallTime()).toISOString();
    this.#note(item, { file, bytes: video.length, savedAt, lostFrames: lostFrames || undefined });
    await this.#indexSoon();
    return join(this.folder, file);
  }

  /** Saves the thumbnail of an item in `thumbnails`. Returns and throws as {@link save}. */
  async saveThumbnail(item: MediaItem, data: Uint8Array): Promise<string> {
    const own = this.entry(item)?.thumbnail;
    const thumbnail = await this.#put(item, data, { own, subfolder: THUMBNAIL_FOLDER, extension: 'jpg' });
    this.#note(item, { thumbnail });
    await this.#indexSoon();
    return join(this.folder, THUMBNAIL_FOLDER, thumbnail);
  }

  /** Writes the index if it has changed, and syncs the folder. */
  async flush(): Promise<void> {
    // A failed write was told to whoever began it; the index is still to be written, perhaps with space again.
    await this.#indexing.catch(() => {});
    if (!this.#dirty) return;
    this.#indexing = this.#writeIndex();
    await this.#indexing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.flush();
  }

  async #load(): Promise<void> {
    const path = join(this.folder, INDEX_NAME);
    let text: string;
    try {
      text = (await readRegular(path, { maxBytes: MAX_INDEX_BYTES })).toString();
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return;
      throw error;
    }
    this.#isNew = false;
    const index = parseIndex(text);
    if (index === undefined) {
      this.#log.warn('The index is damaged; starting a new one', { path });
      await rename(path, `${path}.damaged`);
      return;
    }
    this.#camera = index.camera;
    for (const entry of index.entries) this.#entries.set(entryKey(entry), entry);
  }

  #note(item: MediaItem, changes: Partial<IndexEntry>): void {
    const { fileType, dirNum, mediaNum, durationMs, mediaId, mediaTime } = item;
    const key = entryKey(item);
    const taken = captureTime(mediaTime, this.#timeZone);
    const said = { fileType, dirNum, mediaNum, durationMs, mediaId, mediaTime, ...(taken && { takenAt: taken.iso }) };
    this.#entries.set(key, { ...this.#entries.get(key), ...said, ...changes });
    this.#dirty = true;
  }

  async #indexSoon(): Promise<void> {
    if (this.#clock.now() - this.#indexedAt < INDEX_INTERVAL_MS) return;
    await this.flush();
  }

  async #writeIndex(): Promise<void> {
    this.#dirty = false;
    this.#indexedAt = this.#clock.now();
    try {
      await syncFolder(join(this.folder, THUMBNAIL_FOLDER));
      await replaceFile(join(this.folder, INDEX_NAME), formatIndex(this.#camera, this.#entries.values()), {
        mode: FILE_MODE,
        syncFolder: true,
      });
    } catch (error) {
      this.#dirty = true;
      throw diskError(error, join(this.folder, INDEX_NAME));
    }
  }

  /** Writes `data` under its previous name, its usual one, or one with its id when that belongs to another item. */
  async #put(item: MediaItem, data: Uint8Array, options: PutOptions): Promise<string> {
    const { own, subfolder = '', extension } = options;
    const taken = captureTime(item.mediaTime, this.#timeZone);
    const name = { extension, taken: taken?.compact };
    const usual = [fileName(item, name), fileName(item, { ...name, mediaId: item.mediaId })];
    const names = own === undefined ? usual : [own];
    for (const [n, candidate] of names.entries()) {
      const relative = join(subfolder, candidate);
      const path = join(this.folder, relative);
      const last = n === names.length - 1;
      // When two saves need the same name, the first gets it; the other takes the one with its id.
      if (this.#taken.has(relative) && !last) continue;
      this.#taken.add(relative);
      try {
        if (!last && (await this.#belongsToAnother(path, data))) continue;
        await replaceFile(path, data, { mode: FILE_MODE, modifiedAt: taken?.epochMs });
        return candidate;
      } finally {
        this.#taken.delete(relative);
      }
    }
    throw new TypeError('unreachable: the last name is always free');
  }

  /** A file of this name with other content: another picture, or a file of the user. */
  async #belongsToAnother(path: string, data: Uint8Array): Promise<boolean> {
    try {
      return Buffer.compare(await readRegular(path, { maxBytes: Number.POSITIVE_INFINITY }), data) !== 0;
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return false;
      throw diskError(error, path);
    }
  }

  async #size(relative: string): Promise<number | undefined> {
    try {
      const found = await stat(join(this.folder, relative));
      return found.isFile() ? found.size : undefined;
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return undefined;
      throw diskError(error, join(this.folder, relative));
    }
  }
}
