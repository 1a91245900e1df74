import { readFileSync, writeFileSync } from 'node:fs';
import { CameraEmulator, paddedPictures } from '@towpath/camera/emulator';
import { SeededRandom } from '@towpath/core';
import { type Endpoint, formatEndpoint } from '@towpath/net';
import type { Command } from 'commander';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createProgram } from '../src/cli/program.ts';
import type { Runtime } from '../src/cli/runtime.ts';
import { freePort } from '../../net/test/free-port.ts';
import { CommandLine, components, type Running } from './command-line.ts';
import { cameraOf, fakeDaemon, peerOf } from './fake-daemon.ts';
import { testIo } from './test-io.ts';

/** Real servers, and an emulated camera that is connected to many times. */
const TIMEOUT_MS = 120_000;
const HERE = '127.0.0.1';
const doc = readFileSync(new URL('../../../docs/json.md', import.meta.url), 'utf8');

/** What stands ready for the commands. */
interface World {
  /** Arguments that reach the camera. */
  readonly camera: readonly string[];
  readonly search: string;
  readonly server: string;
  file(name: string): string;
  /** Runs another command with `--json` and returns its objects. */
  told(...args: readonly string[]): Promise<{ invites?: { id: string }[] }[]>;
}

/** How a command is run, and the types of its objects. `error` where this machine has not what the command needs. */
type Run = readonly [args: (world: World) => readonly string[] | Promise<readonly string[]>, ...types: string[]];

const onCamera =
  (...args: string[]): Run[0] =>
  ({ camera }) => [...args, ...camera];

/** In this order. Every command with `--json` is here. */
const RUNS: Readonly<Record<string, Run>> = {
  'camera wake': [() => [], 'error'],
  'camera join': [() => ['no-such-network'], 'error'],
  'camera find': [
    ({ search }) => ['--host', HERE, '--search-port', search, '--timeout', '0.5'],
    'camera-found',
    'search',
  ],
  'camera connect': [onCamera(), 'connected'],
  'camera info': [onCamera(), 'device'],
  'camera settings': [onCamera(), 'setting'],
  'camera set': [({ camera }) => ['name', 'Feeder', ...camera], 'setting-changed'],
  'camera media': [onCamera(), 'item'],
  'camera thumbnails': [({ camera, file }) => [...camera, '-o', file('thumbs')], 'listed', 'saved', 'downloaded'],
  'camera download': [({ camera, file }) => [...camera, '-o', file('pictures')], 'listed', 'saved', 'downloaded'],
  'camera export': [({ file }) => [file('pictures'), file('exported')], 'exported', 'summary'],
  'camera watch': [({ camera }) => [...camera, '--for', '1'], 'state', 'waiting'],
  'camera live': [({ camera, file }) => [...camera, '--mp4', file('live.mp4'), '--duration', '1'], 'recorded'],
  'camera outputs': [async ({ camera }) => [...camera, '--http', String(await freePort()), '--for', '1'], 'output'],
  'camera delete': [({ camera }) => [...camera, '--items', '100/1', '--yes'], 'deleted'],
  'camera command': [({ camera }) => ['512', '{}', ...camera], 'answer'],
  'camera stats': [() => [HERE], 'statistics'],
  'camera format': [onCamera('--yes'), 'formatted'],
  'camera emulate': [() => ['--port', '0', '--search-port', '0', '--items', '1', '--for', '0.5'], 'listening'],
  'camera decode': [({ file }) => [file('recording.txt')], 'message', 'summary'],
  'pppp serve': [() => ['--ports', '0', '--relay-port', '0', '--for', '0.5'], 'listening', 'data-plane'],
  netcheck: [({ server }) => ['--server', server], 'netcheck'],
  'relay credentials': [({ file }) => ['ann', '--secret-file', file('turn.secret')], 'credentials'],
  'relay serve': [
    ({ file }) => ['--port', '0', '--secret-file', file('turn.secret'), '--for', '0.5'],
    'listening',
    'data-plane',
  ],
  serve: [
    ({ file }) => ['--port', '0', '--stun-port', '0', '--data', file('another'), '--for', '0.5'],
    'listening',
    'data-plane',
    'setup-code',
  ],
  'serve setup-code': [({ file }) => ['--data', file('another')], 'setup-code'],
  'serve backup': [({ file }) => [file('copy.db'), '--data', file('another')], 'backup'],
  'party create': [({ server }) => ['camp', '--server', server, '--as', 'ann'], 'created'],
  'party invite': [() => [], 'invite'],
  'party invites': [() => [], 'invites'],
  'party revoke': [async ({ told }) => [(await told('party', 'invites'))[0]!.invites![0]!.id], 'revoked'],
  'party members': [() => [], 'members'],
  'party list': [() => [], 'party'],
  'party rotate': [() => [], 'rotated'],
  'party servers': [() => [], 'servers'],
  'party role': [() => ['nobody', 'admin'], 'error'],
  'party remove': [() => ['nobody'], 'error'],
  'party join': [({ server }) => ['AAAA-AAAA-AAAA-AAAA', '--server', server], 'error'],
  'party recover': [({ file, server }) => [file('no-such.key'), '--server', server], 'error'],
  'party leave': [() => [], 'error'],
  'camera add': [() => ['feeder', HERE], 'camera-added'],
  'camera list': [() => [], 'cameras'],
  'camera remove': [() => ['feeder'], 'camera-removed'],
  'config show': [() => [], 'config'],
  'config check': [() => [], 'config-check'],
  'config path': [() => [], 'config-path'],
  completion: [() => ['bash'], 'completion'],
  doctor: [() => [], 'finding'],
  'service install': [() => ['--print'], 'service-unit'],
  'service uninstall': [() => [], 'service-removed'],
  up: [() => ['no-such-party'], 'error'],
  status: [() => [], 'status'],
  ping: [() => ['ben', '-c', '1'], 'echo', 'paths'],
  why: [() => ['ben'], 'why'],
  paths: [() => ['ben'], 'paths'],
  dashboard: [() => [], 'error'],
  logs: [() => [], 'error'],
  bugreport: [({ file }) => ['-o', file('report.tar.gz')], 'bugreport'],
  down: [() => [], 'down'],
  demo: [() => ['--pictures', 'many'], 'error'],
};

const leaves = (command: Command, name: string): string[] => {
  const below = command.commands.flatMap((each) => leaves(each, `${name} ${each.name()}`.trim()));
  return command.options.some(({ long }) => long === '--json') ? [name, ...below] : below;
};

/** The types that docs/json.md has for a command. */
const documented = (name: string): string[] => {
  const rows = doc.split('\n').filter((line) => line.startsWith('| `'));
  const of = rows.filter((row) => (row.split(' | ')[0] ?? '').split(/[`,|]+/).some((each) => each.trim() === name));
  const types = of.flatMap((row) => [...(row.split(' | ')[1] ?? '').matchAll(/`([\w-]+)`/g)].map(([, type]) => type!));
  return types.includes('output') ? [...types, ...documented('camera watch')] : types;
};

const RECORDING = "📥 RUDP DATA from=('192.168.43.1', 40611) | hex=f1d00007d100000041434b\n";

const commandLine = new CommandLine();
const searchPort = await freePort();
const emulator = new CameraEmulator(
  { ...components, random: new SeededRandom(2) },
  { address: HERE, listenPort: 0, searchPort, pictures: paddedPictures() },
);
let control: Running;
let world: World;
let daemon: AsyncDisposable | undefined;

beforeAll(async () => {
  await emulator.start();
  control = commandLine.start(['serve', '--open', '--port', '0', '--stun-port', '0', '--json']);
  // A command line's own waiting works in tests only.
  const said = () => control.out.map((line) => JSON.parse(line) as { what?: string; endpoints: [Endpoint] });
  while (!said().some(({ what }) => what === 'control')) await components.clock.sleep(10);
  const [at] = said().find(({ what }) => what === 'control')!.endpoints;
  const search = String(searchPort);
  writeFileSync(commandLine.file('turn.secret'), 'a secret that is long enough\n', { mode: 0o600 });
  writeFileSync(commandLine.file('recording.txt'), RECORDING);
  const reach = ['--ports', String(emulator.listen.port), '--search-port', search];
  world = {
    camera: [HERE, ...reach],
    search,
    server: formatEndpoint(at),
    file: (name) => commandLine.file(name),
    told: async (...args) => (await commandLine.run([...args, '--json'])).out.map((line) => JSON.parse(line)),
  };
}, TIMEOUT_MS);

afterAll(async () => {
  await daemon?.[Symbol.asyncDispose]();
  await control.stop();
  await emulator.close();
  commandLine[Symbol.dispose]();
});

test('every command with --json is tried here', async () => {
  const names = leaves(await createProgram({ ...components, io: testIo() } as unknown as Runtime), '');
  expect(Object.keys(RUNS).toSorted()).toEqual(names.toSorted());
});

test.each(Object.entries(RUNS))(
  '%s --json: every line has a type that docs/json.md has, and version 1 (G3)',
  { timeout: TIMEOUT_MS },
  async (name, [args, ...types]) => {
    if (name === 'status') {
      daemon = await fakeDaemon(commandLine, [{ name: 'camp', peers: [peerOf('ben')] }], [cameraOf('feeder')]);
    }
    const { out, err } = await commandLine.run([...name.split(' '), ...(await args(world)), '--json'], {
      TOWPATH_UNIT_FOLDER: commandLine.file('units'),
    });
    const lines = out.map((line) => JSON.parse(line) as { type?: string; version?: number });
    expect([...new Set(lines.map(({ version }) => version))], err).toEqual([1]);
    const seen = [...new Set(lines.map(({ type }) => type ?? ''))];
    expect(seen, err).toEqual(expect.arrayContaining(types));
    for (const type of seen) expect(['error', ...documented(name)], name).toContain(type);
  },
);
