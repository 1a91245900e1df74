/** The newest items of a stream, oldest first. What it holds never grows over its limit. */
export class Bounded<T> {
  readonly limit: number;
  readonly items: readonly T[];

  constructor(limit: number, items: readonly T[] = []) {
    this.limit = limit;
    this.items = items.length > limit ? items.slice(items.length - limit) : items;
  }

  /** A copy with these at its end; the oldest go. */
  with(added: readonly T[]): Bounded<T> {
    if (added.length === 0) return this;
    if (added.length >= this.limit) return new Bounded(this.limit, added);
    const kept = this.items.slice(Math.max(0, this.items.length + added.length - this.limit));
    return new Bounded(this.limit, [...kept, ...added]);
  }
}
