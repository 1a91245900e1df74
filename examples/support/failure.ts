import { errorCode, errorKind, TowpathError } from '@towpath/core';

/** Exit codes of failures: those of `towpath`. */
const EXIT_CODES: Readonly<Partial<Record<string, number>>> = { usage: 2, unreachable: 3, refused: 4, local: 5 };

// Whoever tries an example has no use for a stack trace.
process.on('uncaughtException', (error: unknown) => {
  const kind = error instanceof TowpathError ? error.kind : errorKind(errorCode(error));
  fail(error instanceof Error ? error.message : String(error), EXIT_CODES[kind] ?? 1);
});

/**
 * Returns the arguments of the example: none, or one for each name, and one more where that is allowed. Others end it with
 * exit code 2.
 */
export function exampleArguments(names: readonly string[] = [], more?: string): readonly string[] {
  const given = process.argv.slice(2);
  const counts = [0, names.length, ...(more === undefined ? [] : [names.length + 1])];
  if (counts.includes(given.length) && !given.some((each) => each.startsWith('-'))) return given;
  const forms = [names, ...(more === undefined ? [] : [[...names, more]])]
    .map((form) => form.join(' '))
    .filter(Boolean);
  return fail(`Expected ${[...forms, 'no arguments'].join(', or ')}.`, 2);
}

/** Returns a port of the command line. Anything else ends the example with exit code 2. */
export function portNumber(text: string): number {
  const port = Number(text);
  return Number.isInteger(port) && port > 0 && port < 65_536 ? port : fail('PORT is a number from 1 to 65535.', 2);
}

/** Ends the example because the camera was not reached, as `towpath` does: exit code 3. */
export function failUnreachable(message: string): never {
  return fail(message, 3);
}

function fail(message: string, code: number): never {
  process.stderr.write(`${message.replaceAll('\n', ' ')}\n`);
  process.exit(code);
}
