import { type Clock, deadline, TowpathError } from '@towpath/core';

/**
 * Runs `work` with a signal that aborts after `limitMs`, or when the caller's does.
 * @throws TowpathError `timed-out` with `message`; whatever `work` throws; the caller's reason.
 */
export async function withinLimit<T>(
  clock: Clock,
  limitMs: number,
  message: string,
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  using limit = deadline(clock, limitMs, signal, () => new TowpathError('timed-out', message));
  return await work(limit.signal);
}
