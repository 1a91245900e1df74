import { AbortedError, type Deadline, deadline, isAbort, TowpathError } from '@towpath/core';
import type { Runtime } from '../../cli/runtime.ts';
import { formatMs } from '../../cli/table.ts';

/** Ends with the command, or `seconds` from now where a time was given (`--for`). */
export function timeLimit({ clock, signal }: Runtime, seconds: number = Number.POSITIVE_INFINITY): Deadline {
  return deadline(clock, seconds * 1_000, signal, () => new AbortedError('Time is up.'));
}

/**
 * Waits for what has to be there before a command can do its work.
 * @param what what it waits for: `the broker to accept the connection`
 * @throws TowpathError `timed-out` when the time of `--for` is over before; what the work throws
 */
export async function withinTime<Result>(
  { signal }: Runtime,
  seconds: number | undefined,
  what: string,
  work: Promise<Result>,
): Promise<Result> {
  try {
    return await work;
  } catch (error) {
    if (!isAbort(error) || signal.aborted || seconds === undefined) throw error;
    const message = `Time is up: after ${formatMs(seconds * 1_000)} (--for) the command still waited for ${what}. Next: check that it answers, or give more time.`;
    throw new TowpathError('timed-out', message, { kind: 'unreachable', cause: error });
  }
}
