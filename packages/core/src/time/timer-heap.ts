/** So many timers that were cancelled stay in the heap before they are looked for. */
const MIN_COMPACTED = 64;

/** One timer of a {@link TimerHeap}, as clocks hand it out. */
export class HeapTimer implements Disposable {
  /** When it is due, in the time of the heap's owner, ms. */
  readonly atMs: number;
  /** Among timers that are due at the same time the one that was made first comes first. */
  readonly order: number;
  readonly #heap: TimerHeap;
  #callback: (() => void) | undefined;

  constructor(heap: TimerHeap, atMs: number, order: number, callback: () => void) {
    this.#heap = heap;
    this.atMs = atMs;
    this.order = order;
    this.#callback = callback;
  }

  /** False once it has fired or was cancelled. */
  get isPending(): boolean {
    return this.#callback !== undefined;
  }

  /** Returns what it calls, once: it is not pending any more. */
  end(): (() => void) | undefined {
    const callback = this.#callback;
    this.#callback = undefined;
    return callback;
  }

  cancel(): void {
    if (this.end() !== undefined) this.#heap.cancelled();
  }

  [Symbol.dispose](): void {
    this.cancel();
  }
}

/** Timers in the order in which they are due. */
export class TimerHeap {
  readonly #timers: HeapTimer[] = [];
  #order = 0;
  #cancelled = 0;

  /** Timers that are pending. */
  get size(): number {
    return this.#timers.length - this.#cancelled;
  }

  /** The one that is due first. */
  get first(): HeapTimer | undefined {
    for (;;) {
      const [first] = this.#timers;
      if (first === undefined || first.isPending) return first;
      this.#pop();
      this.#cancelled--;
    }
  }

  add(atMs: number, callback: () => void): HeapTimer {
    const timer = new HeapTimer(this, atMs, this.#order++, callback);
    this.#push(timer);
    return timer;
  }

  /** Removes {@link first} and returns what it calls. */
  takeFirst(): (() => void) | undefined {
    const { first } = this;
    if (first === undefined) return undefined;
    this.#pop();
    return first.end();
  }

  /** For {@link HeapTimer}: one of them is not pending any more. */
  cancelled(): void {
    this.#cancelled++;
    if (this.#cancelled > MIN_COMPACTED && this.#cancelled * 2 > this.#timers.length) this.#compact();
  }

  #compact(): void {
    const pending = this.#timers.filter(({ isPending }) => isPending);
    this.#timers.length = 0;
    this.#cancelled = 0;
    for (const timer of pending) this.#push(timer);
  }

  #push(timer: HeapTimer): void {
    const timers = this.#timers;
    let at = timers.length;
    timers.push(timer);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(timer, timers[parent]!)) break;
      timers[at] = timers[parent]!;
      at = parent;
    }
    timers[at] = timer;
  }

  #pop(): void {
    const timers = this.#timers;
    const last = timers.pop();
    if (last === undefined || timers.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= timers.length) break;
      if (child + 1 < timers.length && isBefore(timers[child + 1]!, timers[child]!)) child++;
      if (!isBefore(timers[child]!, last)) break;
      timers[at] = timers[child]!;
      at = child;
    }
    timers[at] = last;
  }
}

function isBefore(a: HeapTimer, b: HeapTimer): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}
