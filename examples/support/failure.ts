import { errorCode, errorKind, TowpathError } from '@towpath/core';

/** Exit codes of failures: those of `towpath`. */
const EXIT_CODES: Readonly<Partial<Record<string, number>>> = { usage: 2, unreachable: 3, refused: 4, local: 5 };

// Whoever tries an example has no use for a stack trace.
process.on('uncaughtException', (error: unknown) => {
  const kind = error instanceof TowpathError ? error.kind : errorKind(errorCode(error));
  fail(error instanceof Error ? error.message : String(error), EXIT_CODES[kind] ?? 1);
});

/** Returns the arguments of the example: none, or one for each name. Others end it with exit code 2. */
export function exampleArguments(...names: readonly string[]): readonly string[] {
  const given = process.argv.slice(2);
  const right = given.length === 0 || given.length === names.length;
  if (right && !given.some((each) => each.startsWith('-'))) return given;
  return fail(`Expected ${names.length === 0 ? 'no arguments' : `${names.join(' ')}, or no arguments`}.`, 2);
}

function fail(message: string, code: number): never {
  process.stderr.write(`${message.replaceAll('\n', ' ')}\n`);
  process.exit(code);
}
