import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { SeededRandom } from '@towpath/core';
import type { Camera, DaemonHealth, MediaList } from '@towpath/dashboard/api';
import { expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { CommandLine } from './command-line.ts';
import { lockPictures } from '../src/config/pictures-lock.ts';
import { daemonRig, emulatedCamera, until } from './daemon-rig.ts';

const PROGRAM = fileURLToPath(new URL('../bin/towpath.js', import.meta.url));
/** 100 in the nightly run. */
const KILLS = Number(process.env.TOWPATH_KILLS ?? 6);

/** Tests run side by side on few processors; alone it takes a fraction of the limit. */
const LOADED = 4;

/** A daemon in a process of its own, which can be killed. */
function startProcess(rig: CommandLine, ...args: string[]): ChildProcess {
  return spawn(process.execPath, [PROGRAM, 'up', '--api-port', '0', '--pictures-reserve', '1 MB', ...args], {
    env: { ...process.env, TOWPATH_HOME: rig.file('config') },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

async function says(child: ChildProcess, pattern: RegExp): Promise<void> {
  let text = '';
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (chunk) => {
      text += chunk;
      if (pattern.test(text)) resolve();
    });
  }
  child.once('exit', (code, signal) => reject(new Error(`It ended with ${code ?? signal}: ${text}`)));
  await promise;
}

test(`nothing is lost when the daemon is killed at any moment, ${KILLS} times (crash safety)`, {
  timeout: 600_000,
}, async () => {
  using rig = new CommandLine();
  const random = new SeededRandom(20_260_501);
  const { camera, flags } = await emulatedCamera({ itemCount: 60, videoEvery: 0 });
  await rig.run(['camera', 'add', 'feeder', '127.0.0.1', ...flags]);
  const folder = rig.file('config');
  const config = readFileSync(join(folder, 'config.yaml'), 'utf8');
  const pictures = join(folder, 'pictures/feeder');
  const complete = new Set<string>();
  for (let kill = 0; kill < KILLS; kill++) {
    const child = startProcess(rig, '--pictures-check-every', '1 s');
    const exit = once(child, 'exit');
    if (random.next() < 0.7) await says(child, /Cameras: feeder/);
    await new Promise((resolve) => {
      setTimeout(resolve, random.next() * 700);
    });
    child.kill('SIGKILL');
    expect(await exit).toEqual([null, 'SIGKILL']);
    // Whatever moment it was: files are whole or not there, and those that were complete stay as they are.
    expect(readFileSync(join(folder, 'config.yaml'), 'utf8')).toBe(config);
    if (existsSync(join(folder, 'state.json'))) JSON.parse(readFileSync(join(folder, 'state.json'), 'utf8'));
    const found = existsSync(pictures) ? readdirSync(pictures).filter((name) => /^\d.*\.jpg$/.test(name)) : [];
    for (const name of found) {
      const data = readFileSync(join(pictures, name));
      expect([data.readUInt16BE(0), data.readUInt16BE(data.length - 2)]).toEqual([0xffd8, 0xffd9]);
      complete.add(name);
    }
    for (const name of complete) expect(found).toContain(name);
  }
  // The next start needs no help, and fetches the rest.
  const child = startProcess(rig, '--pictures-check-every', '1 s');
  await says(child, /Cameras: feeder/);
  const camerasOf = async () => JSON.parse((await rig.run(['status', '--json'])).out[0]!).cameras as Camera[];
  await expect
    .poll(async () => (await camerasOf())[0]?.pictures, { interval: 200, timeout: 120_000 })
    .toMatchObject({
      onCard: 60,
      saved: 60,
      missing: 0,
    });
  const exit = once(child, 'exit');
  child.kill('SIGTERM');
  expect(await exit).toEqual([130, null]);
  expect(readdirSync(folder).filter((name) => /\.sock$|\.lock|api-address|\.new$/.test(name))).toEqual([]);
  expect(readdirSync(pictures).filter((name) => name.endsWith('.part'))).toEqual([]);
  await camera.close();
});

test('a second daemon is refused and does not disturb the first', async () => {
  await using rig = await daemonRig();
  const second = await rig.commandLine.run(['up', '--api-port', '0', '--for', '1']);
  expect([second.code, second.err]).toEqual([
    5,
    expect.stringMatching(/Another towpath process .* towpath status shows it, and towpath down/),
  ]);
  expect((await rig.ask('/v1/status')).status).toBe(200);
});

test('a second daemon with --replace takes over, and the first one has removed its traces by then', async () => {
  await using rig = await daemonRig();
  const camera = async () => JSON.parse((await rig.commandLine.run(['status', '--json'])).out[0]!).cameras[0] as Camera;
  await expect.poll(async () => (await camera()).state, { interval: 50 }).toBe('connected');
  const second = rig.commandLine.start(['up', '--json', '--api-port', '0', '--replace']);
  expect(await rig.running.code).toBe(0);
  await expect.poll(async () => (await camera()).state, { interval: 50 }).toBe('connected');
  expect(await second.stop()).toBe(130);
  expect(second.err).toEqual([]);
});

test('--replace starts a daemon where none runs', async () => {
  using rig = new CommandLine();
  const { camera, flags } = await emulatedCamera();
  await rig.run(['camera', 'add', 'feeder', '127.0.0.1', ...flags]);
  const { code, out, err } = await rig.run(['up', '--api-port', '0', '--replace', '--for', '0.1']);
  expect([code, out[0], err]).toEqual([0, 'Cameras: feeder', '']);
  await camera.close();
});

test('up with nothing to hold is refused, and with --wait it takes the first camera that is added', async () => {
  using rig = new CommandLine();
  const { camera, flags } = await emulatedCamera();
  const refused = await rig.run(['up', '--api-port', '0', '--for', '0.1']);
  expect([refused.code, refused.err]).toEqual([2, expect.stringContaining('neither a party nor a camera')]);
  const running = rig.start(['up', '--api-port', '0', '--wait']);
  await expect.poll(() => running.out.join('\n')).toContain('Nothing is configured. Next: towpath camera add');
  expect(await rig.run(['camera', 'add', 'feeder', '127.0.0.1', ...flags])).toMatchObject({
    code: 0,
    out: ['Camera feeder added. Next: towpath status'],
  });
  const cameras = async () => JSON.parse((await rig.run(['status', '--json'])).out[0]!).cameras as Camera[];
  await expect
    .poll(async () => (await cameras()).map(({ name, state }) => [name, state]))
    .toEqual([['feeder', 'connected']]);
  expect(await running.stop()).toBe(130);
  await camera.close();
});

test('a daemon that cannot serve its API ends, and lets go of the cameras that it was beginning to hold', async () => {
  using rig = new CommandLine();
  const { camera, flags } = await emulatedCamera();
  for (const name of ['feeder', 'barn', 'gate']) await rig.run(['camera', 'add', name, '127.0.0.1', ...flags]);
  mkdirSync(rig.file('config/api-token'));
  const { code, err } = await rig.run(['up', '--api-port', '0', '--for', '1']);
  expect([code, err]).toEqual([5, expect.stringContaining('api-token is not a file')]);
  for (const name of ['feeder', 'barn', 'gate']) lockPictures(rig.file(`config/pictures/${name}`))[Symbol.dispose]();
  await camera.close();
});

test('a camera whose folder another process has is held as soon as the folder is free', async () => {
  using rig = new CommandLine();
  const { camera, flags } = await emulatedCamera();
  await rig.run(['camera', 'add', 'feeder', '127.0.0.1', ...flags]);
  const lock = lockPictures(rig.file('config/pictures/feeder'));
  const running = rig.start(['up', '--api-port', '0']);
  const status = async () => JSON.parse((await rig.run(['status', '--json'])).out[0] ?? '{}');
  await until(async () => (await status()).problems?.length === 1);
  expect(await status()).toMatchObject({ cameras: [], problems: [{ code: 'already-running' }] });
  lock[Symbol.dispose]();
  await until(async () => (await status()).cameras[0]?.state === 'connected');
  expect((await status()).problems).toEqual([]);
  expect(await running.stop()).toBe(130);
  await camera.close();
});

test('--replace asks nothing of a daemon while its own start could still fail', async () => {
  await using rig = await daemonRig();
  const { code } = await rig.commandLine.run(['up', 'nowhere', '--api-port', '0', '--replace', '--for', '1']);
  expect(code).toBe(2);
  expect((await rig.ask('/v1/status')).status).toBe(200);
});

test('towpath down ends it at once, with pages, streams and downloads open', async () => {
  await using rig = await daemonRig({ camera: { itemCount: 40 } });
  const headers = { authorization: `Bearer ${rig.token}` };
  const base = rig.address.replace('http', 'ws');
  const frames = await new Promise<WebSocket>((resolve) => {
    const socket = new WebSocket(`${base}/v1/cameras/feeder/live`, { headers });
    socket.once('message', () => resolve(socket));
  });
  const events = new WebSocket(`${base}/v1/events`, { headers });
  await once(events, 'open');
  const closed = [once(frames, 'close'), once(events, 'close')];
  const startedMs = performance.now();
  const down = await rig.commandLine.run(['down']);
  expect([down.code, down.out]).toEqual([0, ['towpath up has ended. Cameras no longer held: feeder.']]);
  expect(await rig.running.code).toBe(0);
  expect(performance.now() - startedMs).toBeLessThan(2_000 * LOADED);
  await Promise.all(closed);
});

test('with a full disk nothing is fetched and that is said; with space again it goes on by itself', async () => {
  await using rig = await daemonRig({
    up: ['--pictures-check-every', '1 s'],
    add: [],
    file: 'pictures: { reserve: 900000 TB }\n',
  });
  const camera = () => rig.json<Camera>('/v1/cameras/feeder');
  await expect.poll(async () => (await camera()).problem?.code, { interval: 50 }).toBe('disk-full');
  expect((await camera()).pictures.saved).toBe(0);
  expect(await rig.json<DaemonHealth>('/health')).toEqual({ status: 'degraded', problems: ['disk-full'] });
  // The list of the card is there all the same.
  expect((await rig.json<MediaList>('/v1/cameras/feeder/media')).items.length).toBeGreaterThan(0);
  const path = join(rig.commandLine.file('config'), 'config.yaml');
  writeFileSync(path, readFileSync(path, 'utf8').replace('900000 TB', '1 MB'));
  await expect.poll(async () => (await camera()).pictures.missing, { interval: 50 }).toBe(0);
  expect((await rig.json<DaemonHealth>('/health')).status).toBe('ok');
});

test('a wrong configuration changes nothing while it runs, is reported, and is applied when it is right again', async () => {
  await using rig = await daemonRig();
  const path = join(rig.commandLine.file('config'), 'config.yaml');
  const right = readFileSync(path, 'utf8');
  writeFileSync(path, `${right}wrong: 1\n`);
  await expect
    .poll(async () => (await rig.json<DaemonHealth>('/health')).problems, { interval: 50 })
    .toContain('invalid-config');
  expect((await rig.json<Camera[]>('/v1/cameras')).map(({ name }) => name)).toEqual(['feeder']);
  writeFileSync(path, `${right}log: { level: debug }\n`);
  await expect.poll(async () => (await rig.json<DaemonHealth>('/health')).problems, { interval: 50 }).toEqual([]);
});

test('what is safe on disk is deleted from the card, and only that; old files leave the disk', async () => {
  await using rig = await daemonRig({
    add: ['--delete-from-card', 'when-safe'],
    camera: { itemCount: 5, videoEvery: 0 },
  });
  const camera = () => rig.json<Camera>('/v1/cameras/feeder');
  await expect.poll(async () => (await camera()).pictures, { interval: 50 }).toMatchObject({ onCard: 0, saved: 5 });
  expect(rig.camera.items).toEqual([]);
  const path = join(rig.commandLine.file('config'), 'config.yaml');
  // The emulated pictures are from 2026-01, so all of them are older than a minute.
  writeFileSync(path, readFileSync(path, 'utf8').replace('delete-from-card: when-safe', 'keep: 0.001 days'));
  await expect
    .poll(async () => (await camera()).pictures, { interval: 50 })
    .toMatchObject({ onCard: 0, saved: 0, bytes: 0 });
});
