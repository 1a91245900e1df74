import { type Clock, sleepOn, type Timer } from './clock.ts';
import { TowpathError } from './errors.ts';

interface Entry {
  at: number;
  order: number;
  callback: (() => void) | undefined;
}

/**
 * A clock that advances only on request, so that a test runs an hour in a millisecond.
 *
 * Timers fire in order of their time, equal times in order of creation. Between two instants all
 * promise reactions run, so code under test sees the same order of events on every run.
 */
export class VirtualClock implements Clock {
  readonly #startWallMs: number;
  readonly #heap: Entry[] = [];
  #now = 0;
  #order = 0;
  #cancelled = 0;

  /** @param startWallMs {@link wallTime} at the start, ms since the Unix epoch. */
  constructor(startWallMs: number = Date.UTC(2026, 0, 1)) {
    this.#startWallMs = startWallMs;
  }

  now(): number {
    return this.#now;
  }

  wallTime(): number {
    return this.#startWallMs + this.#now;
  }

  sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    return sleepOn(this, delayMs, signal);
  }

  timer(delayMs: number, callback: () => void): Timer {
    const entry: Entry = { at: this.#now + Math.max(0, delayMs), order: this.#order++, callback };
    this.#push(entry);
    const cancel = () => {
      if (entry.callback === undefined) return;
      entry.callback = undefined;
      this.#cancelled++;
      if (this.#cancelled > 64 && this.#cancelled * 2 > this.#heap.length) this.#compact();
    };
    return { cancel, [Symbol.dispose]: cancel };
  }

  /** How many timers are waiting: 0 after everything was closed, or something leaks. */
  get pendingTimers(): number {
    return this.#heap.length - this.#cancelled;
  }

  /** Moves time on by `ms`, firing every timer that falls due, and lets all promise reactions run. */
  async advance(ms: number): Promise<void> {
    const until = this.#now + ms;
    await settle();
    for (;;) {
      const due = this.#nextAt();
      if (due === undefined || due > until) break;
      await this.#fire(due);
    }
    this.#now = until;
    await settle();
  }

  /**
   * Moves time on until `promise` settles and returns its outcome.
   * @param limitMs how much virtual time may pass; an hour unless said otherwise.
   * @throws TowpathError `virtual-time-exhausted` when the limit passes or no timer is left.
   */
  async runUntil<T>(promise: Promise<T>, limitMs = 3_600_000): Promise<T> {
    const limit = this.#now + limitMs;
    let settled = false;
    const done = () => {
      settled = true;
    };
    promise.then(done, done);
    await settle();
    while (!settled) {
      const due = this.#nextAt();
      if (due === undefined || due > limit) {
        // Real I/O (a file, a worker) may be what the promise waits for: give it some turns before giving up.
        for (let turn = 0; turn < 2000 && !settled && this.#nextAt() === due; turn++) await settle();
        if (settled) break;
        if (this.#nextAt() !== due) continue;
        const why = due === undefined ? 'no timer is waiting' : `the next timer is due after ${limitMs} ms`;
        throw new TowpathError('virtual-time-exhausted', `The awaited promise never settles: ${why}.`);
      }
      await this.#fire(due);
    }
    return promise;
  }

  async #fire(at: number): Promise<void> {
    this.#now = Math.max(this.#now, at);
    for (let next = this.#heap[0]; next && next.at <= this.#now; next = this.#heap[0]) {
      const callback = this.#take(next);
      if (callback === undefined) continue;
      callback();
    }
    await settle();
  }

  #take(next: Entry): (() => void) | undefined {
    this.#pop();
    const { callback } = next;
    next.callback = undefined;
    if (callback === undefined) this.#cancelled--;
    return callback;
  }

  #nextAt(): number | undefined {
    for (;;) {
      const first = this.#heap[0];
      if (first === undefined) return undefined;
      if (first.callback !== undefined) return first.at;
      this.#pop();
      this.#cancelled--;
    }
  }

  #compact(): void {
    const live = this.#heap.filter((entry) => entry.callback !== undefined);
    this.#heap.length = 0;
    this.#cancelled = 0;
    for (const entry of live) this.#push(entry);
  }

  #push(entry: Entry): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(entry);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!before(entry, heap[parent]!)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = entry;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++;
      if (!before(heap[child]!, last)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
  }
}

function before(a: Entry, b: Entry): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

/** A turn of the event loop, after which every promise reaction that was ready has run. */
function settle(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
