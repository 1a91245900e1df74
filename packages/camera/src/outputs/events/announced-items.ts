import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { errorCode, makeFolder, readRegular } from '@towpath/core';
import type { MediaItem } from '../../artemis/media-item.ts';
import { entryKey } from '../../media/media-index.ts';
import { diskError, replaceFile } from '../../store/disk.ts';

/** More than any card holds: a camera numbers 65,536 items in a folder. The oldest are forgotten. */
const MAX_ITEMS = 200_000;
const FILE_MODE = 0o600;

/**
 * Which items of a camera receivers were told of, in a file that grows by a line per item. So what appeared while the program
 * did not run is told of when it runs again, and what was there before the first time is not.
 */
export class AnnouncedItems {
  readonly #path: string;
  readonly #keys: Set<string>;
  #isNew: boolean;

  private constructor(path: string, keys: Set<string> | undefined) {
    this.#path = path;
    this.#keys = keys ?? new Set();
    this.#isNew = keys === undefined;
  }

  /** @throws CameraError `permission-denied`, `disk-failed` */
  static async open(path: string): Promise<AnnouncedItems> {
    try {
      await makeFolder(dirname(path), 0o700);
      const text = (await readRegular(path)).toString();
      // A line that a killed process had not completed has no end.
      const lines = text.split('\n').slice(0, -1);
      const keys = new Set(lines.slice(-MAX_ITEMS));
      if (lines.length > MAX_ITEMS || !text.endsWith('\n')) await rewrite(path, keys);
      return new AnnouncedItems(path, keys);
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return new AnnouncedItems(path, undefined);
      throw diskError(error, path);
    }
  }

  /** True until {@link begin}: nothing is known of what receivers were told. */
  get isNew(): boolean {
    return this.#isNew;
  }

  has(item: MediaItem): boolean {
    return this.#keys.has(entryKey(item));
  }

  /** Begins with items that are not told of. @throws CameraError `disk-full`, `permission-denied`, `disk-failed` */
  async begin(items: Iterable<MediaItem>): Promise<void> {
    for (const item of items) this.#keys.add(entryKey(item));
    await rewrite(this.#path, this.#keys);
    this.#isNew = false;
  }

  /** Notes an item, durably. @throws CameraError `disk-full`, `permission-denied`, `disk-failed` */
  async add(item: MediaItem): Promise<void> {
    const key = entryKey(item);
    if (this.#keys.has(key)) return;
    this.#keys.add(key);
    try {
      const file = await open(this.#path, constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT, FILE_MODE);
      try {
        await file.write(`${key}\n`);
        await file.datasync();
      } finally {
        await file.close();
      }
    } catch (error) {
      throw diskError(error, this.#path);
    }
  }
}

async function rewrite(path: string, keys: ReadonlySet<string>): Promise<void> {
  const text = [...keys].map((key) => `${key}\n`).join('');
  await replaceFile(path, text, { mode: FILE_MODE, syncFolder: true });
}
