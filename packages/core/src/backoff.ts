import type { Random } from './random.ts';

/** The delays before the second, third, … try. */
export interface BackoffOptions {
  /** First delay, ms. */
  baseMs: number;
  /** Each delay is this many times the one before. @default 2 */
  factor?: number;
  /** No delay is longer, ms. */
  maxMs: number;
  /** How many delays there are; without it they never end. */
  count?: number | undefined;
  /** Each delay is multiplied by a number from 1 − jitter to 1 + jitter. @default 0.1 */
  jitter?: number;
  random: Random;
}

/** An iterable of delays in ms: exponential, capped, jittered so that many clients do not come back at once. */
export function* backoff(options: BackoffOptions): Generator<number, void, undefined> {
  const { baseMs, factor = 2, maxMs, count = Number.POSITIVE_INFINITY, jitter = 0.1, random } = options;
  let delayMs = baseMs;
  for (let tries = 0; tries < count; tries++) {
    yield Math.min(maxMs, delayMs) * (1 + jitter * (2 * random.next() - 1));
    delayMs = Math.min(maxMs, delayMs * factor);
  }
}
