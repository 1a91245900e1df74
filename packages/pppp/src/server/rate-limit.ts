import { RecentMap } from './recent-map.ts';

/** A steady rate and how much may come at once. */
export interface Rate {
  readonly perSecond: number;
  readonly burst: number;
}

/**
 * GCRA: the whole state of a limit is the time at which it will be idle again. Returns that time when `cost` units
 * may pass now, −1 when not.
 * @param idleAtMs the state, 0 at first
 */
export function nextIdleAt(rate: Rate, idleAtMs: number, nowMs: number, cost: number): number {
  const msPerUnit = 1000 / rate.perSecond;
  const idleAt = Math.max(idleAtMs, nowMs) + cost * msPerUnit;
  return idleAt - nowMs <= rate.burst * msPerUnit ? idleAt : -1;
}

/** One limit for everybody. */
export class RateLimit {
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
export class KeyedRateLimit {
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
