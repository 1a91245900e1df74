import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { CommandLine as CliOnTerminal } from './command-line.ts';
import { type CommandLine, commandLine } from './support.ts';

describe('camera live', () => {
  let at: CommandLine;

  beforeEach(async () => {
    at = await commandLine();
  });

  afterEach(() => at.close());

  test('--mp4 records pictures and sound for the given time (B13)', async () => {
    const file = join(at.folder, 'clip.mp4');
    const { code, out } = await at.toCamera('live', '--mp4', file, '--duration', '1.5', '--json');
    expect(code).toBe(0);
    const said = JSON.parse(out[0] ?? '');
    expect(said).toMatchObject({ output: file, interruptions: 0, leftOut: 0 });
    expect(said.durationMs).toBeGreaterThan(1_000);
    // How many come within the time depends on the machine.
    expect(said.frames).toBeGreaterThan(1);
    expect(said.soundFrames).toBeGreaterThan(1);
    expect(readFileSync(file).toString('latin1', 4, 8)).toBe('ftyp');
  });

  test('--stdout writes H.264 (B13)', async () => {
    const { code, out } = await at.toCamera('live', '--stdout', '--duration', '0.5');
    expect(code).toBe(0);
    expect(out[0]).toMatch(/^\d+ bytes$/);
  });

  test('an existing file is kept unless --force is given', async () => {
    const file = join(at.folder, 'clip.mp4');
    writeFileSync(file, 'mine');
    const { code, err } = await at.toCamera('live', '--mp4', file, '--duration', '0.5');
    expect([code, readFileSync(file, 'utf8')]).toEqual([2, 'mine']);
    expect(err.join()).toContain('--force');
    expect((await at.toCamera('live', '--mp4', file, '--duration', '0.5', '--force')).code).toBe(0);
    expect(readFileSync(file).toString('latin1', 4, 8)).toBe('ftyp');
  });

  test('a folder that does not exist is said before anything is connected to, with what to do (G3)', async () => {
    const file = join(at.folder, 'none', 'clip.mp4');
    const { code, err } = await at.toCamera('live', '--mp4', file, '--duration', '0.5');
    const reason = 'cannot be written: its folder does not exist. Next: create it, or choose another one.';
    expect([code, err.join()]).toEqual([5, expect.stringContaining(`${file} ${reason}`)]);
  });

  test('a terminal is refused before anything is connected to (G3)', async () => {
    using commandLine = new CliOnTerminal();
    for (const args of [['live'], ['live', '--stdout']]) {
      const { code, err } = await commandLine.run(['camera', ...args, '192.0.2.1'], {}, undefined, { piped: false });
      expect([code, err]).toEqual([2, expect.stringContaining('Video is not written to a terminal. Next: pipe it')]);
    }
  });

  test('a folder that does not exist, and a disk that is full, are said (G3)', async () => {
    const missing = await at.toCamera('live', '--mp4', join(at.folder, 'none', 'clip.mp4'), '--duration', '0.5');
    expect([missing.code, missing.err.join()]).toEqual([5, expect.stringContaining('clip.mp4')]);
    for (const option of ['--mp4', '--output']) {
      const full = await at.toCamera('live', option, '/dev/full', '--force', '--duration', '3');
      expect([full.code, full.err.at(-1)]).toEqual([5, expect.stringContaining('/dev/full')]);
    }
  });

  test.each([
    [['--mp4', 'a.mp4', '--stdout'], 'Only one of'],
    [['--mp4', '-'], 'use --stdout'],
  ])('%j is refused with the next step', async (args, text) => {
    const { code, err } = await at.toCamera('live', ...args);
    expect(code).toBe(2);
    expect(err.join()).toContain(text);
  });
});
