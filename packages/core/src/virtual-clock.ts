import { type Clock, sleepOn, type Timer } from './clock.ts';
import { TowpathError } from './errors.ts';
import { TimerHeap } from './time/timer-heap.ts';

/**
 * A clock that advances only on request, so that a test runs an hour in a millisecond.
 *
 * Timers fire in order of their time, equal times in order of creation. Between two instants all
 * promise reactions run, so code under test sees the same order of events on every run.
 */
export class VirtualClock implements Clock {
  readonly #startWallMs: number;
  readonly #timers = new TimerHeap();
  #now = 0;

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
    return this.#timers.add(this.#now + Math.max(0, delayMs), callback);
  }

  /** How many timers are waiting: 0 after everything was closed, or something leaks. */
  get pendingTimers(): number {
    return this.#timers.size;
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
    for (let next = this.#nextAt(); next !== undefined && next <= this.#now; next = this.#nextAt()) {
      this.#timers.takeFirst()?.();
    }
    await settle();
  }

  #nextAt(): number | undefined {
    return this.#timers.first?.atMs;
  }
}

/** A turn of the event loop, after which every promise reaction that was ready has run. */
function settle(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
