import type { Random } from '@towpath/core';

/** Sources share this many buckets, so that a flood from invented addresses costs no memory. */
const BUCKETS = 4096;

/** Seconds of the rate that a source may use at once. */
const BURST_SECONDS = 2;

/**
 * Limits how many unauthenticated requests are answered per source address. Memory is fixed: addresses
 * are hashed, with a secret seed so that nobody can choose to share a bucket with a victim.
 */
export class SourceLimiter {
  readonly #perMs: number;
  readonly #burst: number;
  readonly #seed: number;
  readonly #tokens: Float64Array = new Float64Array(BUCKETS);
  readonly #at: Float64Array = new Float64Array(BUCKETS);

  /** @param perSecond answers per second and source. */
  constructor(perSecond: number, random: Random, nowMs: number) {
    this.#perMs = perSecond / 1000;
    this.#burst = perSecond * BURST_SECONDS;
    this.#seed = random.integer(1, 0x7fffffff);
    this.#tokens.fill(this.#burst);
    this.#at.fill(nowMs);
  }

  /** False when `address` has used up its rate. */
  allow(address: string, nowMs: number): boolean {
    let hash = this.#seed;
    for (let index = 0; index < address.length; index++) hash = Math.imul(hash ^ address.charCodeAt(index), 0x01000193);
    const bucket = (hash ^ (hash >>> 15)) & (BUCKETS - 1);
    const tokens = Math.min(this.#burst, this.#tokens[bucket]! + (nowMs - this.#at[bucket]!) * this.#perMs);
    this.#at[bucket] = nowMs;
    this.#tokens[bucket] = tokens < 1 ? tokens : tokens - 1;
    return tokens >= 1;
  }
}
