import { mkdirSync, writeFileSync } from 'node:fs';
import { CameraEmulator, paddedPictures } from '@towpath/camera/emulator';
import { encodeMessage } from '@towpath/pppp/codec';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { components, CommandLine, type Running } from './command-line.ts';

const UID = 'TEST-000001-BCDEF';
const OFTEN = { interval: 50, timeout: 60_000 };
const WARNING = /Two or more devices claim the UID TEST-000001-BCDEF at 127\.0\.0\.1:\d+, .*Next: /;

describe('a UID that two devices claim (A8)', { timeout: 120_000 }, () => {
  let commandLine: CommandLine;
  let server: Running;
  let camera: CameraEmulator;
  let port = 0;

  beforeEach(async () => {
    commandLine = new CommandLine();
    server = commandLine.start(['pppp', 'serve', '--ports', '0', '--relay-port', '0', '--json']);
    const [rendezvous] = await server.listening('rendezvous');
    port = rendezvous!.port;
    camera = new CameraEmulator(components, {
      uid: UID,
      address: '127.0.0.1',
      listenPort: 0,
      searchPort: false,
      itemCount: 1,
      pictures: paddedPictures(),
      servers: [rendezvous!],
    });
    await camera.start();
    const printed = (type: string) => server.out.some((line) => JSON.parse(line).type === type);
    await expect.poll(() => printed('online'), OFTEN).toBe(true);
    await using claimant = await components.network.bindUdp({ address: '127.0.0.1', onMessage: () => {} });
    const login = encodeMessage({ type: 'DEV_LGN', uid: UID, natType: 0, version: [4, 0, 0], local: undefined });
    await expect
      .poll(() => {
        claimant.send(login, rendezvous!);
        return printed('contested');
      }, OFTEN)
      .toBe(true);
  });

  afterEach(async () => {
    await camera.close();
    await server.stop();
    commandLine[Symbol.dispose]();
  });

  const toCamera = (command: string, ...more: string[]) =>
    commandLine.run(['camera', command, UID, '--servers', `127.0.0.1:${port}`, '--only', 'p2p,relay', ...more]);

  test('is told once to the user of a connect, who still reaches the first of them', async () => {
    for (const command of ['connect', 'info']) {
      const { code, err } = await toCamera(command);
      expect(code).toBe(0);
      expect(err.split('\n').filter((line) => WARNING.test(line))).toHaveLength(1);
    }
    const { code, out, err } = await toCamera('connect', '--json');
    expect([code, err]).toEqual([0, expect.stringMatching(WARNING)]);
    expect(out.map((line) => JSON.parse(line).type)).toEqual(['connected']);
  });

  test('is a warning of camera watch --json', async () => {
    const { out, err } = await toCamera('watch', '--for', '0.1', '--json');
    const warnings = out.map((line) => JSON.parse(line)).filter(({ type }) => type === 'warning');
    const at = { address: '127.0.0.1', port };
    expect(warnings).toMatchObject([{ uid: UID, server: at, message: expect.stringMatching(WARNING) }]);
    expect(err).toBe('');
  });

  test('is told once by the daemon, with the name of the camera', async () => {
    mkdirSync(commandLine.file('config'), { recursive: true });
    const feeder = { target: UID, servers: [`127.0.0.1:${port}`], only: ['p2p'] };
    writeFileSync(commandLine.file('config/config.yaml'), JSON.stringify({ cameras: { feeder } }));
    const daemon = commandLine.start(['up', '--json', '--api-port', '0']);
    const told = () => daemon.err.filter((line) => /warn.*feeder: Two or more devices claim the UID/.test(line));
    await expect.poll(told, OFTEN).toEqual([expect.stringMatching(WARNING)]);
    await daemon.stop();
    expect(daemon.err.filter((line) => line.includes(UID) && /claim/.test(line))).toHaveLength(1);
  });
});
