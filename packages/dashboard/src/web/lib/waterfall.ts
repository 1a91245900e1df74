import type { Race, RaceAttempt } from '../../api/common.ts';

export interface WaterfallBar {
  readonly attempt: RaceAttempt;
  /** Percent of the race's time; a width of 0: it never began. */
  readonly left: number;
  readonly width: number;
  readonly won: boolean;
}

/** Thinner than this a bar could not be seen, percent. */
const LEAST_WIDTH = 0.8;

/** Where the bars of a race's attempts begin, and how long they are. */
export function waterfallBars({ attempts, elapsedMs, winner }: Race): WaterfallBar[] {
  const whole = Math.max(1, elapsedMs);
  return attempts.map((attempt) => {
    const won = attempt.id === winner;
    if (attempt.startedMs === null) return { attempt, left: 0, width: 0, won };
    const start = clamp(attempt.startedMs, whole);
    const end = clamp(attempt.endedMs ?? whole, whole);
    const left = Math.min((start / whole) * 100, 100 - LEAST_WIDTH);
    return { attempt, left, width: Math.max(LEAST_WIDTH, ((end - start) / whole) * 100), won };
  });
}

function clamp(ms: number, whole: number): number {
  return Math.min(whole, Math.max(0, ms));
}

/** Round marks for a scale from 0 to `elapsedMs`: three to six of them. */
export function scaleTicks(elapsedMs: number): { readonly ms: number; readonly percent: number }[] {
  const whole = Math.max(1, elapsedMs);
  const magnitude = 10 ** Math.floor(Math.log10(whole));
  const step =
    [0.2, 0.25, 0.5, 1, 2].map((part) => part * magnitude).find((size) => whole / size <= 5) ?? magnitude * 2;
  const ticks = [];
  for (let ms = 0; ms <= whole * 0.93; ms += step)
    ticks.push({ ms: Math.round(ms * 100) / 100, percent: (ms / whole) * 100 });
  return ticks;
}
