import { mkdir, readFile, rename, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type Clock, errorCode, type Log, silentLog, SystemClock } from '@towpath/core';
import type { MediaItem } from '../artemis/media-item.ts';
import { diskError, replaceFile, syncFolder } from '../store/disk.ts';
import { fileName } from './file-name.ts';
import { entryKey, formatIndex, INDEX_NAME, type IndexEntry, parseIndex } from './media-index.ts';
import type { RecordedVideo } from './record-video.ts';

export interface MediaLibraryOptions {
  /** Made when it does not exist. */
  folder: string;
  clock?: Clock;
  log?: Log;
}

interface PutOptions {
  /** The name that the index has for it already. */
  own: string | undefined;
  subfolder?: string;
  extension?: string;
}

const THUMBNAIL_FOLDER = 'thumbnails';

/** Others on the machine may look at pictures, as at any file. */
const FILE_MODE = 0o644;

/** The index is written at most this often while items come in, ms: it names all items each time. */
const INDEX_INTERVAL_MS = 1000;

/**
 * A folder of pictures and videos with an index of what the camera said of each. Files appear under their names only when
 * they are whole. Nothing that is already in the folder is overwritten.
 */
export class MediaLibrary implements AsyncDisposable {
  readonly folder: string;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #entries = new Map<string, IndexEntry>();
  /** Names that a save has chosen and that may not exist yet. */
  readonly #taken = new Set<string>();
  #dirty = false;
  #indexedAt = Number.NEGATIVE_INFINITY;
  #indexing: Promise<void> = Promise.resolve();

  private constructor({ folder, clock, log }: MediaLibraryOptions) {
    this.folder = folder;
    this.#clock = clock ?? new SystemClock();
    this.#log = log ?? silentLog;
  }

  /**
   * Opens a folder and reads its index. A damaged index is set aside; the files it named are recognised when they come
   * again.
   * @throws CameraError `disk-full`, `permission-denied`, `disk-failed`
   */
  static async open(options: MediaLibraryOptions): Promise<MediaLibrary> {
    const library = new MediaLibrary(options);
    try {
      await mkdir(join(options.folder, THUMBNAIL_FOLDER), { recursive: true });
      await library.#load();
    } catch (error) {
      throw diskError(error, options.folder);
    }
    return library;
  }

  /** What the index says, in no particular order. */
  get entries(): IterableIterator<IndexEntry> {
    return this.#entries.values();
  }

  /** True when the item was ever saved here, even if its file is gone by now. */
  knows(item: MediaItem): boolean {
    return this.#entry(item)?.file !== undefined;
  }

  /** True when the item's file is here with the size that it was verified with. */
  async holds(item: MediaItem): Promise<boolean> {
    const entry = this.#entry(item);
    return entry?.file !== undefined && (await this.#size(entry.file)) === entry.bytes;
  }

  /** True when the item's thumbnail is here. */
  async holdsThumbnail(item: MediaItem): Promise<boolean> {
    const entry = this.#entry(item);
    return entry?.thumbnail !== undefined && (await this.#size(join(THUMBNAIL_FOLDER, entry.thumbnail))) !== undefined;
  }

  /**
   * Saves verified data of an item and notes it in the index.
   * @returns the path of the file
   * @throws CameraError `disk-full`, `permission-denied`, `disk-failed`
   */
  async save(item: MediaItem, data: Uint8Array): Promise<string> {
    const file = await this.#put(item, data, { own: this.#entry(item)?.file });
    this.#note(item, { file, bytes: data.length, savedAt: new Date(this.#clock.wallTime()).toISOString() });
    await this.#indexSoon();
    return join(this.folder, file);
  }

  /** Saves a video as its streams: `100_0005.h264`, `100_0005.aac`. Returns and throws as {@link save}. */
  async saveVideo(item: MediaItem, { video, videoKind, audio }: RecordedVideo): Promise<string> {
    const entry = this.#entry(item);
    // The sound first: an item counts as saved with its picture.
    if (audio) this.#note(item, { audio: await this.#put(item, audio, { own: entry?.audio, extension: 'aac' }) });
    const file = await this.#put(item, video, { own: entry?.file, extension: videoKind });
    this.#note(item, { file, bytes: video.length, savedAt: new Date(this.#clock.wallTime()).toISOString() });
    await this.#indexSoon();
    return join(this.folder, file);
  }

  /** Saves the small picture of an item in `thumbnails`. Returns and throws as {@link save}. */
  async saveThumbnail(item: MediaItem, data: Uint8Array): Promise<string> {
    const own = this.#entry(item)?.thumbnail;
    const thumbnail = await this.#put(item, data, { own, subfolder: THUMBNAIL_FOLDER, extension: 'jpg' });
    this.#note(item, { thumbnail });
    await this.#indexSoon();
    return join(this.folder, THUMBNAIL_FOLDER, thumbnail);
  }

  /** Writes the index if it has changed, and makes the names of all files survive a power cut. */
  async flush(): Promise<void> {
    await this.#indexing;
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
      text = await readFile(path, 'utf8');
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return;
      throw error;
    }
    const entries = parseIndex(text);
    if (entries === undefined) {
      this.#log.warn('The index is damaged; beginning a new one', { path });
      await rename(path, `${path}.damaged`);
      return;
    }
    for (const entry of entries) this.#entries.set(entryKey(entry), entry);
  }

  #note(item: MediaItem, changes: Partial<IndexEntry>): void {
    const { fileType, dirNum, mediaNum, durationMs, mediaId, mediaTime } = item;
    const key = entryKey(item);
    const said = { fileType, dirNum, mediaNum, durationMs, mediaId, mediaTime };
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
      await replaceFile(join(this.folder, INDEX_NAME), formatIndex(this.#entries.values()), {
        mode: FILE_MODE,
        syncFolder: true,
      });
    } catch (error) {
      this.#dirty = true;
      throw diskError(error, join(this.folder, INDEX_NAME));
    }
  }

  #entry(item: MediaItem): IndexEntry | undefined {
    return this.#entries.get(entryKey(item));
  }

  /** Writes `data` under its own name, the item's usual one, or one with its id when that belongs to something else. */
  async #put(item: MediaItem, data: Uint8Array, options: PutOptions): Promise<string> {
    const { own, subfolder = '', extension } = options;
    const usual = [fileName(item, { extension }), fileName(item, { extension, mediaId: item.mediaId })];
    const names = own === undefined ? usual : [own];
    for (const [n, name] of names.entries()) {
      const relative = join(subfolder, name);
      const path = join(this.folder, relative);
      const last = n === names.length - 1;
      // A name that two saves want at once goes to the first; the other takes the one with its id.
      if (this.#taken.has(relative) && !last) continue;
      this.#taken.add(relative);
      try {
        if (!last && (await this.#belongsToAnother(path, data))) continue;
        await replaceFile(path, data, { mode: FILE_MODE });
        return name;
      } finally {
        this.#taken.delete(relative);
      }
    }
    throw new TypeError('unreachable: the last name is always taken');
  }

  /** A file of this name with other content: another picture, or somebody's own. */
  async #belongsToAnother(path: string, data: Uint8Array): Promise<boolean> {
    try {
      return Buffer.compare(await readFile(path), data) !== 0;
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
