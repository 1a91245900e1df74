import { errorCode, errorMessage, isAbort, TowpathError } from '@towpath/core';
import { ExitCode } from './exit-code.ts';
import type { Io } from './io.ts';

/** A mistake on the command line, with the way out. */
export class UsageError extends TowpathError<'usage'> {
  constructor(message: string) {
    super('usage', message);
  }
}

const EXIT_CODES: Readonly<Record<string, ExitCode>> = {
  usage: ExitCode.Usage,
  'bad-argument': ExitCode.Usage,
  'confirmation-required': ExitCode.Usage,
  interrupted: ExitCode.Interrupted,
  'address-in-use': ExitCode.Local,
  'address-not-available': ExitCode.Local,
  'permission-denied': ExitCode.Local,
  'disk-full': ExitCode.Local,
  'disk-failed': ExitCode.Local,
  'damaged-file': ExitCode.Local,
  'file-unreadable': ExitCode.Local,
  'command-refused': ExitCode.Refused,
  'login-failed': ExitCode.Refused,
  'item-missing': ExitCode.Refused,
  'not-a-member': ExitCode.Refused,
  'not-found': ExitCode.Refused,
  'invalid-statement': ExitCode.Refused,
  'invalid-invite': ExitCode.Refused,
  forbidden: ExitCode.Refused,
  unauthorized: ExitCode.Refused,
  conflict: ExitCode.Refused,
  'clock-skew': ExitCode.Refused,
  'limit-exceeded': ExitCode.Refused,
  'untrusted-log': ExitCode.Untrusted,
  'membership-forged': ExitCode.Untrusted,
  'membership-fork': ExitCode.Untrusted,
  'membership-rollback': ExitCode.Untrusted,
  'membership-withheld': ExitCode.Untrusted,
  'already-running': ExitCode.Local,
  'invalid-identity': ExitCode.Local,
  'invalid-request': ExitCode.Usage,
  'server-unavailable': ExitCode.Unreachable,
  'bad-answer': ExitCode.Unreachable,
  'connect-failed': ExitCode.Unreachable,
  'no-answer': ExitCode.Unreachable,
  'connection-refused': ExitCode.Unreachable,
  unreachable: ExitCode.Unreachable,
  'timed-out': ExitCode.Unreachable,
  'retries-timed-out': ExitCode.Unreachable,
  'attempt-timed-out': ExitCode.Unreachable,
  'command-timeout': ExitCode.Unreachable,
  'session-closed': ExitCode.Unreachable,
  'transfer-stalled': ExitCode.Unreachable,
  'link-closed': ExitCode.Unreachable,
};

/** A failure whose details are on standard output already: with --json no object is added to them. */
export class ReportedError extends TowpathError<'nothing-decoded'> {}

/** The exit code that fits an error. */
export function exitCodeOf(error: unknown): ExitCode {
  const code = errorCode(error);
  if (isAbort(error)) return ExitCode.Interrupted;
  return EXIT_CODES[code] ?? ExitCode.Failed;
}

/** Shows an error in one line on standard error; with `json` also as an object on standard output. */
export function showFailure(io: Io, error: unknown, json: boolean): void {
  const message = errorMessage(error);
  io.err(`${io.style('red', 'towpath:')} ${message}`);
  if (json && !(error instanceof ReportedError)) io.out(JSON.stringify({ error: { code: errorCode(error), message } }));
}
