import {
  type ErrorKind,
  errorCode,
  errorKind,
  errorMessage,
  firstError,
  isAbort,
  TowpathError,
  type TowpathErrorOptions,
} from '@towpath/core';
import { ExitCode } from './exit-code.ts';
import type { Io } from './io.ts';
import { printJson } from './json-output.ts';
import { oneLine } from './terminal-text.ts';

/** A wrong command line. The message says how to correct it. */
export class UsageError extends TowpathError<'usage'> {
  constructor(message: string) {
    super('usage', message);
  }
}

/** The exit code of each kind of failure; docs: README.md, "Exit codes", and `towpath --help`. */
export const EXIT_CODES: Readonly<Record<ErrorKind, ExitCode>> = {
  unreachable: ExitCode.Unreachable,
  refused: ExitCode.Refused,
  local: ExitCode.Local,
  usage: ExitCode.Usage,
  untrusted: ExitCode.Untrusted,
  interrupted: ExitCode.Interrupted,
  internal: ExitCode.Failed,
};

/** A failure whose details are on standard output already: with --json no object is added to them. */
export class ReportedError extends TowpathError {
  /** Where a command has exit codes of its own: `towpath why`. */
  readonly exitCode: ExitCode | undefined;

  constructor(code: string, message: string, options: TowpathErrorOptions & { exitCode?: ExitCode } = {}) {
    super(code, message, options);
    this.exitCode = options.exitCode;
  }
}

/** The exit code that fits an error: it follows from the error's kind. */
export function exitCodeOf(thrown: unknown): ExitCode {
  const error = firstError(thrown);
  if (isAbort(error)) return ExitCode.Interrupted;
  if (error instanceof ReportedError && error.exitCode !== undefined) return error.exitCode;
  return EXIT_CODES[error instanceof TowpathError ? error.kind : errorKind(errorCode(error))];
}

/** Shows an error in one line on standard error; with `json` also as an object on standard output. */
export function showFailure(io: Io, thrown: unknown, json: boolean): void {
  const error = firstError(thrown);
  const message = errorMessage(error);
  // The answer of towpath why is on standard output already.
  if (error instanceof ReportedError && error.exitCode !== undefined) return;
  io.err(`${io.style('red', 'towpath:')} ${oneLine(message)}`);
  if (json && !(error instanceof ReportedError)) printJson(io, 'error', { error: { code: errorCode(error), message } });
}
