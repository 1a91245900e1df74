import { readdir, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { captureTimes, FileType, type IndexEntry, MediaLibrary, type MediaItem as CardItem } from '@towpath/camera';
import { type Clock, errorCode, type Log } from '@towpath/core';
import { type MediaDay, type MediaItem, type MediaList, routePath } from '@towpath/dashboard/api';
import { lockPictures } from '../../config/pictures-lock.ts';
import type { KeptFile } from './retention.ts';

const THUMBNAILS = 'thumbnails';
const MAX_PAGE = 500;

export interface CatalogOptions {
  /** Of the camera. */
  name: string;
  folder: string;
  timeZone: string | undefined;
}

/** An item that is on the card or here. */
interface Found {
  readonly id: string;
  readonly item: CardItem;
}

/** The id of an item in the API: it stays the same when the card is formatted and numbers are used again. */
export function mediaId({ fileType, dirNum, mediaNum, mediaId: id, mediaTime }: CardItem): string {
  return `${fileType}-${dirNum}-${mediaNum}-${id}-${mediaTime}`;
}

/** What one camera has: on its card as far as it was listed, and on this machine. */
export class MediaCatalog implements AsyncDisposable {
  readonly library: MediaLibrary;
  readonly #lock: Disposable;
  readonly #options: CatalogOptions;
  readonly #captureTime: ReturnType<typeof captureTimes>;
  /** Items of the card by id; undefined before the first listing. */
  #card: Map<string, CardItem> | undefined;
  /** Names of the files that are here. */
  readonly #files: Set<string>;
  readonly #thumbnails: Set<string>;
  /** Everything that is on the card or here, by id; kept up to date, because a card may hold very many. */
  #found: Map<string, Found> | undefined;
  /** Newest first; undefined when something came or went. */
  #sorted: Found[] | undefined;

  private constructor(
    { library, lock }: { library: MediaLibrary; lock: Disposable },
    { files, thumbnails, ...options }: CatalogOptions & { files: Set<string>; thumbnails: Set<string> },
  ) {
    this.library = library;
    this.#lock = lock;
    this.#captureTime = captureTimes(options.timeZone);
    this.#options = options;
    this.#files = files;
    this.#thumbnails = thumbnails;
  }

  /** @throws CameraError `disk-full`, `permission-denied`, `disk-failed`; TowpathError `already-running`. */
  static async open(components: { clock: Clock; log: Log }, options: CatalogOptions): Promise<MediaCatalog> {
    const { folder, timeZone } = options;
    using stack = new DisposableStack();
    stack.use(lockPictures(folder));
    const library = await MediaLibrary.open(components, { folder, timeZone });
    const files = await filesOf(folder);
    const thumbnails = await filesOf(join(folder, THUMBNAILS));
    return new MediaCatalog({ library, lock: stack.move() }, { ...options, files, thumbnails });
  }

  /** How many items are on the card; undefined before the first listing. */
  get onCard(): number | undefined {
    return this.#card?.size;
  }

  /** Items of the card that were never saved here and are worth asking for. */
  get missing(): CardItem[] {
    return [...(this.#card?.values() ?? [])].filter((item) => !this.library.knows(item) && !this.library.isEmpty(item));
  }

  /** Items of the card whose file is here, with its verified size and without gaps. */
  async safeOnDisk(): Promise<CardItem[]> {
    const safe: CardItem[] = [];
    for (const item of this.#card?.values() ?? []) if (await this.library.holdsAll(item)) safe.push(item);
    return safe;
  }

  /** Takes a listing: the whole card, or what is new on it. @returns the items that were not known to be on it */
  listed(items: Iterable<CardItem>, whole: boolean): CardItem[] {
    const before = this.#card ?? new Map<string, CardItem>();
    const card = whole ? new Map<string, CardItem>() : before;
    const fresh: CardItem[] = [];
    for (const item of items) {
      const id = mediaId(item);
      if (!before.has(id)) fresh.push(item);
      card.set(id, item);
    }
    const isFirst = this.#card === undefined;
    this.#card = card;
    if (whole || isFirst) {
      this.#found = undefined;
      this.#sorted = undefined;
    } else for (const item of fresh) this.#add(item);
    return fresh;
  }

  /** Notes a file or thumbnail of an item that was put here. */
  saved(path: string, item: CardItem): void {
    const kind = basename(dirname(path)) === THUMBNAILS ? this.#thumbnails : this.#files;
    kind.add(basename(path));
    this.#add(item);
  }

  /** Notes that an item was deleted from the card. */
  deletedFromCard(id: string): void {
    this.#card?.delete(id);
    this.#dropIfGone(id);
  }

  /** Removes the files of an item from this machine; the index remembers that they were here. */
  async removeFiles(id: string): Promise<void> {
    const entry = this.#entry(this.#all().get(id));
    for (const file of [entry?.file, entry?.audio]) {
      if (file === undefined) continue;
      await rm(join(this.#options.folder, file), { force: true });
      this.#files.delete(file);
    }
    if (entry?.thumbnail !== undefined && !this.#card?.has(id)) {
      await rm(join(this.#options.folder, THUMBNAILS, entry.thumbnail), { force: true });
      this.#thumbnails.delete(entry.thumbnail);
    }
    this.#dropIfGone(id);
  }

  /** The files that are here. */
  keptFiles(): KeptFile[] {
    return [...this.#all().values()].flatMap(({ id, item }) => {
      const entry = this.#entry({ item });
      if (entry?.file === undefined || !this.#files.has(entry.file)) return [];
      const takenMs = this.#captureTime(item.mediaTime)?.epochMs;
      return [{ id, atMs: takenMs ?? Date.parse(entry.savedAt ?? ''), bytes: entry.bytes ?? 0 }];
    });
  }

  /** Every item that is known, on the card or here. */
  *known(): Generator<CardItem> {
    yield* this.library.entries;
    yield* this.#card?.values() ?? [];
  }

  /** The files that are here, with their paths. */
  filesOldestFirst(): { item: CardItem; file: string }[] {
    return this.#newestFirst()
      .flatMap((found) => {
        const file = this.#fileOf(found);
        return file === undefined ? [] : [{ item: found.item, file }];
      })
      .reverse();
  }

  /** Path of the newest photo that is here. */
  newestPhoto(): string | undefined {
    for (const found of this.#newestFirst()) {
      const file = found.item.fileType === FileType.photo ? this.#fileOf(found) : undefined;
      if (file !== undefined) return file;
    }
    return undefined;
  }

  /** How many files are here, and their bytes. */
  kept(): { count: number; bytes: number } {
    const kept = { count: 0, bytes: 0 };
    for (const found of this.#all().values()) {
      const entry = this.#entry(found);
      if (entry?.file === undefined || !this.#files.has(entry.file)) continue;
      kept.count++;
      kept.bytes += entry.bytes ?? 0;
    }
    return kept;
  }

  /** How many items are on the card or here. */
  get size(): number {
    return this.#all().size;
  }

  newestAt(): string | undefined {
    for (const { item } of this.#newestFirst()) {
      const at = this.#takenAt(item);
      if (at !== undefined) return at;
    }
    return undefined;
  }

  cardItem(id: string): CardItem | undefined {
    return this.#card?.get(id);
  }

  item(id: string): MediaItem | undefined {
    const found = this.#all().get(id);
    return found && this.#describe(found);
  }

  /** Path of an item's file; undefined while it is not here. */
  filePath(id: string): string | undefined {
    return this.#fileOf(this.#all().get(id));
  }

  thumbnailPath(id: string): string | undefined {
    const thumbnail = this.#entry(this.#all().get(id))?.thumbnail;
    return thumbnail !== undefined && this.#thumbnails.has(thumbnail)
      ? join(this.#options.folder, THUMBNAILS, thumbnail)
      : undefined;
  }

  /** Newest first. */
  days(): MediaDay[] {
    const days = new Map<string, MediaDay>();
    for (const { item } of this.#all().values()) {
      const day = this.#day(item);
      const counts = days.get(day) ?? { day, photos: 0, videos: 0 };
      days.set(day, counts);
      if (item.fileType === FileType.photo) counts.photos++;
      else counts.videos++;
    }
    return [...days.values()].sort((a, b) =>
      a.day === 'unknown' ? 1 : b.day === 'unknown' ? -1 : a.day < b.day ? 1 : -1,
    );
  }

  /** One page, newest first. @param after id of the last item of the page before */
  list(options: { day?: string | undefined; after?: string | undefined; limit?: number | undefined }): MediaList {
    const { day, after, limit = 100 } = options;
    const all = this.#newestFirst().filter(({ item }) => day === undefined || this.#day(item) === day);
    const from = after === undefined ? 0 : all.findIndex(({ id }) => id === after) + 1;
    const page = all.slice(from, from + Math.min(limit, MAX_PAGE));
    return {
      items: page.map((found) => this.#describe(found)),
      next: from + page.length < all.length ? (page.at(-1)?.id ?? null) : null,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    using _lock = this.#lock;
    await this.library.flush().catch((error: unknown) => {
      // A full disk at the end: files without an entry are recognised when they are downloaded again.
      if (!['disk-full', 'disk-failed', 'permission-denied'].includes(errorCode(error))) throw error;
    });
  }

  #describe({ id, item }: Found): MediaItem {
    const entry = this.#entry({ item });
    const parts = { camera: this.#options.name, media: id };
    const saved = entry?.file !== undefined && this.#files.has(entry.file);
    return {
      id,
      kind: item.fileType === FileType.photo ? 'photo' : 'video',
      name: `${item.dirNum}/${item.mediaNum}`,
      takenAt: this.#takenAt(item) ?? null,
      day: this.#day(item),
      durationMs: item.durationMs,
      bytes: saved ? (entry?.bytes ?? null) : null,
      onCard: this.#card?.has(id) ?? false,
      saved,
      thumbnailUrl: routePath('thumbnail', parts),
      fileUrl: saved ? routePath('file', parts) : null,
    };
  }

  #takenAt(item: CardItem): string | undefined {
    return this.#captureTime(item.mediaTime)?.iso;
  }

  #day(item: CardItem): string {
    return this.#takenAt(item)?.slice(0, 10) ?? 'unknown';
  }

  #entry(found: Pick<Found, 'item'> | undefined): IndexEntry | undefined {
    return found && this.library.entry(found.item);
  }

  #fileOf(found: Found | undefined): string | undefined {
    const file = this.#entry(found)?.file;
    return file !== undefined && this.#files.has(file) ? join(this.#options.folder, file) : undefined;
  }

  #all(): Map<string, Found> {
    if (this.#found !== undefined) return this.#found;
    const all = new Map<string, Found>();
    for (const entry of this.library.entries) {
      const here = entry.file !== undefined && this.#files.has(entry.file);
      const id = mediaId(entry);
      if (here || this.#card?.has(id) || (this.#card === undefined && entry.thumbnail !== undefined)) {
        all.set(id, { id, item: entry });
      }
    }
    for (const [id, item] of this.#card ?? []) if (!all.has(id)) all.set(id, { id, item });
    this.#found = all;
    return all;
  }

  #newestFirst(): readonly Found[] {
    this.#sorted ??= [...this.#all().values()].sort(
      ({ item: a }, { item: b }) => b.mediaTime - a.mediaTime || b.dirNum - a.dirNum || b.mediaNum - a.mediaNum,
    );
    return this.#sorted;
  }

  #add(item: CardItem): void {
    const id = mediaId(item);
    if (this.#all().has(id)) return;
    this.#all().set(id, { id, item });
    this.#sorted = undefined;
  }

  /** Forgets an item that is neither on the card nor here. */
  #dropIfGone(id: string): void {
    const file = this.#entry(this.#all().get(id))?.file;
    if (this.#card?.has(id) || (file !== undefined && this.#files.has(file))) return;
    if (this.#all().delete(id)) this.#sorted = undefined;
  }
}

/** The names in a folder, without what a killed daemon had not finished, which is removed: nobody else writes there. */
async function filesOf(folder: string): Promise<Set<string>> {
  const names = new Set(await readdir(folder));
  for (const name of names) {
    if (!/^\..+\.\d+\.part$/.test(name)) continue;
    await rm(join(folder, name), { force: true });
    names.delete(name);
  }
  return names;
}
