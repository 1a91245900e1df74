import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { SystemClock } from '@towpath/core';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Card } from '../../camera/src/emulator/card.ts';
import { type CommandLine, commandLine } from './support.ts';

/** A lost camera is noticed after several seconds of silence. */
describe('a camera that dies (C2)', { timeout: 120_000 }, () => {
  let at: CommandLine;

  beforeEach(async () => {
    at = await commandLine();
  });

  afterEach(async () => {
    vi.restoreAllMocks();
    await at.close();
  });

  test('in a download ends it with exit code 3; what was saved stays', async () => {
    const folder = join(at.folder, 'pictures');
    let requests = 0;
    at.camera.events.on('command', ({ name }) => {
      if (name === 'download' && ++requests === 2) at.camera.faults.silent = true;
    });
    const { code, out, err } = await at.toCamera('download', '-o', folder, '--limit', '40', '--timeout', '5');
    expect(code).toBe(3);
    expect(err.join('\n')).toMatch(/Interrupted: .* Waiting for the camera/);
    expect(err.at(-1)).toMatch(/was lost and has not come back for 5\.0 s\. Next: /);
    expect(out.length).toBeGreaterThan(0);
    expect(readdirSync(folder).filter((name) => name.endsWith('.jpg'))).toHaveLength(out.length);
    expect(readdirSync(folder).filter((name) => name.endsWith('.part'))).toEqual([]);
  });

  test('in a live recording ends it with exit code 3; the recording so far is reported', async () => {
    const file = join(at.folder, 'clip.mp4');
    at.camera.events.on('command', ({ name }) => {
      if (name !== 'startAv') return;
      new SystemClock().timer(2_000, () => {
        at.camera.faults.silent = true;
      });
    });
    const args = ['live', '--mp4', file, '--duration', '90', '--timeout', '5', '--json'];
    const { code, out, err } = await at.toCamera(...args);
    expect(code).toBe(3);
    const [recorded, failed] = out.map((line) => JSON.parse(line));
    expect(recorded).toMatchObject({ type: 'recorded', interruptions: 1 });
    expect(recorded.frames).toBeGreaterThan(0);
    expect(failed).toMatchObject({ error: { code: 'session-closed' } });
    expect(err.join('\n')).toContain('Waiting for the camera');
    expect(readFileSync(file).toString('latin1', 4, 8)).toBe('ftyp');
  });

  test('in the last seconds of a live recording ends it with exit code 3, which says how much is missing', async () => {
    at.camera.events.on('command', ({ name }) => {
      if (name !== 'startAv') return;
      new SystemClock().timer(1_500, () => {
        at.camera.faults.silent = true;
      });
    });
    const args = ['live', '--mp4', join(at.folder, 'clip.mp4'), '--duration', '5', '--json'];
    const { code, out } = await at.toCamera(...args);
    const [recorded, failed] = out.map((line) => JSON.parse(line));
    expect(code).toBe(3);
    expect(recorded.frames).toBeGreaterThan(0);
    expect(recorded.missingMs).toBeGreaterThan(1_000);
    expect(failed.error).toMatchObject({ code: 'session-closed' });
    expect(failed.error.message).toMatch(/The last [\d.]+ s of the recording are missing/);
  });

  test('and comes back in time is downloaded from to the end', async () => {
    const folder = join(at.folder, 'pictures');
    let requests = 0;
    at.camera.events.on('command', ({ name }) => {
      if (name === 'download' && ++requests === 2) at.camera.reboot({ downMs: 1_000 });
    });
    const { code, out } = await at.toCamera('download', '-o', folder, '--limit', '40');
    expect([code, out.length]).toEqual([0, 40]);
  });

  test.each([
    ['media', []],
    ['watch', ['--for', '5']],
  ])('an entry of the list that %s cannot read is counted, and the exit code says so (C2)', async (command, more) => {
    const page = Card.prototype.page;
    vi.spyOn(Card.prototype, 'page').mockImplementation(function (this: Card, pageNo, perPage) {
      const items = page.call(this, pageNo, perPage);
      return items.map((item) => (item.mediaNum === 7 ? { ...item, mediaNum: -1 } : item));
    });
    const { code, out, err } = await at.toCamera(command, ...more);
    expect([code, err.at(-1)]).toEqual([1, expect.stringContaining("not readable in the card's list: 1 entry")]);
    expect(out.length).toBeGreaterThan(0);
  });

  test('a video that comes damaged is saved, and the exit code and the summary say what it lacks (C2)', async () => {
    await at.close();
    at = await commandLine({ videoEvery: 5 });
    const video = at.camera.items.find(({ fileType }) => fileType !== 0)!;
    const name = `${video.dirNum}/${video.mediaNum}`;
    at.camera.faults.damagedFrameEvery = 10;
    const fetch = (folder: string, ...more: string[]) =>
      at.toCamera('download', '-o', join(at.folder, folder), '--items', name, ...more);
    const told = await fetch('one');
    expect([told.code, told.out.length]).toEqual([1, 1]);
    expect(told.err.at(-1)).toMatch(`saved without some of their frames: ${name} (`);
    const { code, out } = await fetch('two', '--json');
    const lines = out.map((line) => JSON.parse(line));
    expect(code).toBe(1);
    expect(lines.find(({ type }) => type === 'saved').lostFrames).toBeGreaterThan(1);
    expect(lines.find(({ type }) => type === 'downloaded').damaged).toEqual([
      { item: name, lostFrames: expect.any(Number) },
    ]);
    at.camera.faults.damagedFrameEvery = 0;
    const again = await fetch('three');
    expect(again.code).toBe(0);
  });
});
