import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
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
