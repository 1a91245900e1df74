import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  closeSync,
  constants,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { TowpathError } from '@towpath/core';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { lockOwner, takeProcessLock } from '../src/config/process-lock.ts';
import { type CameraMemo, MIGRATIONS, StateFolder } from '../src/daemon/state/state-folder.ts';
import { CommandLine } from './command-line.ts';

const PROGRAM = fileURLToPath(new URL('../bin/towpath.js', import.meta.url));
const NOW_MS = Date.UTC(2026, 4, 1, 12);
const memo: CameraMemo = {
  deviceId: '02:54:50:00:00:01',
  model: 'KJK230',
  firmware: '2.3.0.4',
  battery: { percent: 70, charging: false },
  card: null,
  temperature: 12,
  at: '2026-05-01T12:00:00.000Z',
};

describe('the state folder', () => {
  let root: string;
  let folder: string;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'towpath-state-'));
    folder = join(root, 'state');
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));
  const open = () => StateFolder.open(folder, { nowMs: NOW_MS });

  test('is created for its owner only, and keeps what was put into it', () => {
    open().update({ cameras: { feeder: memo } });
    expect(statSync(folder).mode & 0o777).toBe(0o700);
    expect(statSync(join(folder, 'state.json')).mode & 0o777).toBe(0o600);
    expect(open().state).toEqual({ cameras: { feeder: memo } });
    expect(readdirSync(folder)).toEqual(['state.json']);
  });

  test.each(['fifo', 'folder', 'device without end'])(
    'a %s in place of the state is refused, not waited for',
    (kind) => {
      open();
      const file = join(folder, 'state.json');
      rmSync(file);
      if (kind === 'fifo') spawnSync('mkfifo', [file]);
      else if (kind === 'folder') mkdirSync(file);
      else symlinkSync('/dev/zero', file);
      expect(open).toThrow(
        expect.objectContaining({ code: 'file-unreadable', message: expect.stringContaining('not a file') }),
      );
    },
  );

  test('a FIFO in place of a lock is no lock', () => {
    open();
    const file = join(folder, 'connected.lock');
    spawnSync('mkfifo', [file]);
    expect(lockOwner(file)).toBeUndefined();
  });

  test('a FIFO in place of the log is not waited for', () => {
    mkdirSync(join(folder, 'log'), { recursive: true, mode: 0o700 });
    execFileSync('mkfifo', [join(folder, 'log/towpath.log')]);
    const { status, stderr } = spawnSync(
      process.execPath,
      [PROGRAM, 'up', '--wait', '--api-port', '0', '--for', '0.1'],
      {
        env: { ...process.env, TOWPATH_HOME: folder },
        encoding: 'utf8',
        timeout: 30_000,
        killSignal: 'SIGKILL',
      },
    );
    expect([status, stderr]).toEqual([0, '']);
  });

  test('what could not be written is written by the next update, though it is the same', () => {
    const state = open();
    const file = join(folder, 'state.json');
    rmSync(file);
    // In its place is what no file can replace, as little as on a full disk.
    mkdirSync(file);
    expect(() => state.update({ cameras: { feeder: memo } })).toThrow(expect.objectContaining({ code: 'disk-failed' }));
    rmSync(file, { recursive: true });
    state.update({ cameras: { feeder: memo } });
    expect(open().state).toEqual({ cameras: { feeder: memo } });
  });

  test('the new content is written to a file of its own, not through a link or to readers of an older one', () => {
    const state = open();
    const next = join(folder, `state.json.${process.pid}.new`);
    const victim = join(root, 'victim');
    writeFileSync(victim, 'precious');
    symlinkSync(victim, next);
    state.update({ cameras: { feeder: memo } });
    expect(readFileSync(victim, 'utf8')).toBe('precious');
    writeFileSync(next, '', { mode: 0o644 });
    state.update({ cameras: {} });
    expect(lstatSync(join(folder, 'state.json')).mode & 0o777).toBe(0o600);
  });

  test('what killed processes left half written is removed; what a running one writes stays', () => {
    const gone = spawnSync(process.execPath, ['-e', '']).pid;
    mkdirSync(folder, { mode: 0o700 });
    const left = [`config.yaml.${gone}.new`, `connected.lock.${gone}`, `connected.lock.${gone}.stale`];
    const kept = [`state.json.${process.ppid}.new`, 'notes.new', `notes.${gone}`];
    for (const name of [...left, ...kept]) writeFileSync(join(folder, name), '');
    open();
    expect(readdirSync(folder).toSorted()).toEqual([...kept, 'state.json'].toSorted());
  });

  test('a symbolic link in its place is refused, and so is a file', () => {
    mkdirSync(join(root, 'elsewhere'));
    symlinkSync(join(root, 'elsewhere'), folder);
    expect(open).toThrow(
      expect.objectContaining({ code: 'unsafe-folder', message: expect.stringContaining('symbolic link') }),
    );
    expect(readdirSync(join(root, 'elsewhere'))).toEqual([]);
    rmSync(folder);
    writeFileSync(folder, '');
    expect(open).toThrow(expect.objectContaining({ code: 'unsafe-folder' }));
  });

  test('towpath up refuses it before anything else is done', async () => {
    using commandLine = new CommandLine();
    mkdirSync(commandLine.file('elsewhere'));
    symlinkSync(commandLine.file('elsewhere'), commandLine.file('config'));
    const { code, err } = await commandLine.run(['up']);
    expect([code, err]).toEqual([5, expect.stringContaining('symbolic link')]);
    expect(readdirSync(commandLine.file('elsewhere'))).toEqual([]);
  });

  test('a folder of version 0.1.0 is migrated: nothing is lost, modes are set, the old socket goes', () => {
    mkdirSync(join(folder, 'parties', 'p'), { recursive: true });
    writeFileSync(join(folder, 'node.json'), '{"old":true}', { mode: 0o644 });
    writeFileSync(join(folder, 'parties', 'p', 'party.json'), '{"version":1}', { mode: 0o640 });
    writeFileSync(join(folder, 'up.sock'), '');
    chmodSync(folder, 0o755);
    open();
    expect(readFileSync(join(folder, 'node.json'), 'utf8')).toBe('{"old":true}');
    for (const file of ['node.json', 'parties/p/party.json'])
      expect(statSync(join(folder, file)).mode & 0o777).toBe(0o600);
    expect(statSync(folder).mode & 0o777).toBe(0o700);
    expect(existsSync(join(folder, 'up.sock'))).toBe(false);
    expect(JSON.parse(readFileSync(join(folder, 'state.json'), 'utf8'))).toEqual({
      version: MIGRATIONS.length,
      cameras: {},
    });
  });

  test('each migration runs once, in order, from the version of the file', () => {
    open().update({ cameras: { feeder: memo } });
    const ran: string[] = [];
    const migrations = [
      ...MIGRATIONS,
      (_folder: string, state: Record<string, unknown>) => {
        ran.push('second');
        return { ...state, added: 1 };
      },
    ];
    const migrated = StateFolder.open(folder, { nowMs: NOW_MS, migrations });
    expect(migrated.state.cameras).toEqual({ feeder: memo });
    StateFolder.open(folder, { nowMs: NOW_MS, migrations });
    expect(ran).toEqual(['second']);
  });

  test('the state of a newer version is refused and stays as it is', () => {
    mkdirSync(folder);
    const text = '{"version":99,"cameras":{}}';
    writeFileSync(join(folder, 'state.json'), text);
    expect(open).toThrow(expect.objectContaining({ code: 'newer-state' }));
    expect(readFileSync(join(folder, 'state.json'), 'utf8')).toBe(text);
  });

  test.each([['{"version":1,"cam'], [''], ['[]'], ['{"version":1,"cameras":{"feeder":7}}']])(
    'a damaged state file (%j) is set aside, and a new one is begun',
    (text) => {
      mkdirSync(folder);
      writeFileSync(join(folder, 'state.json'), text);
      const state = open();
      expect(state.state).toEqual({ cameras: {} });
      expect(state.notices).toEqual([expect.stringContaining('was damaged and is now')]);
      const aside = readdirSync(folder).find((name) => name.startsWith('state.json.damaged-'))!;
      expect(readFileSync(join(folder, aside), 'utf8')).toBe(text);
      expect(open().notices).toEqual([]);
    },
  );
});

describe('the lock of a daemon', () => {
  let folder: string;
  let path: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'towpath-lock-'));
    path = join(folder, 'connected.lock');
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));
  const ways = [
    ['with locks of the system', {}],
    ['without', { lockOpenFile: undefined }],
  ] as const;
  const take = () => takeProcessLock(path, { what: 'is tested' });

  test.each(ways)('%s, a running owner keeps it, and nothing is left when it is released', (_way, options) => {
    const takeIt = () => takeProcessLock(path, { what: 'is tested' }, options);
    const lock = takeIt();
    expect(takeIt).toThrow(expect.objectContaining({ code: 'already-running' }));
    expect(lockOwner(path)).toBe(process.pid);
    lock[Symbol.dispose]();
    takeIt()[Symbol.dispose]();
    expect(readdirSync(folder)).toEqual([]);
  });

  test('without locks of the system, a running process that it names keeps it', () => {
    writeFileSync(path, `${process.ppid}\n`);
    const takeIt = () => takeProcessLock(path, { what: 'is tested' }, { lockOpenFile: undefined });
    expect(takeIt).toThrow(expect.objectContaining({ code: 'already-running' }));
    expect(lockOwner(path)).toBe(process.ppid);
    expect(readFileSync(path, 'utf8')).toBe(`${process.ppid}\n`);
  });

  describe.skipIf(process.platform !== 'linux')('with locks of the system', () => {
    const program = `
      const { takeProcessLock } = await import(process.argv[1]);
      try {
        takeProcessLock(process.argv[2], { what: 'is tested' });
        console.log('taken');
        if (process.argv[3] === 'keep') setInterval(() => {}, 60_000);
      } catch (error) {
        console.log(error.code);
      }`;
    const argsFor = (...more: string[]) => [
      '--input-type=module',
      '-e',
      program,
      new URL('../src/config/process-lock.ts', import.meta.url).href,
      path,
      ...more,
    ];

    test.each([
      ['with a process that runs', () => `${process.ppid} ${startTime(process.ppid)}\n`],
      ['without a start time', () => `${process.ppid}\n`],
    ])('a lock that somebody wrote, %s, keeps nobody out', (_what, text) => {
      writeFileSync(path, text());
      using _lock = take();
      expect(lockOwner(path)).toBe(process.pid);
      expect(take).toThrow(expect.objectContaining({ code: 'already-running' }));
    });

    test('it ends with a process that is killed, and lives on in one that was stopped', async () => {
      const child = spawn(process.execPath, argsFor('keep'), { stdio: ['ignore', 'pipe', 'inherit'] });
      await once(child.stdout, 'data');
      child.kill('SIGSTOP');
      expect(take).toThrow(
        expect.objectContaining({ code: 'already-running', message: expect.stringContaining(`(${child.pid})`) }),
      );
      child.kill('SIGKILL');
      await once(child, 'exit');
      using _lock = take();
      expect(lockOwner(path)).toBe(process.pid);
    });

    test.skipIf(process.getuid?.() !== 0)('it holds among containers, which share no process numbers', () => {
      const inContainer = () =>
        execFileSync('unshare', ['--pid', '--fork', '--mount-proc', process.execPath, ...argsFor()], {
          encoding: 'utf8',
        }).trim();
      {
        using _lock = take();
        expect(inContainer()).toBe('already-running');
      }
      expect(inContainer()).toBe('taken');
      using _lock = take();
      expect(readFileSync(path, 'utf8')).toContain(`${process.pid} `);
    });

    test('whoever comes while it is released takes it or is refused, and never two at a time', async () => {
      const loop = `
        const { takeProcessLock } = await import(process.argv[1]);
        const { openSync, closeSync, rmSync } = await import('node:fs');
        let taken = 0;
        for (let at = 0; at < 60; at++) {
          try {
            const lock = takeProcessLock(process.argv[2], { what: 'is tested' });
            const inside = process.argv[2] + '.inside';
            closeSync(openSync(inside, 'wx'));
            rmSync(inside);
            lock[Symbol.dispose]();
            taken++;
          } catch (error) {
            if (error.code !== 'already-running') throw error;
          }
        }
        console.log(taken);`;
      const children = Array.from({ length: 3 }, () => {
        const args = argsFor();
        args[2] = loop;
        return spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
      });
      const counts = await Promise.all(
        children.map(async (child) => {
          let text = '';
          child.stdout.on('data', (data: Buffer) => {
            text += data.toString();
          });
          const [code] = await once(child, 'exit');
          expect(code).toBe(0);
          return Number(text);
        }),
      );
      expect(counts.reduce((sum, count) => sum + count)).toBeGreaterThan(0);
      expect(readdirSync(folder)).toEqual([]);
    });

    test('a link, a FIFO or a folder in its place is removed, and where a link leads stays as it is', () => {
      const victim = join(folder, 'victim');
      for (const put of [
        () => symlinkSync(victim, path),
        () => execFileSync('mkfifo', [path]),
        () => {
          writeFileSync(victim, 'precious');
          symlinkSync(victim, path);
        },
      ]) {
        put();
        take()[Symbol.dispose]();
      }
      expect(readFileSync(victim, 'utf8')).toBe('precious');
      expect(readdirSync(folder)).toEqual(['victim']);
      mkdirSync(path);
      expect(take).toThrow(TowpathError);
    });

    test('where the file system has none, what is written decides', () => {
      const locked = () => takeProcessLock(path, { what: 'is tested' }, { lockOpenFile: () => 'unsupported' });
      const lock = locked();
      expect(locked).toThrow(expect.objectContaining({ code: 'already-running' }));
      lock[Symbol.dispose]();
      expect(readdirSync(folder)).toEqual([]);
    });
  });

  test.each([
    ['a process that has ended', '4194999 1\n'],
    ['a process whose number another one has now', `${process.ppid} 1\n`],
    ['a crash in the middle of writing', ''],
    ['another file', 'not a lock'],
  ])('the lock of %s is taken over', (_what, text) => {
    for (const [, options] of ways) {
      writeFileSync(path, text);
      using _lock = takeProcessLock(path, { what: 'is tested' }, options);
      expect(readFileSync(path, 'utf8')).toMatch(new RegExp(`^${process.pid} \\d+\n$`));
      expect(readdirSync(folder)).toEqual(['connected.lock']);
    }
  });

  test('a link or a FIFO that another user put in its way is not written through', () => {
    const mine = `${path}.${process.pid}`;
    const victim = join(folder, 'victim');
    writeFileSync(victim, 'precious');
    symlinkSync(victim, mine);
    const written = () => takeProcessLock(path, { what: 'is tested' }, { lockOpenFile: undefined });
    written()[Symbol.dispose]();
    expect(readFileSync(victim, 'utf8')).toBe('precious');
    execFileSync('mkfifo', [mine]);
    // With a reader, so that a writer would not wait for ever.
    const reader = openSync(mine, constants.O_RDWR | constants.O_NONBLOCK);
    try {
      using _lock = written();
      expect(lstatSync(path).isFile()).toBe(true);
    } finally {
      closeSync(reader);
    }
    expect(readdirSync(folder)).toEqual(['victim']);
  });

  test.skipIf(process.getuid?.() !== 0)(
    'one that another user keeps, and that cannot be read, is not taken over',
    () => {
      writeFileSync(path, `${process.ppid}\n`, { mode: 0o600 });
      chmodSync(folder, 0o777);
      process.seteuid?.(65_534);
      try {
        expect(take).toThrow(
          expect.objectContaining({ code: 'already-running', message: expect.stringContaining(`remove ${path}`) }),
        );
      } finally {
        process.seteuid?.(0);
      }
      expect(readdirSync(folder)).toEqual(['connected.lock']);
    },
  );

  test('a file system without hard links, as on a memory card, has locks too', () => {
    const link = () => {
      throw Object.assign(new Error('not permitted'), { code: 'EPERM' });
    };
    const locked = () => takeProcessLock(path, { what: 'is tested' }, { link, lockOpenFile: undefined });
    {
      using _lock = locked();
      expect(readFileSync(path, 'utf8')).toMatch(new RegExp(`^${process.pid} \\d+\n$`));
      expect(locked).toThrow(expect.objectContaining({ code: 'already-running' }));
    }
    expect(readdirSync(folder)).toEqual([]);
    writeFileSync(path, '4194999 1\n');
    locked()[Symbol.dispose]();
    expect(readdirSync(folder)).toEqual([]);
  });
});

function startTime(pid: number): string {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return text.slice(text.lastIndexOf(')') + 2).split(' ')[19]!;
}
