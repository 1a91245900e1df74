/** Stands for a key that is not there; `undefined` may be one. */
const NONE: unique symbol = Symbol('none');

/**
 * A map that has one entry or none most of the time. It has a table, of 200 bytes or more, only from the second entry on, until
 * the last one is deleted. Entries that are set while it is gone through may not be visited. NaN is no key.
 */
export class SparseMap<Key, Value> {
  /** The only entry, while there is no table. */
  #key: Key | typeof NONE = NONE;
  #value: Value | undefined;
  #entries: Map<Key, Value> | undefined;

  get size(): number {
    return this.#entries?.size ?? (this.#key === NONE ? 0 : 1);
  }

  get(key: Key): Value | undefined {
    if (this.#entries !== undefined) return this.#entries.get(key);
    return this.#key === key ? this.#value : undefined;
  }

  has(key: Key): boolean {
    return this.#entries?.has(key) ?? this.#key === key;
  }

  set(key: Key, value: Value): void {
    if (this.#entries !== undefined) {
      this.#entries.set(key, value);
      return;
    }
    if (this.#key === NONE || this.#key === key) {
      this.#key = key;
      this.#value = value;
      return;
    }
    this.#entries = new Map([
      [this.#key, this.#value as Value],
      [key, value],
    ]);
    this.#drop();
  }

  /** Returns false when there was no such entry. */
  delete(key: Key): boolean {
    if (this.#entries === undefined) {
      if (this.#key !== key) return false;
      this.#drop();
      return true;
    }
    const existed = this.#entries.delete(key);
    if (this.#entries.size === 0) this.#entries = undefined;
    return existed;
  }

  clear(): void {
    this.#entries = undefined;
    this.#drop();
  }

  keys(): Iterable<Key> {
    return this.#entries?.keys() ?? (this.#key === NONE ? [] : [this.#key]);
  }

  values(): Iterable<Value> {
    return this.#entries?.values() ?? (this.#key === NONE ? [] : [this.#value as Value]);
  }

  /** In the order of insertion, as in a `Map`. */
  [Symbol.iterator](): Iterator<[Key, Value]> {
    const single: [Key, Value][] = this.#key === NONE ? [] : [[this.#key, this.#value as Value]];
    return (this.#entries ?? single)[Symbol.iterator]();
  }

  #drop(): void {
    this.#key = NONE;
    this.#value = undefined;
  }
}

/** A set that has one value or none most of the time; see {@link SparseMap}. NaN is no value. */
export class SparseSet<Value> {
  /** The only value, while there is no table. */
  #value: Value | typeof NONE = NONE;
  #values: Set<Value> | undefined;

  get size(): number {
    return this.#values?.size ?? (this.#value === NONE ? 0 : 1);
  }

  has(value: Value): boolean {
    return this.#values?.has(value) ?? this.#value === value;
  }

  add(value: Value): void {
    if (this.#values !== undefined) this.#values.add(value);
    else if (this.#value === NONE) this.#value = value;
    else if (this.#value !== value) {
      this.#values = new Set([this.#value, value]);
      this.#value = NONE;
    }
  }

  /** Returns false when it was not in the set. */
  delete(value: Value): boolean {
    if (this.#values === undefined) {
      if (this.#value !== value) return false;
      this.#value = NONE;
      return true;
    }
    const existed = this.#values.delete(value);
    if (this.#values.size === 0) this.#values = undefined;
    return existed;
  }

  clear(): void {
    this.#values = undefined;
    this.#value = NONE;
  }

  /** In the order of insertion, as in a `Set`. */
  [Symbol.iterator](): Iterator<Value> {
    const single: Value[] = this.#value === NONE ? [] : [this.#value];
    return (this.#values ?? single)[Symbol.iterator]();
  }
}
