const FIRST_CAPACITY = 4;

/** An empty ring larger than this releases its storage, so that an idle channel uses little memory. */
const KEEP_CAPACITY = 64;

/**
 * Slots addressed by ever-growing positions, of which a contiguous range is in use.
 * Storage is allocated with the first slot and doubles as needed; no call is O(range).
 */
export class Ring<Slot> {
  #slots: (Slot | undefined)[] = [];

  /** The slot at `position`, where `first` is the lowest position in use. */
  get(position: number, first: number): Slot | undefined {
    if (position - first >= this.#slots.length) return undefined;
    return this.#slots[position & (this.#slots.length - 1)];
  }

  /** Stores at `position`, where `first` is the lowest position in use. */
  set(position: number, slot: Slot, first: number): void {
    if (position - first >= this.#slots.length) this.#grow(position - first + 1, first);
    this.#slots[position & (this.#slots.length - 1)] = slot;
  }

  /** Empties a slot that was set. */
  clear(position: number): void {
    this.#slots[position & (this.#slots.length - 1)] = undefined;
  }

  /** Call when no slot is in use. */
  release(): void {
    if (this.#slots.length > KEEP_CAPACITY) this.#slots = [];
  }

  #grow(needed: number, first: number): void {
    const old = this.#slots;
    let capacity = Math.max(FIRST_CAPACITY, old.length * 2);
    while (capacity < needed) capacity *= 2;
    const slots = new Array<Slot | undefined>(capacity).fill(undefined);
    for (let position = first; position < first + old.length; position++) {
      slots[position & (capacity - 1)] = old[position & (old.length - 1)];
    }
    this.#slots = slots;
  }
}
