import { AbortedError, type Deadline, deadline } from '@towpath/core';
import type { Runtime } from '../../cli/runtime.ts';

/** Ends with the command, or `seconds` from now where a time was given (`--for`). */
export function timeLimit({ clock, signal }: Runtime, seconds: number = Number.POSITIVE_INFINITY): Deadline {
  return deadline(clock, seconds * 1_000, signal, () => new AbortedError('Time is up.'));
}
