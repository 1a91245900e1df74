import {
  backoff,
  type Clock,
  deadline,
  errorMessage,
  type Log,
  type Random,
  silentLog,
  TowpathError,
  Wakeup,
} from '@towpath/core';
import { MAX_WAIT_MS, visitSchedule, type VisitTimes } from './visit-times.ts';

export interface VisitsComponents {
  readonly clock: Clock;
  readonly random: Random;
  readonly log?: Log;
}

export interface VisitsOptions {
  readonly times: VisitTimes;
  /** Woken to visit now; the schedule stays. */
  readonly now?: Wakeup;
  /** Waits until everything that a visit needs is free, such as the Wi-Fi adapter; the visit's time begins afterwards. */
  turn?(signal: AbortSignal | undefined): Promise<Disposable>;
  /** Wakes the camera, fetches what is new, and lets it sleep. Releases everything when the signal aborts. */
  visit(signal: AbortSignal): Promise<void>;
  /** Called after a visit that failed; `againInMs` is undefined when the next one is that of the schedule. */
  onFailed?(error: unknown, againInMs: number | undefined): void;
  /** Called at the beginning and after each visit, when there is time until the next one. */
  onIdle?(nextInMs: number): void;
  /** Longest visit, ms: a camera that is kept awake empties its batteries. @default 900000 */
  readonly visitLimitMs?: number;
  /** How often a failed visit is tried again before the next one is due. @default 3 */
  readonly retries?: number;
  readonly signal?: AbortSignal;
}

const VISIT_LIMIT_MS = 15 * 60_000;
const RETRIES = 3;

/** Pause after a failed visit, ms: the camera may have been out of reach for a moment, or the adapter in use. */
const RETRY_BASE_MS = 60_000;
const RETRY_MAX_MS = 10 * 60_000;

/**
 * Visits a camera on a fixed schedule until the signal aborts. A failed visit is tried again a few times; the schedule
 * stays. A visit never begins while another one runs; what is due meanwhile is left out.
 * @throws the signal's reason
 */
export async function runVisits(
  { clock, random, log = silentLog }: VisitsComponents,
  options: VisitsOptions,
): Promise<never> {
  const { times, visit, turn, onFailed, onIdle, signal, visitLimitMs = VISIT_LIMIT_MS, retries = RETRIES } = options;
  const now = options.now ?? new Wakeup({ clock });
  const schedule = visitSchedule(clock, times);
  const once = async () => {
    const late = () =>
      new TowpathError('timed-out', `The visit took longer than ${Math.round(visitLimitMs / 60_000)} min.`);
    using _turn = await turn?.(signal);
    using limit = deadline(clock, visitLimitMs, signal, late);
    await visit(limit.signal);
  };
  if (schedule.leftMs() > 0) onIdle?.(schedule.leftMs());
  for (;;) {
    const leftMs = schedule.leftMs();
    if (leftMs > 0 && !(await now.wait(Math.min(leftMs, MAX_WAIT_MS), signal))) continue;
    signal?.throwIfAborted();
    schedule.advance();
    const delays = backoff({ baseMs: RETRY_BASE_MS, maxMs: RETRY_MAX_MS, count: retries, random });
    for (;;) {
      try {
        await once();
        break;
      } catch (error) {
        signal?.throwIfAborted();
        const delay = delays.next();
        const again = !delay.done && delay.value < schedule.leftMs() ? delay.value : undefined;
        log.info(`The visit failed: ${errorMessage(error)}`, { againInMs: again });
        onFailed?.(error, again);
        if (again === undefined) break;
        await now.wait(again, signal);
      }
    }
    // What became due meanwhile is left out.
    schedule.advance();
    onIdle?.(Math.max(0, schedule.leftMs()));
  }
}
