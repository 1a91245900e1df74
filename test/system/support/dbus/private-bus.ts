import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Bus, type BusTarget, openSystemBus, Typed } from '@towpath/wake';
import { PYTHON } from '../python.ts';

export function dbusAvailable(): boolean {
  const mock = spawnSync(PYTHON, ['-c', 'import dbusmock'], { stdio: 'ignore' });
  return mock.status === 0 && spawnSync('dbus-daemon', ['--version'], { stdio: 'ignore' }).status === 0;
}

const NM = 'org.freedesktop.NetworkManager';

/** A private message bus with BlueZ and NetworkManager as python-dbusmock plays them. */
export class PrivateBus implements AsyncDisposable {
  readonly address: string;
  /** A connection of the test, to steer the mocks. */
  readonly bus: Bus;
  readonly #folder: string;
  readonly #children: ChildProcess[];

  private constructor(folder: string, address: string, children: ChildProcess[], bus: Bus) {
    this.#folder = folder;
    this.address = address;
    this.#children = children;
    this.bus = bus;
  }

  static async start(options: { oldNetworkManager?: boolean } = {}): Promise<PrivateBus> {
    const folder = mkdtempSync(join(tmpdir(), 'towpath-dbus-'));
    const address = `unix:path=${join(folder, 'bus')}`;
    const daemon = spawn('dbus-daemon', ['--session', '--nofork', `--address=${address}`, '--print-address'], {
      // It complains that it may not raise its limit of files.
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    await once(daemon.stdout!, 'data');
    const children: ChildProcess[] = [daemon];
    const env = { ...process.env, DBUS_SYSTEM_BUS_ADDRESS: address };
    const mock = (template: string, parameters: object) => {
      const file = join(import.meta.dirname, template);
      const args = ['-m', 'dbusmock', '--system', '--template', file, '--parameters', JSON.stringify(parameters)];
      children.push(spawn(PYTHON, args, { env, stdio: ['ignore', 'ignore', 'inherit'] }));
    };
    mock('bluez.py', {});
    mock('network_manager.py', { Old: options.oldNetworkManager ?? false });
    const bus = await openSystemBus({ address });
    const started = new PrivateBus(folder, address, children, bus);
    await started.#owned('org.bluez', '/');
    await started.#owned(NM, '/org/freedesktop');
    return started;
  }

  /** Calls a method of BlueZ's mock. */
  async bluez(member: string, signature: string, ...args: unknown[]): Promise<unknown> {
    const target = { service: 'org.bluez', path: '/', interface: 'org.bluez.Mock' };
    return (await this.bus.call(target, member, signature, args))[0];
  }

  /** Calls a method of NetworkManager's mock. */
  async wifi(member: string, signature: string, ...args: unknown[]): Promise<unknown> {
    const target = { service: NM, path: '/org/freedesktop', interface: 'org.freedesktop.DBus.Mock' };
    return (await this.bus.call(target, member, signature, args))[0];
  }

  async property(service: string, path: string, name: string, property: string): Promise<unknown> {
    return this.bus.get({ service, path, interface: name }, property);
  }

  /** A Wi-Fi adapter that sees a camera's hotspot. @returns its path */
  async addHotspot(ssid: string, password: string, fault = ''): Promise<string> {
    const device = (await this.wifi('AddWiFiDevice', 'ssi', 'w0', 'wlan7', 30)) as string;
    await this.wifi('AddAccessPoint', 'ssssuuuyu', device, 'ap0', ssid, '02:00:5E:00:53:01', 2, 2412, 5400, 82, 0x100);
    await this.wifi('SetHotspot', 'sss', password, '192.168.43.21', fault);
    return device;
  }

  /** Names of the connection profiles that NetworkManager has. */
  async profiles(): Promise<string[]> {
    const settings: BusTarget = {
      service: NM,
      path: '/org/freedesktop/NetworkManager/Settings',
      interface: `${NM}.Settings`,
    };
    const [paths] = await this.bus.call(settings, 'ListConnections');
    const names: string[] = [];
    for (const path of paths as string[]) {
      const target = { service: NM, path, interface: `${NM}.Settings.Connection` };
      const [said] = (await this.bus.call(target, 'GetSettings')) as [{ connection: { id: string } }];
      names.push(said.connection.id);
    }
    return names;
  }

  /** Adds a profile. @returns its path */
  async addProfile(id: string): Promise<string> {
    const target: BusTarget = {
      service: NM,
      path: '/org/freedesktop/NetworkManager/Settings',
      interface: `${NM}.Settings`,
    };
    const connection = { id: new Typed('s', id), type: new Typed('s', '802-11-wireless'), uuid: new Typed('s', id) };
    return (await this.bus.call(target, 'AddConnection', 'a{sa{sv}}', [{ connection }]))[0] as string;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.bus[Symbol.asyncDispose]();
    for (const child of this.#children.reverse()) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      child.kill();
      await once(child, 'exit');
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #owned(service: string, path: string): Promise<void> {
    const peer = { service, path, interface: 'org.freedesktop.DBus.Peer' };
    for (let tries = 0; ; tries++) {
      try {
        await this.bus.call(peer, 'Ping');
        return;
      } catch (error) {
        if (tries > 600) throw error;
        await sleep(50);
      }
    }
  }
}
