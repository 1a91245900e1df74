import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CameraEmulator } from '@towpath/camera/emulator';
import { SystemClock, SystemRandom } from '@towpath/core';
import { NodeNetwork } from '@towpath/net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const PROGRAM = join(import.meta.dirname, '../../packages/towpath/bin/towpath.js');
const isPossible = process.getuid?.() === 0;

/** Names and contents below a folder. */
function contents(folder: string): Record<string, string> {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return Object.fromEntries(
    files
      .map((entry) => join(entry.parentPath, entry.name))
      .sort()
      .map((path) => [path, readFileSync(path, 'utf8')]),
  );
}

/** Programs that start where nothing can be written say so in one sentence, end with 5, and change nothing. */
describe.skipIf(!isPossible)('a disk on which nothing can be written', () => {
  let folder: string;
  let home: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'towpath-disk-'));
    mount('tmpfs', '-t', 'tmpfs', '-o', 'size=1m,mode=0700');
    home = join(folder, 'home');
    mkdirSync(home, { mode: 0o700 });
    expect(towpath('camera', 'add', 'feeder', '127.0.0.1', '--ports', '1').status).toBe(0);
  });
  afterEach(() => {
    spawnSync('umount', ['-l', folder]);
    rmSync(folder, { recursive: true, force: true });
  });

  function mount(what: string, ...options: string[]): void {
    const { status, stderr } = spawnSync('mount', [...options, what, folder], { encoding: 'utf8' });
    if (status !== 0) throw new Error(stderr);
  }

  const towpath = (...args: string[]) =>
    spawnSync(process.execPath, [PROGRAM, ...args], {
      encoding: 'utf8',
      timeout: 60_000,
      env: { ...process.env, TOWPATH_HOME: home, NO_COLOR: '1' },
    });

  const COMMANDS: readonly (readonly string[])[] = [
    ['up', '--for', '1', '--api-port', '0'],
    ['serve', '--no-builtin-relay', '--address', '127.0.0.1', '--port', '0'],
    ['party', 'create', 'camp', '--server', '127.0.0.1:1'],
    ['camera', 'add', 'barn', '127.0.0.1'],
  ];

  it.each([
    [
      'full',
      'the disk is full',
      'disk-full',
      () => void spawnSync('dd', ['if=/dev/zero', `of=${join(folder, 'fill')}`]),
    ],
    ['read-only', 'the file system is read-only', 'disk-failed', () => mount('tmpfs', '-o', 'remount,ro')],
  ])('%s', (_name, words, code, spoil) => {
    spoil();
    const before = contents(home);
    for (const command of COMMANDS) {
      const { status, stderr, stdout } = towpath(...command, '--json');
      expect([command.join(' '), status], stderr).toEqual([command.join(' '), 5]);
      expect(stderr).toMatch(new RegExp(`^towpath: \\S+ cannot be written: ${words}\\. Next: .*\\.\\n$`));
      expect(JSON.parse(stdout)).toMatchObject({ error: { code } });
    }
    expect(contents(home)).toEqual(before);
  });
});

/** A disk that fills while a watch runs, and has space again later. */
describe.skipIf(!isPossible)('a watch on a disk that fills', () => {
  let folder: string;
  let camera: CameraEmulator;
  const pictures = (): string => join(folder, 'pictures');

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'towpath-disk-'));
    mkdirSync(pictures());
    const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', pictures()], { encoding: 'utf8' });
    expect([mounted.status, mounted.stderr]).toEqual([0, '']);
    const parts = { network: new NodeNetwork(), clock: new SystemClock(), random: new SystemRandom() };
    camera = new CameraEmulator(parts, { address: '127.0.0.1', listenPort: 0, searchPort: false, itemCount: 3 });
    await camera.start();
  });
  afterEach(async () => {
    await camera.close();
    spawnSync('umount', ['-l', pictures()]);
    rmSync(folder, { recursive: true, force: true });
  });

  interface Line {
    readonly type: string;
    readonly code?: string;
    readonly pending?: string[];
    readonly item?: { dirNum: number; mediaNum: number };
    readonly error?: { code: string; message: string };
  }

  /** A watch: what it printed so far, and its exit code. */
  function watch(...more: string[]) {
    const place = ['127.0.0.1', '--ports', String(camera.listen.port), '-o', pictures(), '--every', '1', '--json'];
    const child = spawn(process.execPath, [PROGRAM, 'camera', 'watch', ...place, ...more], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, TOWPATH_HOME: join(folder, 'home'), NO_COLOR: '1' },
    });
    let [out, err] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text));
    const code = new Promise<number | null>((resolve) => child.once('close', resolve));
    const of = (type: string): Line[] =>
      (out.match(/.*\n/g) ?? []).map((line) => JSON.parse(line) as Line).filter((line) => line.type === type);
    return { of, code, err: () => err, stop: () => child.kill('SIGINT') };
  }

  const fill = (): void => void spawnSync('dd', ['if=/dev/zero', `of=${join(pictures(), 'fill')}`, 'bs=4k']);
  const free = (): void => rmSync(join(pictures(), 'fill'));
  const photos = (): string[] => readdirSync(pictures()).filter((name) => name.endsWith('.jpg'));
  const nameOf = ({ dirNum, mediaNum }: { dirNum: number; mediaNum: number }): string => `${dirNum}/${mediaNum}`;
  const LONG = { interval: 50, timeout: 60_000 };

  it('says what it cannot store, goes on when there is space again, and ends with 5 while there is none; nothing is lost (C3)', async () => {
    const ran = join(folder, 'ran');
    const script = join(folder, 'note.sh');
    writeFileSync(script, `#!/bin/sh\necho "$1" >> ${ran}\n`, { mode: 0o755 });
    const first = watch('--exec', script);
    // The first check is over: what is on the card is not wanted.
    await expect.poll(() => readdirSync(pictures()).some((name) => name.endsWith('.json')), LONG).toBe(true);
    fill();
    const taken = [camera.takePicture(), camera.takePicture()].map(nameOf).sort();
    await expect.poll(() => first.of('failed').at(-1)?.pending?.toSorted(), LONG).toEqual(taken);
    expect(first.of('failed').every(({ code }) => code === 'disk-full')).toBe(true);
    expect(photos()).toEqual([]);
    expect(readdirSync(pictures()).filter((name) => name.endsWith('.part'))).toEqual([]);
    free();
    await expect
      .poll(
        () =>
          first
            .of('saved')
            .map(({ item }) => nameOf(item!))
            .sort(),
        LONG,
      )
      .toEqual(taken);
    await expect.poll(() => readFileSync(ran, 'utf8').trim().split('\n').length, LONG).toBe(2);
    first.stop();
    expect([await first.code, first.err()]).toEqual([130, '']);

    fill();
    const missed = nameOf(camera.takePicture());
    const second = watch('--for', '6');
    expect(await second.code).toBe(5);
    expect(second.of('failed').at(-1)).toMatchObject({ code: 'disk-full', pending: [missed] });
    expect(second.err()).toMatch(/^towpath: not downloaded: 1 picture; .*: the disk is full\. Next: free space/m);
    free();
    const third = watch();
    await expect.poll(() => third.of('saved').map(({ item }) => nameOf(item!)), LONG).toEqual([missed]);
    third.stop();
    expect(await third.code).toBe(130);
    expect(photos()).toHaveLength(3);
  });

  it('a new folder on a full disk is refused with 5: the next watch would not know where it began', async () => {
    fill();
    const watched = watch();
    expect(await watched.code).toBe(5);
    expect(watched.err()).toMatch(/^towpath: .*: the disk is full\. Next: free space/m);
    expect(photos()).toEqual([]);
  });
});
