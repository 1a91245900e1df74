import { backoff, type Random, type RetryPolicy } from '@towpath/core';

/** How a {@link CameraClient} makes its first connection. */
export interface ConnectRetryOptions {
  /** @default 5 */
  tries?: number;
  /** Waits before the second, third, … attempt, ms; the last one is repeated. @default 1000, 2000, 4000, 8000, 16000 */
  backoffMs?: readonly number[];
  /** Each wait is multiplied by a number from 1 − jitter to 1 + jitter. @default 0.1 */
  jitter?: number;
  /** Time limit of all attempts, ms. @default 90000 */
  limitMs?: number;
  /** An attempt without a transport after this time has failed, ms. @default 5000 */
  discoveryTimeoutMs?: number;
}

export const DEFAULT_RETRY: Required<ConnectRetryOptions> = {
  tries: 5,
  backoffMs: [1000, 2000, 4000, 8000, 16_000],
  jitter: 0.1,
  limitMs: 90_000,
  discoveryTimeoutMs: 5000,
};

/**
 * After a loss the attempts never end and the waits stay short, so that the camera is reconnected within 10 s of the
 * network's return: at worst the wait, then one attempt.
 */
const RECONNECT_BASE_MS = 500;
const RECONNECT_MAX_MS = 2000;

export function firstPolicy(options: Required<ConnectRetryOptions>, random: Random): RetryPolicy {
  return { limitMs: options.limitMs, delaysMs: () => firstDelays(options, random) };
}

export function againPolicy(random: Random): RetryPolicy {
  return { delaysMs: () => backoff({ baseMs: RECONNECT_BASE_MS, maxMs: RECONNECT_MAX_MS, random }) };
}

function* firstDelays({ tries, backoffMs, jitter }: Required<ConnectRetryOptions>, random: Random): Generator<number> {
  for (let n = 0; n < tries - 1; n++) {
    const delayMs = backoffMs[Math.min(n, backoffMs.length - 1)] ?? 0;
    yield delayMs * (1 + jitter * (2 * random.next() - 1));
  }
}
