const PAGE_ENTRIES = 256;
const PAGES = 256;

/** An entry this far ahead of the highest index is free: half of the 16-bit range. */
const HALF_RANGE_PAGES: number = PAGES / 2;

/** Most pages of all sets of a decoder: 64 MB, enough for 16 million indices. */
export const MAX_INDEX_PAGES = 65_536;

/** Counts the pages of several sets. */
export interface PageBudget {
  left: number;
}

export const Seen = {
  first: 0,
  again: 1,
  /** The index was used before, with other data. */
  other: 2,
  /** The limit is reached. */
  overLimit: 3,
} as const;
export type Seen = (typeof Seen)[keyof typeof Seen];

/**
 * The 16-bit indices seen in a stream, with a fingerprint of their data. Indices count beyond 65,535:
 * as the highest one advances, indices half the range below it are removed.
 */
export class IndexSet {
  readonly #pages: (Int32Array | undefined)[] = [];
  readonly #budget: PageBudget;
  #highest = -1;
  #lowest = -1;
  unique = 0;

  constructor(budget: PageBudget) {
    this.#budget = budget;
  }

  /** The smallest and the greatest index seen, counted on; −1 before the first. */
  get lowest(): number {
    return this.#lowest;
  }

  get highest(): number {
    return this.#highest;
  }

  /** Places a 16-bit index near the highest one seen. A stream begins at 0. */
  unwrap(index: number): number {
    if (this.#highest < 0) return index;
    const near = this.#highest + (((index - this.#highest) << 16) >> 16);
    return near < 0 ? near + 65_536 : near;
  }

  /** @param index from {@link unwrap} @param fingerprint any number except 0 */
  add(index: number, fingerprint: number): Seen {
    this.#advance(index);
    const slot = (index >>> 8) % PAGES;
    let page = this.#pages[slot];
    if (page === undefined) {
      if (this.#budget.left === 0) return Seen.overLimit;
      this.#budget.left--;
      page = new Int32Array(PAGE_ENTRIES);
      this.#pages[slot] = page;
    }
    const known = page[index & 0xff]!;
    if (known !== 0) return known === fingerprint ? Seen.again : Seen.other;
    page[index & 0xff] = fingerprint;
    this.unique++;
    if (this.#lowest < 0 || index < this.#lowest) this.#lowest = index;
    return Seen.first;
  }

  /** Removes everything and returns its pages. */
  clear(): void {
    for (const page of this.#pages) if (page !== undefined) this.#budget.left++;
    this.#pages.length = 0;
  }

  #advance(index: number): void {
    if (index <= this.#highest) return;
    const from = this.#highest < 0 ? index >>> 8 : this.#highest >>> 8;
    this.#highest = index;
    for (let page = from + 1; page <= index >>> 8; page++) {
      const slot = (page + HALF_RANGE_PAGES - 1) % PAGES;
      if (this.#pages[slot] === undefined) continue;
      this.#pages[slot] = undefined;
      this.#budget.left++;
    }
  }
}
