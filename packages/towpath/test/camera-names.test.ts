import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SeededRandom, silentLog } from '@towpath/core';
import { describe, expect, test } from 'vitest';
import { createProgram } from '../src/cli/program.ts';
import { components, CommandLine } from './command-line.ts';
import { emulatedCamera } from './daemon-rig.ts';
import { testIo } from './test-io.ts';

/** A camera `Feeder` that is configured with where it listens, and nothing else that leads to it. */
async function configured(commandLine: CommandLine, settings: Record<string, unknown> = {}) {
  // Pictures only: the emulator draws a video in this process, which on a busy machine is silent meanwhile.
  const { camera, flags } = await emulatedCamera({ videoEvery: 0 });
  const [, port, , searchPort] = flags;
  const feeder = { target: '127.0.0.1', ports: [Number(port)], 'search-port': Number(searchPort), ...settings };
  mkdirSync(commandLine.file('config'), { recursive: true });
  writeFileSync(join(commandLine.file('config'), 'config.yaml'), JSON.stringify({ cameras: { Feeder: feeder } }));
  return camera;
}

describe('a configured camera by its name (G1)', () => {
  test.each([
    [['info'], ''],
    [['connect'], ''],
    [['media'], ''],
    [['settings'], ''],
    [['download', '--limit', '1'], '-o'],
    [['thumbnails'], '-o'],
    [['watch', '--for', '0.2'], ''],
    [['live', '--duration', '0.2'], '-o-'],
    [['set', 'motion-pause', '30'], ''],
    [['command', '512', '{}'], ''],
    [['delete', '--items', '100/1', '--yes'], ''],
    [['format', '--yes'], ''],
    [['outputs', '--http', '0', '--for', '0.2'], ''],
  ])('camera %j takes it, with its settings', async (command, output) => {
    using commandLine = new CommandLine();
    const camera = await configured(commandLine);
    let logins = 0;
    camera.events.on('login', () => logins++);
    const folder = output === '-o' ? ['-o', commandLine.file('pictures')] : output === '-o-' ? ['-o', '-'] : [];
    const args = ['camera', ...command, 'feeder', ...folder];
    // Video is not written to a terminal.
    const { code, err } = await commandLine.run(args, {}, undefined, { piped: output === '-o-' });
    expect([code, logins > 0], err).toEqual([0, true]);
    await camera.close();
  });

  test('statistics and the pictures that are kept are found by it too', async () => {
    using commandLine = new CommandLine();
    const camera = await configured(commandLine);
    expect((await commandLine.run(['camera', 'info', 'Feeder'])).code).toBe(0);
    const { out } = await commandLine.run(['camera', 'stats', 'feeder', '--json']);
    expect(JSON.parse(out[0]!)).toMatchObject({ host: '127.0.0.1', path: expect.anything() });
    const kept = join(commandLine.file('config'), 'pictures', 'Feeder');
    expect((await commandLine.run(['camera', 'download', 'feeder', '--limit', '1', '-o', kept])).code).toBe(0);
    const exported = await commandLine.run(['camera', 'export', 'feeder', commandLine.file('copies')]);
    expect([exported.code, exported.out.length]).toEqual([0, 1]);
    await camera.close();
  });

  test('options are stronger than its settings', async () => {
    using commandLine = new CommandLine();
    const camera = await configured(commandLine, { ports: [1] });
    const port = String(camera.listen.port);
    expect((await commandLine.run(['camera', 'info', 'feeder', '--ports', port, '--only', 'p2p'])).code).toBe(0);
    await camera.close();
  });

  test('a name that nobody has is refused with those that exist', async () => {
    using commandLine = new CommandLine();
    const none = await commandLine.run(['camera', 'info', 'barn']);
    expect([none.code, none.err]).toEqual([2, expect.stringContaining('no camera was added')]);
    const camera = await configured(commandLine);
    const other = await commandLine.run(['camera', 'info', 'barn']);
    expect([other.code, other.err]).toEqual([2, expect.stringContaining('the cameras are Feeder')]);
    await camera.close();
  });

  test('every command that takes a camera says so in its help', async () => {
    const runtime = { ...components, io: testIo(), log: silentLog, random: new SeededRandom(1) };
    const program = await createProgram({ ...runtime, signal: new AbortController().signal, configFolder: '/nowhere' });
    const commands = program.commands.find((each) => each.name() === 'camera')!.commands;
    const taking = commands.filter(({ registeredArguments }) =>
      registeredArguments.some((argument) => argument.name() === 'camera'),
    );
    expect(taking.map((command) => command.name())).toEqual(
      expect.arrayContaining(['info', 'connect', 'download', 'live', 'settings', 'watch', 'outputs', 'stats']),
    );
    for (const command of taking) expect(command.helpInformation()).toContain('name of a camera that was added');
  });
});
