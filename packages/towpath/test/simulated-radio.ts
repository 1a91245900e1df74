import type { Clock } from '@towpath/core';
import type { Bus, BusSignal, BusTarget, SignalMatch, Typed } from '@towpath/wake';

/** A camera that sleeps until it is woken over Bluetooth. */
export interface SleepingCamera {
  /** Address in Bluetooth. */
  readonly bluetooth: string;
  readonly name: string;
  readonly ssid: string;
  readonly password: string;
  /** It does not advertise. */
  absent?: boolean;
  onWake(): void;
  onSleep(): void;
}

/** One machine's use of a Wi-Fi adapter. */
export interface Joined {
  readonly ssid: string;
  readonly adapter: string;
  readonly fromMs: number;
  toMs: number | undefined;
}

const BLUEZ = 'org.bluez';
const DEVICE = 'org.bluez.Device1';
const CHARACTERISTIC = 'org.bluez.GattCharacteristic1';
const NM = 'org.freedesktop.NetworkManager';
const PROPERTIES = 'org.freedesktop.DBus.Properties';
const WRITE = '00000002-0000-1000-8000-00805f9b34fb';
const NOTIFY = '00000003-0000-1000-8000-00805f9b34fb';

interface Listener {
  readonly match: SignalMatch;
  readonly handler: (signal: BusSignal) => void;
}

/** BlueZ and NetworkManager of one machine with cameras around it, as much of them as waking and joining use. */
export class SimulatedRadio {
  /** Every join, in order. */
  readonly joins: Joined[] = [];
  /** Which hotspot the machine is in; called when it changes. */
  onJoined: (ssid: string | undefined) => void = () => {};
  openBuses = 0;
  readonly #clock: Clock;
  readonly #cameras: readonly SleepingCamera[];
  readonly #adapters: readonly string[];
  readonly #address: string;
  readonly #awake = new Set<string>();
  readonly #profiles = new Map<string, { id: string; ssid: string; adapter: string }>();
  #next = 0;

  /** @param options `address` of this machine in every hotspot */
  constructor(clock: Clock, cameras: readonly SleepingCamera[], options: { adapters?: string[]; address: string }) {
    this.#clock = clock;
    this.#cameras = cameras;
    this.#adapters = options.adapters ?? ['wlan0'];
    this.#address = options.address;
  }

  /** Names of the connection profiles that exist. */
  get profiles(): string[] {
    return [...this.#profiles.values()].map(({ id }) => id);
  }

  /** A connection to the message bus. */
  bus(): Bus {
    const listeners = new Set<Listener>();
    this.openBuses++;
    const emit = (service: string, path: string, name: string, member: string, body: readonly unknown[]) => {
      for (const { match, handler } of [...listeners]) {
        if (match.service !== service || match.interface !== name || match.member !== member) continue;
        if (match.path === undefined || match.path === path) handler({ path, body });
      }
    };
    return {
      call: async (target, member, _signature, args = [], signal) => {
        signal?.throwIfAborted();
        await this.#clock.sleep(1, signal);
        return target.service === BLUEZ ? this.#bluez(target, member, emit) : this.#wifi(target, member, args, emit);
      },
      get: async (target, property, signal) => {
        await this.#clock.sleep(1, signal);
        return target.service === BLUEZ ? property === 'ServicesResolved' : this.#wifiProperty(target, property);
      },
      subscribe: async (match, handler) => {
        const listener = { match, handler };
        listeners.add(listener);
        return { [Symbol.asyncDispose]: async () => void listeners.delete(listener) };
      },
      [Symbol.asyncDispose]: async () => {
        listeners.clear();
        this.openBuses--;
      },
    };
  }

  #bluez({ path }: BusTarget, member: string, emit: Emit): readonly unknown[] {
    if (member === 'GetManagedObjects') return [this.#objects()];
    if (member === 'WriteValue') {
      const device = path.slice(0, path.lastIndexOf('/'));
      const camera = this.#cameras.find(({ bluetooth }) => devicePath(bluetooth) === device);
      if (camera !== undefined) this.#answer(camera, device, emit);
    }
    return [];
  }

  #objects(): Record<string, unknown> {
    const objects: Record<string, unknown> = { '/org/bluez/hci0': { 'org.bluez.Adapter1': { Powered: true } } };
    for (const { bluetooth, name, absent } of this.#cameras) {
      if (absent) continue;
      const device = devicePath(bluetooth);
      objects[device] = { [DEVICE]: { Address: bluetooth, Name: name, RSSI: -60 } };
      objects[`${device}/write`] = { [CHARACTERISTIC]: { UUID: WRITE } };
      objects[`${device}/notify`] = { [CHARACTERISTIC]: { UUID: NOTIFY } };
    }
    return objects;
  }

  /** Opens the hotspot and sends its name and password in pieces of 20 bytes. */
  #answer(camera: SleepingCamera, device: string, emit: Emit): void {
    const { ssid, password } = camera;
    const json = Buffer.from(JSON.stringify({ ret: 0, ssid, bssid: '02:00:5E:00:53:01', pwd: password }));
    const message = Buffer.concat([Buffer.from([0x13, 0x57, 1, 0, json.length, 0, 0, 0]), json]);
    this.#clock.timer(4_400, () => {
      this.#awake.add(ssid);
      camera.onWake();
      for (let at = 0; at < message.length; at += 20) {
        const Value = Uint8Array.from(message.subarray(at, at + 20));
        emit(BLUEZ, `${device}/notify`, PROPERTIES, 'PropertiesChanged', [CHARACTERISTIC, { Value }]);
      }
    });
  }

  #wifi({ path }: BusTarget, member: string, args: readonly unknown[], emit: Emit): readonly unknown[] {
    switch (member) {
      case 'GetDevices':
        return [this.#adapters.map(adapterPath)];
      case 'GetAllAccessPoints':
        return [[...this.#awake].map((ssid) => `/ap/${ssid}`)];
      case 'ListConnections':
        return [[...this.#profiles.keys()]];
      case 'GetSettings':
        return [{ connection: { id: this.#profiles.get(path)?.id } }];
      case 'AddAndActivateConnection2':
        return this.#activate(args, emit);
      case 'Delete':
        this.#leave(path);
        return [];
      default:
        return [];
    }
  }

  #activate(args: readonly unknown[], emit: Emit): readonly unknown[] {
    const [settings, device, accessPoint] = args as [{ connection: { id: Typed } }, string, string];
    const adapter = device.slice('/device/'.length);
    const ssid = accessPoint.slice('/ap/'.length);
    const path = `/profile/${this.#next++}`;
    this.#profiles.set(path, { id: String(settings.connection.id.value), ssid, adapter });
    const state = (now: number, before: number) => emit(NM, device, `${NM}.Device`, 'StateChanged', [now, before, 0]);
    this.#clock.timer(500, () => state(40, 30));
    this.#clock.timer(1_500, () => state(70, 40));
    this.#clock.timer(2_500, () => {
      if (!this.#profiles.has(path)) return;
      this.joins.push({ ssid, adapter, fromMs: this.#clock.now(), toMs: undefined });
      this.onJoined(ssid);
      state(100, 70);
    });
    return [path, `/active${path}`, '/'];
  }

  /** The camera falls asleep when nobody is in its hotspot. */
  #leave(path: string): void {
    const profile = this.#profiles.get(path);
    if (profile === undefined) return;
    this.#profiles.delete(path);
    const join = this.joins.findLast(({ ssid }) => ssid === profile.ssid);
    if (join !== undefined) join.toMs ??= this.#clock.now();
    this.onJoined(undefined);
    this.#awake.delete(profile.ssid);
    this.#cameras.find(({ ssid }) => ssid === profile.ssid)?.onSleep();
  }

  #wifiProperty({ path, interface: name }: BusTarget, property: string): unknown {
    switch (property) {
      case 'DeviceType':
        return 2;
      case 'Managed':
        return true;
      case 'Interface':
        return path.slice('/device/'.length);
      case 'State':
        return 30;
      case 'ActiveConnection':
        return '/';
      case 'Ssid':
        return Uint8Array.from(Buffer.from(path.slice('/ap/'.length)));
      case 'Strength':
        return 80;
      case 'Ip4Config':
        return '/ip4';
      case 'AddressData':
        return [{ address: this.#address }];
      case 'Connection':
        return path.slice('/active'.length);
      default:
        throw new Error(`${name}.${property} is not simulated`);
    }
  }
}

type Emit = (service: string, path: string, name: string, member: string, body: readonly unknown[]) => void;

function devicePath(bluetooth: string): string {
  return `/org/bluez/hci0/dev_${bluetooth.replaceAll(':', '_')}`;
}

function adapterPath(adapter: string): string {
  return `/device/${adapter}`;
}
