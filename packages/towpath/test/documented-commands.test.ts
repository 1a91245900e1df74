import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { CommanderError, type Command } from 'commander';
import { describe, expect, test } from 'vitest';
import { createProgram } from '../src/cli/program.ts';
import { idleRuntime } from './test-io.ts';

const ROOT = join(import.meta.dirname, '../../..');

/** All documents of the repository; the changelog names commands of earlier versions. */
const documents = ['README.md', 'SECURITY.md', 'CONTRIBUTING.md', 'docs', 'deploy', 'packages', 'examples', 'bench']
  .flatMap((place) => (place.endsWith('.md') ? [place] : inFolder(place)))
  .toSorted();

function inFolder(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.md') && !entry.parentPath.includes('node_modules'))
    .map((entry) => relative(ROOT, join(entry.parentPath, entry.name)));
}

interface Documented {
  readonly file: string;
  readonly line: string;
}

/** Lines of code blocks that run `towpath`, without their comments. */
const inBlocks: Documented[] = documents.flatMap((file) =>
  [...readFileSync(join(ROOT, file), 'utf8').matchAll(/^```sh\n(.*?)^```/gms)].flatMap(([, block = '']) =>
    block
      .replaceAll(/ \\\n\s*/g, ' ')
      .split('\n')
      .filter((line) => /^(sudo )?(npx )?towpath /.test(line))
      .map((line) => ({ file, line: line.replace(/\s+#.*$/, '') })),
  ),
);

/** Commands with options in the text. One that ends with an option that takes a value names the option only. */
const inText: Documented[] = documents.flatMap((file) =>
  [...readFileSync(join(ROOT, file), 'utf8').matchAll(/`((?:sudo )?(?:npx )?towpath [^`\n]* --[^`\n]*)`/g)].map(
    ([, line = '']) => ({ file, line }),
  ),
);

/** The words of a line, as a shell has them. */
function words(line: string): string[] {
  const found = [...line.matchAll(/"([^"]*)"|'([^']*)'|((?:\$\([^)]*\)|\S)+)/g)].map(
    ([, a, b, c]) => a ?? b ?? c ?? '',
  );
  const pipe = found.indexOf('|');
  return found.slice(found.indexOf('towpath') + 1, pipe < 0 ? undefined : pipe).filter((word) => word !== '…');
}

/** Reads a command line as the program does, and runs nothing. @returns what the program would say about it */
async function faultOf(args: readonly string[]): Promise<string> {
  const program = await createProgram(idleRuntime());
  const idle = (command: Command): void => {
    command.action(() => {});
    command.commands.forEach(idle);
  };
  program.commands.forEach(idle);
  try {
    await program.parseAsync([...args], { from: 'user' });
    return '';
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return '';
    return (error as Error).message.replace(/\.$/, '');
  }
}

describe('command lines in the documents', () => {
  test.each([
    ['in code blocks', inBlocks, 20],
    ['in the text', inText, 20],
  ] as const)('%s are accepted by the program, with their values (G1)', async (_where, lines, least) => {
    expect(lines.length).toBeGreaterThan(least);
    const faults: string[] = [];
    for (const { file, line } of lines) {
      const fault = await faultOf(words(line));
      const isName = lines === inText && /--[\w-]+$/.test(line) && /argument missing$/.test(fault);
      if (fault !== '' && !isName) faults.push(`${file}: ${line}: ${fault}`);
    }
    expect(faults).toEqual([]);
  });

  test('that no program accepts are found', async () => {
    for (const line of ['towpath serve --no-such', 'towpath serve --port x', 'towpath party found camp'])
      expect(await faultOf(words(line))).not.toBe('');
  });
});
