import type { Clock } from '@towpath/core';
import { utcOffsetMinutes } from '../media/capture-time.ts';

/** When a camera is visited: at an interval, or at times of the day. */
export type VisitTimes =
  | {
      /** Interval of the visits, ms. */
      readonly everyMs: number;
      /** The first one begins after so many ms. @default 0 */
      readonly firstInMs?: number | undefined;
    }
  | {
      /** Minutes since midnight. */
      readonly at: readonly number[];
      /** IANA name or `±HH:MM`. @default the machine's own */
      readonly timeZone?: string | undefined;
    };

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;

/**
 * Returns the next moment at one of the times of the day, later than `epochMs`. A time that a day does not have, because clocks
 * are put forward, comes as much later.
 */
export function nextTimeOfDay(at: readonly number[], epochMs: number, timeZone?: string): number {
  const midnight = (wallMs: number) => Math.floor(wallMs / DAY_MS) * DAY_MS;
  const today = midnight(epochMs + utcOffsetMinutes(epochMs, timeZone) * MINUTE_MS);
  // A day before, because of zones that change their offset at midnight.
  const candidates = [-1, 0, 1, 2].flatMap((days) =>
    at.map((minutes) => {
      const wallMs = today + days * DAY_MS + minutes * MINUTE_MS;
      const guess = wallMs - utcOffsetMinutes(wallMs, timeZone) * MINUTE_MS;
      return wallMs - utcOffsetMinutes(guess, timeZone) * MINUTE_MS;
    }),
  );
  return Math.min(...candidates.filter((ms) => ms > epochMs));
}

/** The longest wait at once, ms: the machine's clock may be set meanwhile. */
export const MAX_WAIT_MS: number = 10 * MINUTE_MS;

/** When the next visit is due, however long the last one took. */
export interface VisitSchedule {
  /** Time to the next visit, ms; 0 or less when it is due. */
  leftMs(): number;
  /** Goes on to the first visit that is not due yet. */
  advance(): void;
}

export function visitSchedule(clock: Pick<Clock, 'now' | 'wallTime'>, times: VisitTimes): VisitSchedule {
  return 'at' in times ? dailySchedule(clock, times) : intervalSchedule(clock, times);
}

function intervalSchedule(
  clock: Pick<Clock, 'now'>,
  { everyMs, firstInMs = 0 }: Extract<VisitTimes, { everyMs: number }>,
): VisitSchedule {
  let nextMs = clock.now() + firstInMs;
  return {
    leftMs: () => nextMs - clock.now(),
    advance() {
      // On a fixed grid, so that lateness never adds up.
      while (nextMs <= clock.now()) nextMs += everyMs;
    },
  };
}

function dailySchedule(
  clock: Pick<Clock, 'wallTime'>,
  { at, timeZone }: Extract<VisitTimes, { at: readonly number[] }>,
): VisitSchedule {
  const following = () => nextTimeOfDay(at, clock.wallTime(), timeZone);
  let nextMs = following();
  return {
    leftMs() {
      // A clock that was put back has more visits before the one that was next.
      nextMs = Math.min(nextMs, following());
      return nextMs - clock.wallTime();
    },
    advance() {
      nextMs = following();
    },
  };
}
