import { TimerHeap } from './time/timer-heap.ts';

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
/** Timers of the platform count whole milliseconds, and fire so much too early, ms. */
const EARLY_MS = 1;

/**
 * The machine's own time. Delays of any length work. Timers keep the process alive while they run. All of a clock share one
 * timer of the platform: there may be thousands.
 */
export class SystemClock implements Clock {
  readonly #platform: PlatformTimers;
  readonly #timers = new TimerHeap({ onCancelled: () => this.#cancelled() });
  /** The timer of the platform, and what it waits for. */
  #armed: { handle: unknown; atMs: number } | undefined;

  constructor(timers: PlatformTimers = NODE_TIMERS) {
    this.#platform = timers;
  }

  now(): number {
    return this.#platform.now();
  }

  wallTime(): number {
    return Date.now();
  }

  sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    return sleepOn(this, delayMs, signal);
  }

  timer(delayMs: number, callback: () => void): Timer {
    const timer = this.#timers.add(this.now() + Math.max(0, delayMs || 0), callback);
    this.#arm();
    return timer;
  }

  /** What comes earlier than the first timer, as one that was cancelled, finds nothing to do and arms anew. */
  #arm(): void {
    const { first } = this.#timers;
    if (first === undefined || (this.#armed !== undefined && this.#armed.atMs <= first.atMs)) return;
    this.#disarm();
    const delayMs = Math.min(MAX_TIMER_MS, Math.max(0, first.atMs - this.now()));
    this.#armed = { handle: this.#platform.set(() => this.#fire(), delayMs), atMs: first.atMs };
  }

  #disarm(): void {
    if (this.#armed !== undefined) this.#platform.clear(this.#armed.handle);
    this.#armed = undefined;
  }

  /** Calls what is due, without what is added meanwhile. What a callback throws reaches the platform; the others follow then. */
  #fire(): void {
    this.#armed = undefined;
    const [untilMs, end] = [this.now() + EARLY_MS, this.#timers.nextOrder];
    try {
      for (let next = this.#timers.first; next !== undefined; next = this.#timers.first) {
        if (next.atMs > untilMs || next.order >= end) break;
        this.#timers.takeFirst()?.();
      }
    } finally {
      this.#arm();
    }
  }

  #cancelled(): void {
    if (this.#timers.size === 0) this.#disarm();
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
