import { chmodSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CameraEmulator, paddedPictures } from '@towpath/camera/emulator';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { CommandLine, components } from './command-line.ts';

const LONG = { interval: 20, timeout: 60_000 };

let commandLine: CommandLine;
let camera: CameraEmulator;

beforeEach(async () => {
  commandLine = new CommandLine();
  const place = { address: '127.0.0.1', listenPort: 0, searchPort: false } as const;
  camera = new CameraEmulator(components, { ...place, itemCount: 5, pictures: paddedPictures() });
  await camera.start();
});

afterEach(async () => {
  await camera.close();
  commandLine[Symbol.dispose]();
});

test('what appeared while no watch ran is fetched by the next one, once, and given to --exec (C3)', {
  timeout: 180_000,
}, async () => {
  const folder = commandLine.file('garden');
  const [script, ran] = [commandLine.file('note.sh'), commandLine.file('ran')];
  writeFileSync(script, `#!/bin/sh\necho "$1" >> ${ran}\n[ "$(wc -l < ${ran})" -ne 2 ]\n`);
  chmodSync(script, 0o755);
  const place = ['127.0.0.1', '--ports', String(camera.listen.port)];
  const watch = () =>
    commandLine.start(['camera', 'watch', ...place, '-o', folder, '--every', '1', '--exec', script, '--json']);
  const of = (running: { out: string[] }, type: string) =>
    running.out.map((line) => JSON.parse(line)).filter((line) => line.type === type);
  const looks = () => {
    let count = 0;
    const stop = camera.events.on('command', ({ name }) => {
      if (name === 'mediaList') count++;
    });
    return { seen: () => count, stop };
  };
  const photos = () => readdirSync(folder).filter((name) => name.endsWith('.jpg'));

  // A new folder begins with what appears after the first look.
  const first = watch();
  const before = looks();
  await expect.poll(before.seen, LONG).toBeGreaterThan(4);
  before.stop();
  await first.stop();
  expect([of(first, 'saved'), photos()]).toEqual([[], []]);

  const missed = [camera.takePicture(), camera.takePicture()].map(({ mediaNum }) => mediaNum);
  const second = watch();
  await expect.poll(() => of(second, 'exec').length, LONG).toBe(1);
  const third = camera.takePicture();
  await expect.poll(() => of(second, 'saved').length, LONG).toBe(3);
  await expect.poll(() => readFileSync(ran, 'utf8').trim().split('\n'), LONG).toHaveLength(3);
  await second.stop();
  const saved = of(second, 'saved');
  const numbers: number[] = saved.map(({ item }) => item.mediaNum);
  expect(numbers.toSorted((a, b) => a - b)).toEqual([...missed, third.mediaNum]);
  expect(readFileSync(ran, 'utf8').trim().split('\n')).toEqual(saved.map(({ path }) => path));
  // A command that fails is said, and the others go on.
  expect(of(second, 'exec')).toMatchObject([{ code: 1, path: saved[1].path }]);

  const again = watch();
  const after = looks();
  await expect.poll(after.seen, LONG).toBeGreaterThan(4);
  after.stop();
  await again.stop();
  expect([of(again, 'saved'), photos().length]).toEqual([[], 3]);
});

test('--exec without a folder is refused: nothing would be run (C3)', async () => {
  const place = ['127.0.0.1', '--ports', String(camera.listen.port)];
  const { code, err } = await commandLine.run(['camera', 'watch', ...place, '--exec', 'true', '--for', '1']);
  expect([code, err]).toEqual([
    2,
    expect.stringContaining('--exec runs for downloaded files. Next: add --output FOLDER.'),
  ]);
});

test('two watches in one folder are refused, and so is a download into it; the lock of a killed one is taken over (C3)', async () => {
  const folder = commandLine.file('garden');
  const place = ['127.0.0.1', '--ports', String(camera.listen.port)];
  const first = commandLine.start(['camera', 'watch', ...place, '-o', folder, '--every', '1', '--json']);
  await expect.poll(() => first.out.some((line) => JSON.parse(line).type === 'waiting'), LONG).toBe(true);
  for (const args of [
    ['camera', 'watch', ...place, '-o', folder],
    ['camera', 'watch', '--wake', ...place, '--every', '2h', '-o', folder],
    ['camera', 'download', ...place, '-o', folder],
  ]) {
    const { code, err } = await commandLine.run(args);
    expect(err).toContain(`Another towpath process (${process.pid}) writes to ${folder}. Next: choose another folder`);
    expect(code).toBe(5);
  }
  expect(await first.stop()).toBe(130);
  const lock = join(folder, '.towpath.lock');
  expect(existsSync(lock)).toBe(false);
  writeFileSync(lock, '4194999 1\n');
  const { code, out } = await commandLine.run(['camera', 'download', ...place, '-o', folder]);
  expect([code, out.length]).toEqual([0, 5]);
  expect(existsSync(lock)).toBe(false);
});
