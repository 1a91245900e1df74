import { type ChildProcess, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SeededRandom } from '@towpath/core';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { finished, Lab, labAvailable, type LabHost, says } from './support/lab.ts';
import { wireGuardAvailable } from './support/wireguard-lab.ts';

const ADDRESS = '203.0.113.10';
/** 100 in the nightly run. */
const KILLS = Number(process.env.TOWPATH_KILLS ?? 20);
/** By then a daemon is up on an idle machine, and has begun to download. */
const LATEST_MS = 1_200;
const ITEMS = 60;

interface Status {
  parties: { state: string }[];
  cameras: { problem: { code: string } | null; pictures: { saved: number; missing: number | null } }[];
  problems: { code: string }[];
}

/** A host with an emulated camera, and a daemon whose folder is `home`. */
class Scene {
  readonly lab = new Lab();
  readonly host: LabHost;
  readonly folder: string = mkdtempSync(join(tmpdir(), 'towpath-kills-'));
  readonly home: string = join(this.folder, 'home');
  readonly hosts: string = join(this.folder, 'hosts');

  constructor() {
    this.host = this.lab.host('one', ADDRESS);
    mkdirSync(this.home, { mode: 0o700 });
    writeFileSync(this.hosts, '127.0.0.1\tlocalhost\n');
  }

  start(...args: string[]): ChildProcess {
    return this.host.towpath(args, { TOWPATH_HOME: this.home, TOWPATH_HOSTS: this.hosts });
  }

  async run(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await finished(this.start(...args), 60_000);
    if (code !== 0) throw new Error(`towpath ${args.join(' ')} ended with ${code}: ${stderr}`);
    return stdout;
  }

  async camera(): Promise<void> {
    const args = ['camera', 'emulate', '--address', ADDRESS, '--search-port', '0', '--items', String(ITEMS)];
    await says(this.host.towpath(args, { TOWPATH_HOME: join(this.folder, 'camera') }), /40611/, 60_000);
  }

  async status(): Promise<Status> {
    return JSON.parse(await this.run('status', '--json')) as Status;
  }

  get pictures(): string {
    return join(this.home, 'pictures/feeder');
  }

  async close(): Promise<void> {
    await this.lab.close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Complete pictures by name; each of them is a whole JPEG. */
function wholePictures(folder: string): Set<string> {
  const names = existsSync(folder) ? readdirSync(folder).filter((name) => /^\d.*\.jpg$/.test(name)) : [];
  for (const name of names) {
    const data = readFileSync(join(folder, name));
    expect([name, data.readUInt16BE(0), data.readUInt16BE(data.length - 2)]).toEqual([name, 0xffd8, 0xffd9]);
  }
  return new Set(names);
}

function expectJson(path: string): void {
  if (existsSync(path)) expect(() => JSON.parse(readFileSync(path, 'utf8'))).not.toThrow();
}

describe.skipIf(!labAvailable())('a daemon in trouble', () => {
  let scene: Scene;
  beforeEach(() => {
    scene = new Scene();
  });
  afterEach(() => scene.close());

  it.skipIf(!wireGuardAvailable())(
    `loses nothing and leaves nothing when it is killed ${KILLS} times, with a party and a download`,
    { timeout: 600_000 },
    async () => {
      const random = new SeededRandom(20_261_126);
      const server = scene.host.towpath(['serve', '--open', '--address', ADDRESS, '--no-builtin-relay'], {
        TOWPATH_HOME: join(scene.folder, 'server'),
      });
      await says(server, /serving/, 60_000);
      await scene.camera();
      writeFileSync(
        join(scene.home, 'config.yaml'),
        `api: { port: 0 }\npictures: { check-every: 1 s, reserve: 1 MB }\ncameras: { feeder: { target: ${ADDRESS}, ports: [40611] } }\n`,
        { mode: 0o600 },
      );
      await scene.run('party', 'create', 'camp', '--server', ADDRESS, '--as', 'one');
      const keep = ['config.yaml', 'node.json'].map((name) => join(scene.home, name));
      const before = keep.map((path) => readFileSync(path, 'utf8'));
      let complete = new Set<string>();
      for (let kill = 0; kill < KILLS; kill++) {
        const child = scene.start('up');
        const exit = once(child, 'exit');
        await new Promise((resolve) => {
          setTimeout(resolve, random.next() * LATEST_MS);
        });
        child.kill('SIGKILL');
        expect(await exit).toEqual([null, 'SIGKILL']);
        expect(keep.map((path) => readFileSync(path, 'utf8'))).toEqual(before);
        expectJson(join(scene.home, 'state.json'));
        const found = wholePictures(scene.pictures);
        expect([...complete].filter((name) => !found.has(name))).toEqual([]);
        complete = found;
      }
      const child = scene.start('up');
      await says(child, /camp is up/, 60_000);
      await expect
        .poll(async () => await scene.status(), { interval: 500, timeout: 120_000 })
        .toMatchObject({ parties: [{ state: 'up' }], cameras: [{ pictures: { saved: ITEMS, missing: 0 } }] });
      expect(wholePictures(scene.pictures).size).toBe(ITEMS);
      const exit = once(child, 'exit');
      child.kill('SIGTERM');
      expect(await exit).toEqual([130, null]);
      const links = (await scene.host.run('ip', ['-o', 'link'])).stdout;
      expect(links.split('\n').filter((line) => /: tp-/.test(line))).toEqual([]);
      expect((await scene.host.run('nft', ['list', 'tables'])).stdout).not.toContain('towpath');
      expect(readFileSync(scene.hosts, 'utf8')).toBe('127.0.0.1\tlocalhost\n');
      const left = readdirSync(scene.home, { recursive: true, encoding: 'utf8' });
      expect(left.filter((name) => /\.sock$|\.lock|api-address|\.new$|\.part$|damaged/.test(name))).toEqual([]);
    },
  );

  it.skipIf(!wireGuardAvailable())(
    'ends, and holds nothing any more, when its interface cannot be removed; the next one removes it',
    { timeout: 240_000 },
    async () => {
      const server = scene.host.towpath(['serve', '--open', '--address', ADDRESS, '--no-builtin-relay'], {
        TOWPATH_HOME: join(scene.folder, 'server'),
      });
      await says(server, /serving/, 60_000);
      await scene.run('party', 'create', 'camp', '--server', ADDRESS, '--as', 'one');
      const programs = join(scene.folder, 'programs');
      mkdirSync(programs);
      const ip = (await scene.host.run('sh', ['-c', 'command -v ip'])).stdout.trim();
      const refusing = `#!/bin/sh\ncase "$*" in "link delete"*) echo "RTNETLINK answers: Operation not permitted" >&2; exit 2;; esac\nexec ${ip} "$@"\n`;
      writeFileSync(join(programs, 'ip'), refusing, { mode: 0o755 });
      const env = { TOWPATH_HOME: scene.home, TOWPATH_HOSTS: scene.hosts, PATH: `${programs}:${process.env.PATH}` };
      const child = scene.host.towpath(['up', '--api-port', '0'], env);
      let said = '';
      child.stderr?.on('data', (part) => {
        said += part;
      });
      await says(child, /camp is up/, 60_000);
      const exit = once(child, 'exit');
      child.kill('SIGUSR2');
      expect(await Promise.race([exit, once(AbortSignal.timeout(60_000), 'abort')])).toEqual([130, null]);
      expect(said).toContain('Operation not permitted');
      expect((await scene.host.run('nft', ['list', 'tables'])).stdout).not.toContain('towpath');
      const left = readdirSync(scene.home, { recursive: true, encoding: 'utf8' });
      expect(left.filter((name) => /\.sock$|\.lock/.test(name))).toEqual([]);
      await scene.run('up', '--api-port', '0', '--for', '1');
      expect((await scene.host.run('ip', ['-o', 'link'])).stdout).not.toContain('tp-');
    },
  );

  it('says that the disk is full, and goes on by itself when there is space', { timeout: 240_000 }, async () => {
    const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=24m,mode=0700', 'tmpfs', scene.home]);
    if (mounted.status !== 0) throw new Error(`A small disk could not be made: ${mounted.stderr}`);
    try {
      await scene.camera();
      writeFileSync(
        join(scene.home, 'config.yaml'),
        `api: { port: 0 }\npictures: { check-every: 1 s, reserve: 0 MB }\ncameras: { feeder: { target: ${ADDRESS}, ports: [40611] } }\n`,
        { mode: 0o600 },
      );
      fill(join(scene.home, 'filler'), 256 * 1_024);
      const child = scene.start('up');
      await says(child, /Cameras: feeder/, 60_000);
      await expect
        .poll(async () => (await scene.status()).cameras[0]?.problem?.code, { interval: 500, timeout: 60_000 })
        .toBe('disk-full');
      expect((await scene.status()).problems.map(({ code }) => code)).toContain('disk-full');
      // Now not even a small file can be written: state, index and log are kept as they are.
      fill(join(scene.home, 'filler-2'), 0);
      await expect
        .poll(async () => (await scene.status()).cameras[0]?.problem?.code, { interval: 500, timeout: 60_000 })
        .toBe('disk-full');
      expectJson(join(scene.home, 'state.json'));
      const some = wholePictures(scene.pictures);
      expect(some.size).toBeLessThan(ITEMS);
      for (const name of ['filler', 'filler-2']) rmSync(join(scene.home, name));
      await expect
        .poll(async () => (await scene.status()).cameras[0], { interval: 500, timeout: 120_000 })
        .toMatchObject({ problem: null, pictures: { saved: ITEMS, missing: 0 } });
      expect(wholePictures(scene.pictures).size).toBe(ITEMS);
      const exit = once(child, 'exit');
      child.kill('SIGTERM');
      expect(await exit).toEqual([130, null]);
      expectJson(join(scene.home, 'state.json'));
      expect(statSync(join(scene.home, 'state.json')).size).toBeGreaterThan(2);
    } finally {
      await scene.host.stopAll();
      spawnSync('umount', [scene.home]);
    }
  });
});

/** Writes a file until only `leave` bytes are free on its disk. */
function fill(path: string, leave: number): void {
  const { status, stdout } = spawnSync('df', ['--output=avail', '-B1', join(path, '..')], { encoding: 'utf8' });
  expect(status).toBe(0);
  const free = Number(stdout.trim().split('\n').at(-1));
  spawnSync('dd', ['if=/dev/zero', `of=${path}`, 'bs=4096', `count=${Math.max(1, Math.ceil((free - leave) / 4_096))}`]);
}
