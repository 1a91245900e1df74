import type { Clock } from '../clock.ts';
import { TowpathError } from '../errors.ts';

/** A signal that aborts by itself after some time. Dispose of it when the work is done. */
export interface Deadline extends Disposable {
  /** Aborts when the time is up, or with the reason of the outer signal. */
  readonly signal: AbortSignal;
  /** True when the time was up before the outer signal aborted and before it was disposed of. */
  readonly expired: boolean;
  /** Ends the timer; the signal does not abort any more. Idempotent. */
  cancel(): void;
}

/**
 * Bounds a piece of work in time.
 *
 * @param limitMs after so many ms the signal aborts; `Infinity` never does
 * @param outer aborts the deadline's signal as well
 * @param reason what the signal aborts with when the time is up. @default TowpathError `timed-out`
 *
 * @example
 * using limit = deadline(clock, 5_000, signal, () => new NetError('timed-out', `${host} did not answer within 5 s.`));
 * return await connect(host, { signal: limit.signal });
 */
export function deadline(clock: Clock, limitMs: number, outer?: AbortSignal, reason?: () => unknown): Deadline {
  const abort = new AbortController();
  let expired = false;
  const cancel = () => {
    timer?.cancel();
    outer?.removeEventListener('abort', onAbort);
  };
  const onAbort = () => {
    cancel();
    abort.abort(outer?.reason);
  };
  const timer =
    outer?.aborted || limitMs === Number.POSITIVE_INFINITY
      ? undefined
      : clock.timer(limitMs, () => {
          cancel();
          expired = true;
          abort.abort(reason?.() ?? new TowpathError('timed-out', `Not done within ${Math.round(limitMs)} ms.`));
        });
  if (outer?.aborted) onAbort();
  else outer?.addEventListener('abort', onAbort, { once: true });
  return {
    signal: abort.signal,
    get expired() {
      return expired;
    },
    cancel,
    [Symbol.dispose]: cancel,
  };
}
