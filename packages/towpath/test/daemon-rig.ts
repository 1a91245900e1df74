import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CameraEmulator, type CameraEmulatorOptions, paddedPictures } from '@towpath/camera/emulator';
import { expect } from 'vitest';
import { freePort } from '../../net/test/free-port.ts';
import { components, CommandLine, type Running } from './command-line.ts';

/** A daemon with one emulated camera, `feeder`, and the page's address. */
export interface DaemonRig extends AsyncDisposable {
  readonly commandLine: CommandLine;
  readonly camera: CameraEmulator;
  readonly running: Running;
  /** `http://127.0.0.1:41234` */
  readonly address: string;
  readonly host: string;
  readonly token: string;
  /** A request with the token. */
  ask(path: string, init?: RequestInit): Promise<Response>;
  /** The JSON of an answer that must be a success. */
  json<Answer>(path: string, init?: RequestInit): Promise<Answer>;
}

/** Starts an emulated camera on loopback. */
export async function emulatedCamera(
  init: CameraEmulatorOptions = {},
): Promise<{ camera: CameraEmulator; flags: string[] }> {
  const searchPort = await freePort();
  const place = {
    address: '127.0.0.1',
    listenPort: 0,
    searchPort,
    pictures: paddedPictures(),
    itemCount: 6,
    videoEvery: 6,
  };
  const camera = new CameraEmulator(components, { ...place, ...init });
  await camera.start();
  return { camera, flags: ['--ports', String(camera.listen.port), '--search-port', String(searchPort)] };
}

/** Starts a daemon that holds an emulated camera. @param options.up options of `towpath up` instead of quick checks */
export async function daemonRig(
  options: { camera?: CameraEmulatorOptions; add?: string[]; up?: string[]; file?: string } = {},
): Promise<DaemonRig> {
  const commandLine = new CommandLine();
  if (options.file !== undefined) {
    mkdirSync(commandLine.file('config'));
    writeFileSync(join(commandLine.file('config'), 'config.yaml'), options.file);
  }
  const { camera, flags } = await emulatedCamera(options.camera);
  const added = await commandLine.run(['camera', 'add', 'feeder', '127.0.0.1', ...flags, ...(options.add ?? [])]);
  expect([added.code, added.err]).toEqual([0, '']);
  const running = commandLine.start([
    'up',
    '--json',
    '--api-port',
    '0',
    ...(options.up ?? ['--pictures-check-every', '1 s', '--pictures-reserve', '1 MB']),
  ]);
  const address = await apiAddress(running);
  const token = readFileSync(join(commandLine.file('config'), 'api-token'), 'utf8').trim();
  const ask = (path: string, init: RequestInit = {}) =>
    fetch(`${address}${path}`, { ...init, headers: { authorization: `Bearer ${token}`, ...init.headers } });
  return {
    commandLine,
    camera,
    running,
    address,
    host: new URL(address).host,
    token,
    ask,
    async json<Answer>(path: string, init?: RequestInit) {
      const answer = await ask(path, init);
      const text = await answer.text();
      if (!answer.ok) throw new Error(`${path}: ${answer.status} ${text}`);
      return JSON.parse(text) as Answer;
    },
    async [Symbol.asyncDispose]() {
      await running.stop();
      await camera.close();
      commandLine[Symbol.dispose]();
    },
  };
}

/** Where the page is, once the daemon has said so. */
export async function apiAddress(running: Running): Promise<string> {
  let ended = false;
  void running.code.finally(() => {
    ended = true;
  });
  const line = () =>
    running.out
      .map((text) => JSON.parse(text) as { type: string; address?: string })
      .find(({ type }) => type === 'api');
  await until(() => line() !== undefined || ended);
  const address = line()?.address;
  if (address === undefined) throw new Error(`It has ended: ${running.err.join('\n')}`);
  return address;
}

/** Waits until something is so; unlike `expect.poll` also before the tests of a file. */
export async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  const { clock } = components;
  const limitMs = clock.now() + LIMIT_MS;
  while (!(await isSo())) {
    if (clock.now() > limitMs) throw new Error('It did not become so in time.');
    await clock.sleep(20);
  }
}

const LIMIT_MS = 60_000;

/** A request with JSON in it. */
export function body(value: unknown, method = 'POST'): RequestInit {
  return { method, body: JSON.stringify(value), headers: { 'content-type': 'application/json' } };
}
