import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { BleReassembler, decodeHotspotCredentials, encodeWakeValue, type HotspotCredentials } from '@towpath/camera';
import { SystemClock } from '@towpath/core';
import { exchange, type ExchangeLimits, joinWifi, openSystemBus, WakeError } from '@towpath/wake';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { dbusAvailable, PrivateBus } from './support/dbus/private-bus.ts';

const missing = !dbusAvailable();
if (missing) console.warn('wake: D-Bus or python3-dbusmock is missing (Debian: apt-get install dbus python3-dbusmock)');

const ADDRESS = 'C2:00:5E:00:53:0A';
const DEVICE = '/org/bluez/hci0/dev_C2_00_5E_00_53_0A';
/** Has the form of the answer in docs/protocol/artemis.md, "Bluetooth". */
const ANSWER = (() => {
  const json = Buffer.from('{"ret":0,"ssid":"KJK_5301","bssid":"02:00:5E:00:53:01","pwd":"24681357"}');
  return Buffer.concat([Buffer.from([0x13, 0x57, 1, 0, json.length, 0, 0, 0]), json]).toString('hex');
})();
const BASE = '-0000-1000-8000-00805f9b34fb';
const clock = new SystemClock();

let system: PrivateBus;

describe.skipIf(missing && !process.env.CI)('waking over a real D-Bus (B10)', () => {
  beforeEach(async () => {
    system = await PrivateBus.start();
  });
  afterEach(() => system[Symbol.asyncDispose]());

  /** Wakes the camera on a bus connection of its own. */
  async function wake(limits: Partial<ExchangeLimits> = {}, phases: string[] = []): Promise<HotspotCredentials> {
    await using bus = await openSystemBus({ address: system.address });
    const reassembler = new BleReassembler();
    const { answer } = await exchange(
      { bus, clock },
      {
        device: { namePrefix: 'TC100_' },
        write: { uuid: `00000002${BASE}`, value: encodeWakeValue() },
        notify: `00000003${BASE}`,
        limits,
        onPhase: (phase) => phases.push(phase),
        onValue: (value) => {
          const message = reassembler.push(value);
          if (message === undefined) return undefined;
          if (!message.ok) throw new WakeError('bad-answer', message.message);
          const credentials = decodeHotspotCredentials(message.value);
          if (!credentials.ok) throw new WakeError('bad-answer', credentials.message);
          return credentials.value;
        },
      },
    );
    return answer;
  }

  async function addCamera(fault = '', after = 30): Promise<void> {
    await system.bluez('AddAdapter', 'ss', 'hci0', 'towpath');
    await system.bluez('AddCamera', 'sssssu', 'hci0', ADDRESS, 'TC100_530A', ANSWER, fault, after);
  }

  /** No discovery, no subscription, no connection. */
  async function expectNothingLeft(): Promise<void> {
    expect(await system.property('org.bluez', '/org/bluez/hci0', 'org.bluez.Adapter1', 'Discovering')).toBe(false);
    const connected = await system.property('org.bluez', DEVICE, 'org.bluez.Device1', 'Connected').catch(() => false);
    expect(connected).toBe(false);
  }

  test('a camera is found, written to, and its fragmented answer read', async () => {
    await addCamera();
    const phases: string[] = [];
    expect(await wake({}, phases)).toEqual({ ssid: 'KJK_5301', bssid: '02:00:5E:00:53:01', password: '24681357' });
    expect(phases).toEqual(['adapter', 'scan', 'connect', 'services', 'subscribe', 'write', 'answer']);
    expect(await system.bluez('Written', 's', DEVICE)).toBe(`1357010000000000${'00'.repeat(12)}`);
    await expectNothingLeft();
  });

  test('a second wake works, although BlueZ remembers the camera', async () => {
    await addCamera();
    await wake();
    expect((await wake()).ssid).toBe('KJK_5301');
    await expectNothingLeft();
  });

  test.each([
    ['no adapter', undefined, 'no-adapter', /does not have a Bluetooth adapter/],
    ['an adapter that is off', 'off', 'adapter-off', /Bluetooth adapter is off.*power on/],
    ['no camera', 'absent', 'device-not-found', /TC100_… was not found.*batteries.*0\.3 s/],
    ['a camera that refuses', 'refuse', 'device-refused', /TC100_530A \(C2.*did not accept the connection/],
    ['a camera without services', 'no-services', 'device-lost', /did not list its services/],
    ['a camera that does not answer', 'silent', 'no-answer', /TC100_530A.*did not answer.*0\.3 s/],
    ['a camera that is lost in mid-answer', 'lost', 'device-lost', /ended the connection/],
    ['a camera that is lost at the write', 'lost-write', 'device-lost', /ended the connection/],
    ['an answer that is none', 'garbage', 'bad-answer', /does not begin with 13 57/],
  ] as const)('%s: the error says what was tried, and nothing is left behind', async (_name, fault, code, sentence) => {
    if (fault === 'absent') await addCamera('', 60_000);
    else if (fault !== undefined) await addCamera(fault === 'off' ? '' : fault);
    if (fault === 'off') await system.bluez('SetPowered', 'sb', 'hci0', false);
    const limits = { scan: fault === 'absent' ? 300 : 20_000, services: fault === 'no-services' ? 300 : 20_000 };
    const failure = await wake({ ...limits, answer: fault === 'silent' ? 300 : 20_000 }).then(
      () => undefined,
      (error: unknown) => error,
    );
    expect(failure).toBeInstanceOf(WakeError);
    expect(failure).toMatchObject({ code, message: expect.stringMatching(sentence) });
    if (fault !== undefined) await expectNothingLeft();
  });

  test('without BlueZ the error says what to install', async () => {
    await using bus = await openSystemBus({ address: system.address });
    const failing: typeof bus = {
      ...bus,
      call: (target, ...rest) => bus.call({ ...target, service: 'org.absent' }, ...rest),
    };
    const options = { device: {}, write: { uuid: '', value: new Uint8Array(1) }, notify: '', onValue: () => 1 };
    await expect(exchange({ bus: failing, clock }, options)).rejects.toMatchObject({ code: 'no-bluetooth' });
  });
});

describe.skipIf(missing && !process.env.CI)('joining over a real D-Bus (B10)', () => {
  afterEach(() => system[Symbol.asyncDispose]());

  async function start(fault = '', options: { oldNetworkManager?: boolean } = {}): Promise<string> {
    system = await PrivateBus.start(options);
    return system.addHotspot('KJK_5301', '24681357', fault);
  }

  const hotspot = { ssid: 'KJK_5301', password: '24681357' };

  async function deviceState(device: string): Promise<unknown> {
    return system.property('org.freedesktop.NetworkManager', device, 'org.freedesktop.NetworkManager.Device', 'State');
  }

  test('the hotspot is joined with a temporary profile that is never the default route, and left', async () => {
    const device = await start();
    await using bus = await openSystemBus({ address: system.address });
    const phases: string[] = [];
    const join = await joinWifi({ bus, clock }, { ...hotspot, onPhase: (phase) => phases.push(phase) });
    expect(join).toMatchObject({ device: 'wlan7', address: '192.168.43.21' });
    expect(phases).toEqual(['device', 'scan', 'associate', 'address']);
    expect(await system.profiles()).toEqual([expect.stringMatching(/^towpath-\d+\.\d+-KJK_5301$/)]);
    const asked = (await system.wifi('Asked', '')) as Record<string, string>;
    expect(asked).toMatchObject({
      'ipv4.never-default': '1',
      'ipv6.never-default': '1',
      'ipv4.ignore-auto-dns': '1',
      'connection.autoconnect': '0',
      persist: 'volatile',
      'bind-activation': 'dbus-client',
    });
    await join.leave();
    await join.leave();
    expect(await system.profiles()).toEqual([]);
    expect(await deviceState(device)).toBe(30);
  });

  test('the network that the adapter had is started again', async () => {
    const device = await start();
    const home = await system.addProfile('home');
    const manager = {
      service: 'org.freedesktop.NetworkManager',
      path: '/org/freedesktop/NetworkManager',
      interface: 'org.freedesktop.NetworkManager',
    };
    await system.bus.call(manager, 'ActivateConnection', 'ooo', [home, device, '/']);
    await expect.poll(() => deviceState(device)).toBe(100);
    await using bus = await openSystemBus({ address: system.address });
    const join = await joinWifi({ bus, clock }, hotspot);
    await join.leave();
    expect(await system.profiles()).toEqual(['home']);
    await expect.poll(() => deviceState(device)).toBe(100);
  });

  test.each([
    ['a wrong password', '', { password: '00000000' }, 'wrong-password', /KJK_5301 refused the password/],
    ['no lease', 'no-lease', {}, 'no-address', /assigned no address/],
    ['an absent network', '', { ssid: 'KJK_0000' }, 'network-not-found', /No access point named KJK_0000.*0\.3 s/],
    ['an adapter that stands still', 'stuck', {}, 'join-failed', /was not joined/],
    ['an adapter that is not there', '', { device: 'wlan9' }, 'no-wifi-adapter', /wlan9/],
  ] as const)('%s: the error says it, and no profile is left', async (_name, fault, change, code, sentence) => {
    const device = await start(fault);
    await using bus = await openSystemBus({ address: system.address });
    const limits = { scan: code === 'network-not-found' ? 300 : 20_000, associate: fault === 'stuck' ? 300 : 20_000 };
    const failure = joinWifi({ bus, clock }, { ...hotspot, ...change, limits });
    await expect(failure).rejects.toMatchObject({ code, message: expect.stringMatching(sentence) });
    expect(await system.profiles()).toEqual([]);
    expect(await deviceState(device)).toBe(30);
  });

  test('Wi-Fi that is off is named', async () => {
    system = await PrivateBus.start();
    await system.wifi('AddWiFiDevice', 'ssi', 'w0', 'wlan7', 20);
    await using bus = await openSystemBus({ address: system.address });
    await expect(joinWifi({ bus, clock }, hotspot)).rejects.toMatchObject({ code: 'wifi-off' });
  });

  test('a hotspot that ends is reported', async () => {
    const device = await start();
    await using bus = await openSystemBus({ address: system.address });
    await using join = await joinWifi({ bus, clock }, hotspot);
    await system.wifi('Vanish', 's', device);
    await expect.poll(() => join.lost.aborted).toBe(true);
    expect(join.lost.reason).toMatchObject({ code: 'network-not-found' });
  });

  test('a NetworkManager before 1.16 is used with an unsaved profile', async () => {
    await start('', { oldNetworkManager: true });
    await using bus = await openSystemBus({ address: system.address });
    const join = await joinWifi({ bus, clock }, hotspot);
    expect(join.address).toBe('192.168.43.21');
    await join.leave();
    expect(await system.profiles()).toEqual([]);
  });

  test('what a killed process left is removed at the next start; what a running one uses is not', async () => {
    await start();
    const script = join(import.meta.dirname, 'support/dbus/hold-wifi.ts');
    const child = spawn(process.execPath, [script, system.address], { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(child.stdout!, 'data');
    await using bus = await openSystemBus({ address: system.address });
    await expect(joinWifi({ bus, clock }, hotspot)).rejects.toMatchObject({
      code: 'wifi-busy',
      message: expect.stringContaining(`Process ${child.pid} `),
    });
    expect(await system.profiles()).toHaveLength(1);
    child.kill('SIGKILL');
    await once(child, 'exit');
    const join2 = await joinWifi({ bus, clock }, hotspot);
    expect(await system.profiles()).toEqual([expect.stringContaining(`towpath-${process.pid}.`)]);
    await join2.leave();
    expect(await system.profiles()).toEqual([]);
  });

  test('an abort in the middle leaves no profile', async () => {
    await start('stuck');
    await using bus = await openSystemBus({ address: system.address });
    const abort = new AbortController();
    const joining = joinWifi({ bus, clock }, { ...hotspot, signal: abort.signal });
    await expect.poll(() => system.profiles()).toHaveLength(1);
    abort.abort(new Error('enough'));
    await expect(joining).rejects.toThrow('enough');
    expect(await system.profiles()).toEqual([]);
  });
});
