import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { CameraEmulator, paddedPictures } from '@towpath/camera/emulator';
import type { Camera } from '@towpath/dashboard/api';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { components, CommandLine } from '../../packages/towpath/test/command-line.ts';
import { dbusAvailable, PrivateBus } from './support/dbus/private-bus.ts';

const missing = !dbusAvailable();
if (missing) console.warn('wake: D-Bus or python3-dbusmock is missing (Debian: apt-get install dbus python3-dbusmock)');

const ADDRESS = 'C2:00:5E:00:53:0A';
const PASSWORD = '24681357';
const ANSWER = (() => {
  const json = Buffer.from(`{"ret":0,"ssid":"KJK_5301","bssid":"02:00:5E:00:53:01","pwd":"${PASSWORD}"}`);
  const header = Buffer.from([0x13, 0x57, 1, 0, json.length, 0, 0, 0]);
  return Buffer.concat([header, json]).toString('hex');
})();

describe.skipIf(missing && !process.env.CI)('camera wake, join and connect --wake (B10)', () => {
  let system: PrivateBus;
  let commandLine: CommandLine;
  let env: Record<string, string>;

  beforeEach(async () => {
    system = await PrivateBus.start();
    commandLine = new CommandLine();
    env = { DBUS_SYSTEM_BUS_ADDRESS: system.address };
    await system.bluez('AddAdapter', 'ss', 'hci0', 'towpath');
    await system.bluez('AddCamera', 'sssssu', 'hci0', ADDRESS, 'TC100_530A', ANSWER, '', 30);
    await system.addHotspot('KJK_5301', PASSWORD);
    // The emulated camera is on loopback, so that is where the hotspot's lease must be.
    await system.wifi('SetHotspot', 'sss', PASSWORD, '127.0.0.1', '');
  });

  afterEach(async () => {
    commandLine[Symbol.dispose]();
    await system[Symbol.asyncDispose]();
  });

  test('wake stores the password in a private file and prints it only when asked', async () => {
    const { code, out, err } = await commandLine.run(['camera', 'wake'], env);
    expect(code).toBe(0);
    expect(out).toEqual(['✓ TC100_530A opens the hotspot KJK_5301']);
    expect(err).toContain('waiting for the answer of TC100_530A');
    expect(out.join() + err).not.toContain(PASSWORD);
    const file = commandLine.file('config/hotspots.json');
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(JSON.parse(readFileSync(file, 'utf8')).hotspots).toMatchObject([{ ssid: 'KJK_5301', password: PASSWORD }]);
    const shown = await commandLine.run(
      ['camera', 'wake', '--bluetooth', ADDRESS.toLowerCase(), '--show-password'],
      env,
    );
    expect(shown.out.at(-1)).toContain(PASSWORD);
  });

  test('join uses the stored password, stays until ended, and leaves', async () => {
    await commandLine.run(['camera', 'wake'], env);
    const joining = commandLine.start(['camera', 'join', '--json'], env);
    const joined = () => joining.out.map((line) => JSON.parse(line)).find(({ address }) => address !== undefined);
    const expected = { type: 'hotspot-joined', version: 1, ssid: 'KJK_5301', device: 'wlan7', address: '127.0.0.1' };
    await expect.poll(joined, { timeout: 60_000 }).toEqual(expected);
    expect(await system.profiles()).toHaveLength(1);
    expect(await joining.stop()).toBe(130);
    expect(await system.profiles()).toEqual([]);
    expect(joining.out.join() + joining.err.join()).not.toContain(PASSWORD);
  });

  test('join takes a password from standard input; a wrong one is named', async () => {
    const { code, err } = await commandLine.run(['camera', 'join', 'KJK_5301', '--ask-password'], env, '00000000');
    expect(code).toBe(4);
    expect(err).toContain('KJK_5301 refused the password. Next: wake the camera again');
    expect(await system.profiles()).toEqual([]);
  });

  test('connect --wake wakes, joins, races and logs in, and leaves the hotspot', async () => {
    await using camera = new CameraEmulator(components, { address: '127.0.0.1', listenPort: 0, searchPort: false });
    await camera.start();
    const args = ['camera', 'connect', '--wake', '127.0.0.1', '--ports', String(camera.listen.port), '--only', 'p2p'];
    const { code, out, err } = await commandLine.run(args, env);
    expect(code).toBe(0);
    const story = [
      'looking for TC100_ over Bluetooth',
      'opens the hotspot KJK_5301',
      'joining KJK_5301',
      'Connecting to',
    ];
    const places = story.map((text) => err.indexOf(text));
    expect(places).toEqual([...places].sort((a, b) => a - b));
    expect(Math.min(...places)).toBeGreaterThanOrEqual(0);
    expect(out.join('\n')).toContain('KJK230, firmware 2.3.0.4');
    expect(await system.profiles()).toEqual([]);
  });

  test('watch --wake fetches what is new, leaves the hotspot, and sleeps until the next visit', async () => {
    await using camera = new CameraEmulator(components, {
      address: '127.0.0.1',
      listenPort: 0,
      searchPort: false,
      itemCount: 3,
      pictures: paddedPictures(),
    });
    await camera.start();
    const where = ['127.0.0.1', '--ports', String(camera.listen.port), '--only', 'p2p'];
    const visit = async (): Promise<string[]> => {
      const args = ['camera', 'watch', '--wake', '--every', '2h', '-o', commandLine.file('garden'), '--json', ...where];
      const watching = commandLine.start(args, env);
      const lines = () => watching.out.map((line) => JSON.parse(line) as { type: string; nextInMs?: number });
      await expect.poll(() => lines().at(-1)?.type, { timeout: 60_000 }).toBe('asleep');
      expect(lines().at(-1)?.nextInMs).toBeGreaterThan(7_000_000);
      expect(camera.sessions).toEqual([]);
      expect(await system.profiles()).toEqual([]);
      expect(await watching.stop()).toBe(130);
      return lines().map(({ type }) => type);
    };
    expect(await visit()).not.toContain('saved');
    camera.takePicture();
    expect((await visit()).filter((type) => type === 'saved')).toHaveLength(1);
    expect((await visit()).filter((type) => type === 'saved')).toHaveLength(0);
  });

  test('up wakes a camera on its schedule, fetches what is on its card, and leaves it to sleep', async () => {
    const place = { address: '127.0.0.1', listenPort: 0, searchPort: false } as const;
    await using camera = new CameraEmulator(components, { ...place, itemCount: 3, pictures: paddedPictures() });
    await camera.start();
    const settings = [
      'parties: none',
      'pictures: { reserve: 1 MB }',
      'cameras:',
      '  garden:',
      '    target: 127.0.0.1',
      `    ports: [${camera.listen.port}]`,
      '    only: [p2p]',
      `    wake: { every: 2 h, bluetooth: "${ADDRESS}", bluetooth-adapter: hci0, wifi: wlan7 }`,
    ];
    mkdirSync(commandLine.file('config'), { mode: 0o700 });
    writeFileSync(commandLine.file('config/config.yaml'), `${settings.join('\n')}\n`, { mode: 0o600 });
    const up = commandLine.start(['up', '--json', '--api-port', '0'], env);
    const garden = async () => {
      const { out } = await commandLine.run(['status', '--json'], env);
      return (JSON.parse(out[0] ?? '{"cameras":[]}') as { cameras: Camera[] }).cameras[0];
    };
    await expect
      .poll(garden, { timeout: 60_000, interval: 200 })
      .toMatchObject({ state: 'asleep', problem: null, pictures: { saved: 3, missing: 0 } });
    expect(Date.parse((await garden())?.nextTryAt ?? '') - Date.now()).toBeGreaterThan(7_000_000);
    expect(camera.sessions).toEqual([]);
    expect(await system.profiles()).toEqual([]);
    expect(await up.stop()).toBe(130);
    expect(up.out.join() + up.err.join()).not.toContain(PASSWORD);
  });

  test.each([
    [['--wake', '--every', '2h'], 'add --output FOLDER'],
    [['--wake', '--every', '10', '-o', 'x'], 'at least 5 minutes'],
  ])('watch %j is refused with the next step', async (args, text) => {
    const { code, err } = await commandLine.run(['camera', 'watch', ...args], env);
    expect([code, err]).toEqual([2, expect.stringContaining(text)]);
  });

  test('an adapter that is off ends connect --wake with a local error and the next step', async () => {
    await system.bluez('SetPowered', 'sb', 'hci0', false);
    const { code, err } = await commandLine.run(['camera', 'connect', '--wake', '127.0.0.1'], env);
    expect(code).toBe(5);
    expect(err).toContain('bluetoothctl power on');
  });
});
