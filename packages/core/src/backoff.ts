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
  const { count = Number.POSITIVE_INFINITY } = options;
  for (let tries = 0; tries < count; tries++) yield backoffMs(options, tries);
}

/**
 * The same delay for callers that keep the number of tries themselves, because there are thousands of them, ms.
 * @param tries 0 for the first delay
 */
export function backoffMs(options: Omit<BackoffOptions, 'count'>, tries: number): number {
  const { baseMs, factor = 2, maxMs, jitter = 0.1, random } = options;
  return Math.min(maxMs, baseMs * factor ** tries) * (1 + jitter * (2 * random.next() - 1));
}
