import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
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
    expect(said.frames).toBeGreaterThan(5);
    expect(said.soundFrames).toBeGreaterThan(5);
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

  test.each([
    [['--mp4', 'a.mp4', '--stdout'], 'Only one of'],
    [['--mp4', '-'], 'use --stdout'],
  ])('%j is refused with the next step', async (args, text) => {
    const { code, err } = await at.toCamera('live', ...args);
    expect(code).toBe(2);
    expect(err.join()).toContain(text);
  });
});
