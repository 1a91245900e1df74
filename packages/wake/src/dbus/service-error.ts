import { isAbort, TowpathError } from '@towpath/core';
import { WakeError, type WakeErrorCode } from '../wake-error.ts';
import { BusError } from './bus.ts';

/** What the D-Bus error names of a service mean: the code, and a message with what to do. */
export type ErrorMeanings = Readonly<Record<string, [WakeErrorCode, string]>>;

/**
 * Converts what a call of a service failed with; a {@link TowpathError} and an abort stay as they are.
 * @param otherwise the code of an error that has no meaning here
 * @param what the beginning of its message, as in "The device was not reached"
 */
export function serviceError(
  meanings: ErrorMeanings,
  error: unknown,
  otherwise: WakeErrorCode,
  what: string,
): TowpathError {
  if (error instanceof TowpathError || isAbort(error)) return error as TowpathError;
  const name = error instanceof BusError ? error.errorName : '';
  const meaning = meanings[name];
  if (meaning !== undefined) return new WakeError(meaning[0], meaning[1], { cause: error });
  const said = error instanceof Error ? error.message : String(error);
  return new WakeError(otherwise, `${what} (${[name, said].filter(Boolean).join(': ')}).`, { cause: error });
}
