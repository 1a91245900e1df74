import { writeSync } from 'node:fs';
import { ExitCode } from './exit-code.ts';
import { printable } from './terminal-text.ts';

/** Standard error's descriptor: the streams of a process that is about to end may never write. */
const STANDARD_ERROR = 2;

/** Causes of causes are shown so far: a chain may be a ring. */
const MAX_CAUSES = 5;

/**
 * Ends the process at once when an error was not caught: it is a defect of this program, and what the process would do
 * next is unknown. The process is killed rather than exited, because Node's clean-up may hang after such an error; a
 * supervisor such as systemd then starts it again.
 */
export function endOnUncaughtError(): void {
  process.on('uncaughtException', (error, origin) => {
    try {
      const text = `towpath: internal error (${origin}), the process ends. Please report this.\n${describe(error)}\n`;
      writeSync(STANDARD_ERROR, text);
    } finally {
      process.kill(process.pid, 'SIGKILL');
    }
  });
}

/**
 * Ends the process when nothing is left that could continue a command: that is a defect of this program, which Node tells
 * with its source and an exit code of its own. Returns a function that a command calls at its end.
 */
export function endOnStall(): () => void {
  const onStall = () => {
    writeSync(STANDARD_ERROR, 'towpath: internal error: the command waits for nothing. Please report this.\n');
    process.exit(ExitCode.Failed);
  };
  process.once('beforeExit', onStall);
  return () => process.off('beforeExit', onStall);
}

/**
 * Returns the stack of an error and of its causes, without control characters. Fields of errors are left out: they may
 * be requests and settings, with passwords.
 */
function describe(error: unknown, causes = MAX_CAUSES): string {
  if (typeof error === 'string') return indented(error);
  if (!(error instanceof Error)) return `a value of type ${typeof error} was thrown`;
  const text = indented(String(error.stack ?? error.message));
  return error.cause === undefined || causes === 0 ? text : `${text}\n  cause: ${describe(error.cause, causes - 1)}`;
}

/** A message of several lines must not look like other lines of a log. */
function indented(text: string): string {
  return printable(text).replaceAll('\n', '\n    ');
}
