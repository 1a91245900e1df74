import type { Clock } from '../clock.ts';
import { SparseMap } from '../sparse.ts';

/** A steady rate, and how many units may come at once after a pause. */
export interface Rate {
  readonly perSecond: number;
  readonly burst: number;
}

/** Sums of floating-point intervals may exceed what a rate allows by less than this. */
const ROUNDING_MS = 1e-6;

/**
 * One step of the generic cell rate algorithm (ITU-T I.371), whose whole state is the time at which the limit is idle
 * again: for callers that keep this one number of many sources themselves.
 *
 * @param idleAtMs the state, 0 at first
 * @param nowMs `Clock.now` ms, not negative
 * @returns the next state when `cost` units may pass now, −1 when not
 */
export function nextIdleAt(rate: Rate, idleAtMs: number, nowMs: number, cost: number): number {
  const msPerUnit = 1_000 / rate.perSecond;
  const idleAt = Math.max(idleAtMs, nowMs) + cost * msPerUnit;
  return idleAt - nowMs <= rate.burst * msPerUnit + ROUNDING_MS ? idleAt : -1;
}

export interface RateLimitOptions {
  /** Sustained rate of each key, units per second. */
  perSecond: number;
  /** Units that a key may take at once after a pause. @default perSecond, at least 1 */
  burst?: number;
  /** Keys that are tracked at once. @default 10000 */
  maxKeys?: number;
}

const DEFAULT_MAX_KEYS = 10_000;

/**
 * Limits rates per key with {@link nextIdleAt}: one number per key, bounded memory. While
 * `maxKeys` keys are over their pause, all further keys share one budget, so that a flood of forged sources can neither
 * grow the table nor get more than one key's rate in addition.
 */
export class RateLimit {
  readonly #clock: Clock;
  /** The caller's own object where that is complete: a process may have thousands of limits of the same rate. */
  readonly #rate: Rate & Pick<RateLimitOptions, 'maxKeys'>;
  /** Key → when its budget is full again, ms. The order of the entries is the order of their last use. */
  #fullAtMs: SparseMap<string, number> | undefined;
  /** The same without a key: limits of one thing need no table. */
  #soleFullAtMs: number | undefined;
  #overflowAtMs: number | undefined;

  constructor({ clock }: { clock: Clock }, options: RateLimitOptions) {
    this.#clock = clock;
    this.#rate = hasBurst(options) ? options : { ...options, burst: Math.max(1, options.perSecond) };
  }

  /** Keys that are tracked at the moment. */
  get size(): number {
    return this.#fullAtMs?.size ?? 0;
  }

  /**
   * Takes `cost` units from the budget of `key`; without a key, from one budget that is always there.
   * @returns false, and takes nothing, when the budget does not hold as much
   */
  take(key = '', cost = 1): boolean {
    const now = this.#clock.now();
    const tracked = this.#isTracked(key, now);
    const nextMs = nextIdleAt(this.#rate, this.#fullAt(key, tracked, now), now, cost);
    if (nextMs < 0) return false;
    this.#keep(key, tracked, nextMs);
    return true;
  }

  /** Takes `cost` units that were used already, also beyond what the budget holds: later takers wait for them. */
  spend(key: string, cost: number): void {
    const now = this.#clock.now();
    const tracked = this.#isTracked(key, now);
    this.#keep(key, tracked, Math.max(this.#fullAt(key, tracked, now), now) + this.#msOf(cost));
  }

  /** When `cost` units can be taken, ms from now; 0 when they can be taken now. */
  waitMs(key = '', cost = 1): number {
    const now = this.#clock.now();
    const tracked = key === '' || this.#fullAtMs?.has(key) === true || this.size < this.#maxKeys;
    const fullAtMs = this.#fullAt(key, tracked, now);
    return Math.max(0, Math.max(fullAtMs, now) + this.#msOf(cost) - now - this.#msOf(this.#rate.burst));
  }

  get #maxKeys(): number {
    return this.#rate.maxKeys ?? DEFAULT_MAX_KEYS;
  }

  #msOf(units: number): number {
    return units * (1_000 / this.#rate.perSecond);
  }

  #fullAt(key: string, tracked: boolean, now: number): number {
    if (key === '') return this.#soleFullAtMs ?? Number.NEGATIVE_INFINITY;
    return (tracked ? this.#fullAtMs?.get(key) : this.#overflowAtMs) ?? now;
  }

  #keep(key: string, tracked: boolean, fullAtMs: number): void {
    if (key === '') this.#soleFullAtMs = fullAtMs;
    else if (!tracked) this.#overflowAtMs = fullAtMs;
    else {
      this.#fullAtMs ??= new SparseMap();
      this.#fullAtMs.delete(key);
      this.#fullAtMs.set(key, fullAtMs);
    }
  }

  #isTracked(key: string, now: number): boolean {
    if (key === '' || this.#fullAtMs?.has(key) === true) return true;
    for (const [old, fullAtMs] of this.#fullAtMs ?? []) {
      if (fullAtMs > now) break;
      this.#fullAtMs?.delete(old);
    }
    return this.size < this.#maxKeys;
  }
}

function hasBurst(options: RateLimitOptions): options is RateLimitOptions & Rate {
  return options.burst !== undefined;
}
