import { nextIdleAt, type Rate } from '@towpath/core';
import { RecentMap } from './recent-map.ts';

/*
 * Limits for the path of every datagram: the time is handed in, once for each datagram, and keys are numbers. Core's
 * `RateLimit` asks its clock, and has text for keys.
 */

/** One limit for everybody. */
export class SharedLimit {
  readonly #rate: Rate;
  #idleAtMs = 0;

  constructor(rate: Rate) {
    this.#rate = rate;
  }

  take(nowMs: number, cost = 1): boolean {
    const idleAt = nextIdleAt(this.#rate, this.#idleAtMs, nowMs, cost);
    if (idleAt < 0) return false;
    this.#idleAtMs = idleAt;
    return true;
  }
}

/** The same limit for each key of many. A key that is forgotten under pressure starts anew. */
export class KeyedLimit {
  readonly #rate: Rate;
  readonly #idleAtMs: RecentMap<number, number>;

  constructor(rate: Rate, limit: number) {
    this.#rate = rate;
    this.#idleAtMs = new RecentMap(limit);
  }

  take(key: number, nowMs: number, cost = 1): boolean {
    const idleAt = nextIdleAt(this.#rate, this.#idleAtMs.get(key) ?? 0, nowMs, cost);
    if (idleAt < 0) return false;
    this.#idleAtMs.set(key, idleAt);
    return true;
  }

  clear(): void {
    this.#idleAtMs.clear();
  }
}
