import { SeededRandom } from '@towpath/core';
import { FileType, type ItemId, itemKey, type MediaItem } from '../artemis/media-item.ts';

/** Real cameras count to 999 in one folder and then open the next. */
const FIRST_DIRECTORY = 100;
const ITEMS_PER_DIRECTORY = 999;

/** 2026-01-01 00:00:00: time of the first picture of an emulated card, so that a seed always gives the same card. */
const FIRST_ITEM_TIME = 1_767_225_600;

const RECORDING_MS = 10_000;

/** The emulated card: its items, oldest first. */
export class Card {
  readonly #random: SeededRandom;
  readonly #items: Map<number, MediaItem> = new Map();
  #taken = 0;
  #lastTime: number = FIRST_ITEM_TIME;

  /** `videoEvery` n makes every n-th item a video, 0 none. */
  constructor(seed: number, itemCount: number, videoEvery: number) {
    this.#random = new SeededRandom(seed);
    for (let count = 1; count <= itemCount; count++) {
      this.add(videoEvery > 0 && count % videoEvery === 0 ? FileType.mp4 : FileType.photo);
    }
  }

  get size(): number {
    return this.#items.size;
  }

  /** Adds an item, taken at `mediaTime` or some time after the one before. Returns it. */
  add(fileType: number, mediaTime: number = this.#lastTime + this.#random.integer(40, 7200)): MediaItem {
    const item: MediaItem = {
      fileType,
      dirNum: FIRST_DIRECTORY + Math.floor(this.#taken / ITEMS_PER_DIRECTORY),
      mediaNum: 1 + (this.#taken % ITEMS_PER_DIRECTORY),
      durationMs: fileType === FileType.photo ? 0 : RECORDING_MS,
      mediaId: this.#random.integer(1, 0xffff_ffff),
      mediaTime,
    };
    this.#taken++;
    this.#lastTime = mediaTime;
    this.#items.set(itemKey(item), item);
    return item;
  }

  /** A page of the list, newest first. */
  page(pageNo: number, perPage: number): MediaItem[] {
    const all = [...this.#items.values()];
    const end = all.length - pageNo * perPage;
    return end <= 0 ? [] : all.slice(Math.max(0, end - perPage), end).reverse();
  }

  find(id: ItemId): MediaItem | undefined {
    const item = this.#items.get(itemKey(id));
    return item?.fileType === id.fileType ? item : undefined;
  }

  /** Removes an item; false when there is none. */
  delete(id: ItemId): boolean {
    return this.find(id) !== undefined && this.#items.delete(itemKey(id));
  }

  /** Removes everything. Numbers continue, as on the real camera. */
  format(): void {
    this.#items.clear();
  }
}
