/** Stands for a value that is not there; `undefined` may be one. */
const NONE: unique symbol = Symbol('none');

interface Single<Key, Value> {
  readonly key: Key;
  value: Value;
}

/**
 * A map that has one entry or none most of the time. It has a table, of 200 bytes or more, only from the second entry on, until
 * the last one is deleted. Entries that are set while it is gone through may not be visited. NaN is no key.
 */
export class SparseMap<Key, Value> {
  #content: Single<Key, Value> | Map<Key, Value> | undefined;

  get size(): number {
    const content = this.#content;
    if (content instanceof Map) return content.size;
    return content === undefined ? 0 : 1;
  }

  get(key: Key): Value | undefined {
    const content = this.#content;
    if (content instanceof Map) return content.get(key);
    return content !== undefined && content.key === key ? content.value : undefined;
  }

  has(key: Key): boolean {
    const content = this.#content;
    if (content instanceof Map) return content.has(key);
    return content !== undefined && content.key === key;
  }

  set(key: Key, value: Value): void {
    const content = this.#content;
    if (content === undefined) this.#content = { key, value };
    else if (content instanceof Map) content.set(key, value);
    else if (content.key === key) content.value = value;
    else {
      this.#content = new Map([
        [content.key, content.value],
        [key, value],
      ]);
    }
  }

  /** Returns false when there was no such entry. */
  delete(key: Key): boolean {
    const content = this.#content;
    if (!this.has(key)) return false;
    if (content instanceof Map) content.delete(key);
    if (!(content instanceof Map) || content.size === 0) this.#content = undefined;
    return true;
  }

  clear(): void {
    this.#content = undefined;
  }

  keys(): Iterable<Key> {
    const content = this.#content;
    if (content instanceof Map) return content.keys();
    return content === undefined ? [] : [content.key];
  }

  values(): Iterable<Value> {
    const content = this.#content;
    if (content instanceof Map) return content.values();
    return content === undefined ? [] : [content.value];
  }

  /** In the order of insertion, as in a `Map`. */
  [Symbol.iterator](): Iterator<[Key, Value]> {
    const content = this.#content;
    if (content instanceof Map) return content[Symbol.iterator]();
    const single: [Key, Value][] = content === undefined ? [] : [[content.key, content.value]];
    return single[Symbol.iterator]();
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
