import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { AbortedError, type ErrorKind, TowpathError } from '@towpath/core';
import type { Command } from 'commander';
import { describe, expect, test } from 'vitest';
import { ExitCode } from '../src/cli/exit-code.ts';
import { EXIT_CODES, exitCodeOf, ReportedError } from '../src/cli/failure.ts';
import { createProgram } from '../src/cli/program.ts';
import type { Runtime } from '../src/cli/runtime.ts';
import { CommandLine, components } from './command-line.ts';
import { testIo } from './test-io.ts';

const README = readFileSync(join(import.meta.dirname, '../README.md'), 'utf8');

describe('exit codes', () => {
  test('follow from the kind of the error, as the table of the README says', () => {
    const rows = [...README.matchAll(/^\| (\d+) \| `([a-z]+)` \|/gm)].map(([, code, kind]) => [kind!, Number(code)]);
    expect(Object.fromEntries(rows)).toEqual(EXIT_CODES);
    for (const [kind, code] of Object.entries(EXIT_CODES)) {
      expect(exitCodeOf(new TowpathError('some-code', 'A message.', { kind: kind as ErrorKind }))).toBe(code);
    }
  });

  test('the README lists every exit code', () => {
    const listed = [...README.matchAll(/^\| (\d+(?:, \d+)*) \|/gm)].flatMap(([, codes]) =>
      codes!.split(', ').map(Number),
    );
    expect(listed.toSorted((a, b) => a - b)).toEqual(Object.values(ExitCode).toSorted((a, b) => a - b));
  });

  test.each([
    ['an abort', new AbortedError('Not needed any more.'), 130],
    ['an abort of the platform', new DOMException('This operation was aborted', 'AbortError'), 130],
    ['a port in use, from the system', Object.assign(new Error('listen EADDRINUSE'), { code: 'EADDRINUSE' }), 5],
    ['no answer', new TowpathError('no-answer', 'Nobody there.'), 3],
    ['a failure that the daemon reports by its code alone', new TowpathError('not-a-member', 'Not a member.'), 4],
    ['a defect', new TypeError('undefined is not a function'), 1],
    ['what is no error', 'text', 1],
    ['towpath why, relayed', new ReportedError('why-relayed', 'Relayed.', { exitCode: ExitCode.Relayed }), 10],
  ])('%s', (_what, error, code) => {
    expect(exitCodeOf(error)).toBe(code);
  });
});

describe('wrong arguments (G4)', async () => {
  const program = await createProgram({ ...components, io: testIo() } as unknown as Runtime);
  const leaves = (command: Command, names: readonly string[]): (readonly string[])[] =>
    command.commands.length === 0 ? [names] : command.commands.flatMap((each) => leaves(each, [...names, each.name()]));

  test.each(leaves(program, []).map((names) => [names.join(' '), names] as const))(
    '%s ends with 2, and with --json prints an object',
    async (_name, names) => {
      using commandLine = new CommandLine();
      const { code, out, err } = await commandLine.run([...names, '--no-such-option', '--json']);
      expect([code, err]).toEqual([2, expect.stringMatching(/--no-such-option|required option/)]);
      expect(out.map((line) => JSON.parse(line))).toMatchObject([
        { type: 'error', version: 1, error: { code: expect.any(String), message: expect.stringMatching(/\S/) } },
      ]);
    },
  );
});
