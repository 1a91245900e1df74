/** Time as every package sees it. Never use `Date.now`, `setTimeout` or `AbortSignal.timeout` directly. */
export interface Clock {
  /** Monotonic milliseconds with fractions, from an arbitrary origin. Use for intervals. */
  now(): number;
  /** Milliseconds since the Unix epoch. Use only for dates that a person or a protocol sees. */
  wallTime(): number;
  /**
   * Resolves after `delayMs` milliseconds (at once, but still asynchronously, when not positive).
   * @throws the signal's reason when `signal` is or becomes aborted; no timer is left behind.
   */
  sleep(delayMs: number, signal?: AbortSignal): Promise<void>;
  /** Calls `callback` once after `delayMs` milliseconds, unless cancelled before. */
  timer(delayMs: number, callback: () => void): Timer;
}

/** A running one-shot timer of a {@link Clock}. */
export interface Timer extends Disposable {
  /** Stops the timer; does nothing when it has fired or was cancelled. */
  cancel(): void;
}

/** The timers of the platform, replaced in tests of {@link SystemClock} itself. */
export interface PlatformTimers {
  /** Monotonic ms. */
  now(): number;
  set(callback: () => void, delayMs: number): unknown;
  clear(handle: unknown): void;
}

const NODE_TIMERS: PlatformTimers = {
  now: () => performance.now(),
  set: (callback, delayMs) => setTimeout(callback, delayMs),
  clear: (handle) => clearTimeout(handle as NodeJS.Timeout),
};

/** The longest delay that Node's timers take, 24.8 days; longer ones would fire at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** The machine's own time. Delays of any length work. Timers keep the process alive while they run. */
export class SystemClock implements Clock {
  readonly #timers: PlatformTimers;

  constructor(timers: PlatformTimers = NODE_TIMERS) {
    this.#timers = timers;
  }

  now(): number {
    return this.#timers.now();
  }

  wallTime(): number {
    return Date.now();
  }

  sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    return sleepOn(this, delayMs, signal);
  }

  timer(delayMs: number, callback: () => void): Timer {
    return new SystemTimer(this.#timers, Math.max(0, delayMs), callback);
  }
}

class SystemTimer implements Timer {
  readonly #timers: PlatformTimers;
  #handle: unknown;

  constructor(timers: PlatformTimers, delayMs: number, callback: () => void) {
    this.#timers = timers;
    if (delayMs <= MAX_TIMER_MS) this.#handle = timers.set(callback, delayMs);
    else this.#armLong(timers.now() + delayMs, callback);
  }

  cancel(): void {
    this.#timers.clear(this.#handle);
  }

  [Symbol.dispose](): void {
    this.cancel();
  }

  /** Waits for a time that is further away than the platform's timers reach. */
  #armLong(dueAtMs: number, callback: () => void): void {
    const leftMs = dueAtMs - this.#timers.now();
    this.#handle =
      leftMs > MAX_TIMER_MS
        ? this.#timers.set(() => this.#armLong(dueAtMs, callback), MAX_TIMER_MS)
        : this.#timers.set(callback, Math.max(0, leftMs));
  }
}

/** `sleep` in terms of `timer`, for implementations of {@link Clock}. */
export function sleepOn(clock: Clock, delayMs: number, signal?: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason);
      return;
    }
    const onAbort = () => {
      timer.cancel();
      reject(signal?.reason);
    };
    const timer = clock.timer(delayMs, () => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    });
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}
