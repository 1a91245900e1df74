/** A map that is empty most of the time. It has a table, of 200 bytes or more, only while it has entries. */
export class SparseMap<Key, Value> {
  #entries: Map<Key, Value> | undefined;

  get size(): number {
    return this.#entries?.size ?? 0;
  }

  get(key: Key): Value | undefined {
    return this.#entries?.get(key);
  }

  has(key: Key): boolean {
    return this.#entries?.has(key) ?? false;
  }

  set(key: Key, value: Value): void {
    this.#entries ??= new Map();
    this.#entries.set(key, value);
  }

  /** Returns false when there was no such entry. */
  delete(key: Key): boolean {
    const existed = this.#entries?.delete(key) ?? false;
    if (this.#entries?.size === 0) this.#entries = undefined;
    return existed;
  }

  clear(): void {
    this.#entries = undefined;
  }

  keys(): Iterable<Key> {
    return this.#entries?.keys() ?? [];
  }

  values(): Iterable<Value> {
    return this.#entries?.values() ?? [];
  }

  /** In the order of insertion, as in a `Map`. */
  [Symbol.iterator](): Iterator<[Key, Value]> {
    return (this.#entries ?? [])[Symbol.iterator]();
  }
}

/** A set that is empty most of the time; see {@link SparseMap}. */
export class SparseSet<Value> {
  #values: Set<Value> | undefined;

  get size(): number {
    return this.#values?.size ?? 0;
  }

  has(value: Value): boolean {
    return this.#values?.has(value) ?? false;
  }

  add(value: Value): void {
    this.#values ??= new Set();
    this.#values.add(value);
  }

  /** Returns false when it was not in the set. */
  delete(value: Value): boolean {
    const existed = this.#values?.delete(value) ?? false;
    if (this.#values?.size === 0) this.#values = undefined;
    return existed;
  }

  clear(): void {
    this.#values = undefined;
  }

  /** In the order of insertion, as in a `Set`. */
  [Symbol.iterator](): Iterator<Value> {
    return (this.#values ?? [])[Symbol.iterator]();
  }
}
