/**
 * A map that removes entries that were not used lately, so that a flood of forged keys cannot fill memory. It keeps two
 * generations of at most `limit` entries: when the younger is full the older is dropped whole. Using an entry
 * keeps it. Every operation is O(1).
 */
export class RecentMap<K, V> {
  readonly #limit: number;
  #young = new Map<K, V>();
  #old = new Map<K, V>();

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** At most twice the limit. */
  get size(): number {
    return this.#young.size + this.#old.size;
  }

  get(key: K): V | undefined {
    const young = this.#young.get(key);
    if (young !== undefined) return young;
    const old = this.#old.get(key);
    if (old !== undefined) {
      this.#old.delete(key);
      this.set(key, old);
    }
    return old;
  }

  set(key: K, value: V): void {
    if (this.#young.size >= this.#limit && !this.#young.has(key)) this.age();
    this.#old.delete(key);
    this.#young.set(key, value);
  }

  /** Drops the older generation: what was not used since the last but one call is forgotten. */
  age(): void {
    this.#old = this.#young;
    this.#young = new Map();
  }

  /** All entries, without counting as a use. */
  *values(): Generator<V> {
    yield* this.#young.values();
    yield* this.#old.values();
  }

  delete(key: K): void {
    this.#young.delete(key);
    this.#old.delete(key);
  }

  clear(): void {
    this.#young.clear();
    this.#old.clear();
  }
}
