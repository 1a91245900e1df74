import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { CommandLine } from './command-line.ts';

test('endWhenDone(5) ends also while a program that was started goes on, and says what is open', async () => {
  using commandLine = new CommandLine();
  const there = commandLine.file('there');
  writeFileSync(there, 'text');
  const started = `const { spawn } = await import('node:child_process');
    const child = spawn('sleep', ['60'], { stdio: 'ignore' });
    process.on('exit', () => child.kill());`;
  const { code, err } = await ends(`${started} endWhenDone(5);`, there);
  expect({ code, err }).toEqual({
    code: 5,
    err: expect.stringMatching(/still open \(.*ProcessWrap.*\)\. Please report/),
  });
});

/** Runs a process that ends in this way while it reads a file. */
async function ends(how: string, file: string): Promise<{ code: number | null; signal: string | null; err: string }> {
  const module = new URL('../src/cli/end-process.ts', import.meta.url).href;
  const program = `
    import { readFile } from 'node:fs/promises';
    import { endNow, endWhenDone } from ${JSON.stringify(module)};
    readFile(${JSON.stringify(file)}).catch(() => {});
    ${how}`;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', program], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let err = '';
  child.stderr.on('data', (part) => {
    err += part;
  });
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
  return { code, signal, err };
}

test.each(['endWhenDone(5);', 'endNow(5);'])('%s ends also while a file does not answer', async (how) => {
  using commandLine = new CommandLine();
  const [there, fifo] = [commandLine.file('there'), commandLine.file('fifo')];
  writeFileSync(there, 'text');
  spawnSync('mkfifo', [fifo]);
  const killed = { code: null, signal: 'SIGKILL', err: expect.stringContaining('a file operation does not answer') };
  expect(await ends(how, fifo)).toEqual(killed);
  expect(await ends(how, there)).toEqual({ code: 5, signal: null, err: '' });
});
