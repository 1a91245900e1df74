import type { Clock, Timer } from './clock.ts';

/** One tick of a {@link deadlineInterval}. */
export interface Tick {
  /** 0 for the first tick; skipped deadlines are counted too, so `count` always fits the time. */
  count: number;
  /** When it should have come, `Clock.now` ms. */
  deadlineMs: number;
  /** How late it came, ms. */
  lateMs: number;
  /** Deadlines that passed unserved since the last tick, because the process was suspended or blocked. */
  skipped: number;
}

export interface DeadlineIntervalOptions {
  clock: Clock;
  /** Distance of the deadlines, ms. */
  intervalMs: number;
  /** Time to the first tick, ms. @default intervalMs */
  firstMs?: number;
  onTick(tick: Tick): void;
  /** Ends the interval when it aborts. */
  signal?: AbortSignal | undefined;
}

/**
 * Ticks on a fixed grid of deadlines: each wait is computed from the grid and not from the last tick, so lateness never
 * adds up. After a pause longer than an interval the missed ticks are skipped, not sent in a burst.
 */
export function deadlineInterval(options: DeadlineIntervalOptions): Timer {
  const { clock, intervalMs, firstMs = intervalMs, onTick, signal } = options;
  const start = clock.now() + firstMs;
  let count = 0;
  let timer: Timer | undefined;
  const cancel = () => {
    timer?.cancel();
    timer = undefined;
    signal?.removeEventListener('abort', cancel);
  };
  const arm = (skipped: number) => {
    const deadlineMs = start + count * intervalMs;
    timer = clock.timer(deadlineMs - clock.now(), () => {
      const now = clock.now();
      // A timer of the platform may fire a fraction early; serving it then would break the grid's promise.
      if (now < deadlineMs - EARLY_TOLERANCE_MS) {
        arm(skipped);
        return;
      }
      const tick: Tick = { count, deadlineMs, lateMs: Math.max(0, now - deadlineMs), skipped };
      const missed = Math.max(0, Math.floor((now - deadlineMs) / intervalMs));
      count += 1 + missed;
      arm(missed);
      onTick(tick);
    });
  };
  if (!signal?.aborted) {
    signal?.addEventListener('abort', cancel, { once: true });
    arm(0);
  }
  return { cancel, [Symbol.dispose]: cancel };
}

const EARLY_TOLERANCE_MS = 1;
