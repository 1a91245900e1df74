import type { Clock } from '@towpath/core';

/** How much one key (an address, a node) may do. */
export interface RateLimit {
  /** Sustained, per second. */
  readonly perSecond: number;
  /** At once, after a pause. */
  readonly burst: number;
}

/** Keys above which idle ones are forgotten. */
const SWEEP_FROM = 10_000;

/**
 * Limits by the generic cell rate algorithm: one number per key, the time at which its allowance is whole again.
 * Memory is bounded by the keys that were busy lately.
 */
export class RateLimiter {
  readonly #clock: Clock;
  readonly #costMs: number;
  readonly #slackMs: number;
  readonly #wholeAt = new Map<string, number>();
  #sweepAt = SWEEP_FROM;

  constructor(clock: Clock, limit: RateLimit) {
    this.#clock = clock;
    this.#costMs = 1_000 / limit.perSecond;
    this.#slackMs = this.#costMs * limit.burst;
  }

  /** Keys that are remembered. */
  get size(): number {
    return this.#wholeAt.size;
  }

  /** Takes one from the key's allowance. @returns 0, or in how many ms there is one again. */
  take(key: string): number {
    const now = this.#clock.now();
    const whole = Math.max(now, this.#wholeAt.get(key) ?? 0) + this.#costMs;
    const waitMs = whole - now - this.#slackMs;
    if (waitMs > 0) return Math.max(1, Math.ceil(waitMs));
    if (!this.#wholeAt.has(key) && this.#wholeAt.size >= this.#sweepAt) this.#sweep(now);
    this.#wholeAt.set(key, whole);
    return 0;
  }

  #sweep(now: number): void {
    for (const [key, whole] of this.#wholeAt) if (whole <= now) this.#wholeAt.delete(key);
    this.#sweepAt = Math.max(SWEEP_FROM, this.#wholeAt.size * 2);
  }
}
