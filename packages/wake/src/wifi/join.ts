import { abortable, type Clock, deadline, errorMessage, type Log, silentLog, Wakeup } from '@towpath/core';
import { type Bus, BusError } from '../dbus/bus.ts';
import { as, Typed } from '../dbus/values.ts';
import { WakeError, type WakeErrorCode } from '../wake-error.ts';
import { type ProcessId, profileName, removeLeftovers, runningProcess } from './leftovers.ts';
import {
  ACCESS_POINT,
  ACTIVE,
  at,
  DEVICE,
  DeviceState,
  failure,
  MANAGER,
  NETWORK_MANAGER,
  networkManagerError,
  PROFILE,
  SETTINGS,
  WIFI,
  type WifiDevice,
  wifiDevice,
} from './network-manager.ts';
import { profileSettings, type WifiCredentials } from './profile.ts';

/** The phases of a join, in their order. */
export type JoinPhase = 'device' | 'scan' | 'associate' | 'address';

/** Time limit of each phase, ms. */
export type JoinLimits = Readonly<Record<JoinPhase, number>>;

const LIMITS: JoinLimits = { device: 5_000, scan: 30_000, associate: 30_000, address: 30_000 };

/** NetworkManager refuses scans within 10 s of the last one. */
const SCAN_AGAIN_MS = 10_000;

/** Leaving may not delay the caller for longer, ms. */
const LEAVE_LIMIT_MS = 5_000;

export interface JoinOptions extends WifiCredentials {
  /** Wi-Fi adapter, `wlan0`. @default one without a connection, else the first */
  readonly device?: string | undefined;
  readonly limits?: Partial<JoinLimits>;
  /** Called when a phase begins. */
  onPhase?(phase: JoinPhase): void;
  readonly signal?: AbortSignal | undefined;
}

/** A network that was joined. Dispose of it to leave. */
export interface WifiJoin extends AsyncDisposable {
  /** Name of the adapter, `wlan0`. */
  readonly device: string;
  /** This machine's address in the network. */
  readonly address: string;
  /** Aborts when the connection ends by itself, with a {@link WakeError} as reason. */
  readonly lost: AbortSignal;
  /** Leaves the network, removes the profile, and starts the connection again that the adapter had. Idempotent. */
  leave(): Promise<void>;
}

interface Components {
  readonly bus: Bus;
  readonly clock: Clock;
  readonly log?: Log;
}

/**
 * Joins a Wi-Fi network with a temporary profile of NetworkManager, which never becomes the default route, and waits for
 * an address. The profile is in memory only and is bound to this D-Bus connection: NetworkManager removes it when the
 * process ends. Profiles that were left behind nevertheless are removed first.
 *
 * @throws WakeError `no-network-manager`, `wifi-off`, `no-wifi-adapter`, `wifi-busy`, `network-not-found`,
 *   `wrong-password`, `no-address`, `join-failed`, `access-denied`; the signal's reason. The profile is removed then.
 */
export async function joinWifi(components: Components, options: JoinOptions): Promise<WifiJoin> {
  const joining = new Joining(components, options);
  try {
    return await joining.run();
  } catch (error) {
    await joining.leave();
    throw error;
  }
}

class Joining {
  readonly #bus: Bus;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #options: JoinOptions;
  readonly #limits: JoinLimits;
  readonly #lost = new AbortController();
  readonly #self: ProcessId = runningProcess(process.pid) ?? { pid: process.pid, startedAt: 0 };
  readonly #watches: AsyncDisposable[] = [];
  /** What the adapter did before, to be started again. */
  #previous: string | undefined;
  #device: WifiDevice | undefined;
  #profile: string | undefined;
  #active: string | undefined;
  #leaving: Promise<void> | undefined;

  constructor({ bus, clock, log = silentLog }: Components, options: JoinOptions) {
    this.#bus = bus;
    this.#clock = clock;
    this.#log = log.child('WIFI');
    this.#options = options;
    this.#limits = { ...LIMITS, ...options.limits };
  }

  async run(): Promise<WifiJoin> {
    const { ssid } = this.#options;
    const device = await this.#phase('device', 'no-network-manager', 'NetworkManager did not answer', (signal) =>
      this.#choose(signal),
    );
    this.#device = device;
    const accessPoint = await this.#phase(
      'scan',
      'network-not-found',
      `No access point named ${ssid} was found. Next: move closer, or wake the camera again`,
      (signal) => this.#find(device, signal),
    );
    const states = await this.#watch(device);
    await this.#phase('associate', 'join-failed', `${ssid} was not joined. Next: try again`, async (signal) => {
      await this.#activate(device, accessPoint, signal);
      await states.reached(DeviceState.ipConfig, signal);
    });
    return await this.#phase(
      'address',
      'no-address',
      `${ssid} was joined, but assigned no address. Next: wake the camera again`,
      async (signal) => {
        await states.reached(DeviceState.activated, signal);
        const address = await this.#address(signal);
        states.onLost((error) => this.#lost.abort(error));
        this.#log.info(`Joined ${ssid}`, { device: device.name, address });
        return {
          device: device.name,
          address,
          lost: this.#lost.signal,
          leave: () => this.leave(),
          [Symbol.asyncDispose]: () => this.leave(),
        };
      },
    );
  }

  leave(): Promise<void> {
    this.#leaving ??= this.#leave();
    return this.#leaving;
  }

  async #leave(): Promise<void> {
    using limit = deadline(this.#clock, LEAVE_LIMIT_MS);
    const call = async (what: string, work: Promise<unknown>) => {
      try {
        await work;
      } catch (error) {
        // Gone already, as a rule: the network has ended.
        this.#log.debug(`${what}: ${errorMessage(error)}`);
      }
    };
    for (const watch of this.#watches.splice(0)) {
      await call('unsubscribe', Promise.resolve(watch[Symbol.asyncDispose]()));
    }
    const { signal } = limit;
    if (this.#active !== undefined) {
      await call('deactivate', this.#bus.call(MANAGER, 'DeactivateConnection', 'o', [this.#active], signal));
    }
    if (this.#profile !== undefined) {
      await call('delete profile', this.#bus.call(at(this.#profile, PROFILE), 'Delete', '', [], signal));
    }
    if (this.#previous !== undefined && this.#device !== undefined && this.#profile !== undefined) {
      const args = [this.#previous, this.#device.path, '/'];
      await call('restore', this.#bus.call(MANAGER, 'ActivateConnection', 'ooo', args, signal));
    }
  }

  async #phase<Result>(
    name: JoinPhase,
    code: WakeErrorCode,
    what: string,
    work: (signal: AbortSignal) => Promise<Result>,
  ): Promise<Result> {
    const { signal, onPhase } = this.#options;
    const limitMs = this.#limits[name];
    onPhase?.(name);
    this.#log.debug(`${name} begins`, { ssid: this.#options.ssid });
    const reason = () => new WakeError(code, `${what} (time limit ${(limitMs / 1_000).toFixed(1)} s).`);
    using limit = deadline(this.#clock, limitMs, signal, reason);
    try {
      return await work(limit.signal);
    } catch (error) {
      if (signal?.aborted) throw error;
      throw networkManagerError(error, code, what);
    }
  }

  async #choose(signal: AbortSignal): Promise<WifiDevice> {
    const { removed, inUse } = await removeLeftovers({ bus: this.#bus }, { signal });
    for (const name of removed) this.#log.info(`Removed the leftover profile ${name}`);
    const device = await wifiDevice(this.#bus, this.#options.device, signal);
    if (device.active === undefined) return device;
    const profile = as.text(await this.#bus.get(at(device.active, ACTIVE), 'Connection', signal));
    const user = profile === undefined ? undefined : inUse.get(profile);
    if (user !== undefined) {
      const message = `Process ${user.pid} uses the Wi-Fi adapter ${device.name} for a camera. Next: wait until it has left.`;
      throw new WakeError('wifi-busy', message);
    }
    this.#previous = profile;
    this.#log.warn(`The adapter ${device.name} leaves its network for the time of the join`);
    return device;
  }

  /** Returns the path of the strongest access point of the network. */
  async #find(device: WifiDevice, signal: AbortSignal): Promise<string> {
    const bus = this.#bus;
    const wakeup = new Wakeup({ clock: this.#clock });
    const match = { service: NETWORK_MANAGER, path: device.path, interface: WIFI, member: 'AccessPointAdded' };
    await using _added = await bus.subscribe(match, () => wakeup.wake(), signal);
    const ssids = new Typed('aay', [Buffer.from(this.#options.ssid, 'utf8')]);
    for (;;) {
      const found = await this.#strongest(device, signal);
      if (found !== undefined) return found;
      // Refused when the last scan was moments ago.
      await bus.call(at(device.path, WIFI), 'RequestScan', 'a{sv}', [{ ssids }], signal).catch(() => {});
      signal.throwIfAborted();
      await wakeup.wait(SCAN_AGAIN_MS, signal);
    }
  }

  async #strongest(device: WifiDevice, signal: AbortSignal): Promise<string | undefined> {
    const bus = this.#bus;
    const wanted = Buffer.from(this.#options.ssid, 'utf8');
    const [paths] = await bus.call(at(device.path, WIFI), 'GetAllAccessPoints', '', [], signal);
    let best: { path: string; strength: number } | undefined;
    for (const path of as.texts(paths)) {
      const ssid = as.bytes(await bus.get(at(path, ACCESS_POINT), 'Ssid', signal).catch(() => undefined));
      if (ssid === undefined || Buffer.compare(ssid, wanted) !== 0) continue;
      const strength = as.number(await bus.get(at(path, ACCESS_POINT), 'Strength', signal).catch(() => 0)) ?? 0;
      if (best === undefined || strength > best.strength) best = { path, strength };
    }
    return best?.path;
  }

  async #activate(device: WifiDevice, accessPoint: string, signal: AbortSignal): Promise<void> {
    const settings = profileSettings(this.#options, profileName(this.#self, this.#options.ssid));
    const bind = { persist: new Typed('s', 'volatile'), 'bind-activation': new Typed('s', 'dbus-client') };
    // Not ended by the signal: what it creates has to be known, to be removed.
    const adding = this.#bus.call(MANAGER, 'AddAndActivateConnection2', 'a{sa{sv}}ooa{sv}', [
      settings,
      device.path,
      accessPoint,
      bind,
    ]);
    const added = adding.then(
      ([profile, active]) => {
        this.#profile = as.text(profile);
        this.#active = as.text(active);
      },
      async (error) => {
        const old = error instanceof BusError && error.errorName === 'org.freedesktop.DBus.Error.UnknownMethod';
        if (!old) throw error;
        // Before version 1.16: unsaved, so at least it does not reach the disk.
        this.#profile = as.text((await this.#bus.call(SETTINGS, 'AddConnectionUnsaved', 'a{sa{sv}}', [settings]))[0]);
        const args = [this.#profile, device.path, accessPoint];
        this.#active = as.text((await this.#bus.call(MANAGER, 'ActivateConnection', 'ooo', args))[0]);
      },
    );
    try {
      await abortable(added, signal);
    } catch (error) {
      using limit = deadline(this.#clock, LEAVE_LIMIT_MS);
      await abortable(added, limit.signal).catch(() => {});
      throw error;
    }
  }

  /** Follows the state of the adapter from now on. */
  async #watch(device: WifiDevice): Promise<DeviceStates> {
    const states = new DeviceStates(this.#clock, this.#options.ssid);
    const match = { service: NETWORK_MANAGER, path: device.path, interface: DEVICE, member: 'StateChanged' };
    const watch = await this.#bus.subscribe(
      match,
      ({ body: [state, , reason] }) => states.changed(as.number(state) ?? 0, as.number(reason) ?? 0),
      this.#options.signal,
    );
    this.#watches.push(watch);
    return states;
  }

  async #address(signal: AbortSignal): Promise<string> {
    const config = as.text(await this.#bus.get(at(this.#active ?? '/', ACTIVE), 'Ip4Config', signal)) ?? '/';
    const data = await this.#bus.get(at(config, `${NETWORK_MANAGER}.IP4Config`), 'AddressData', signal);
    const address = as.text(as.dictionary(as.list(data)[0]).address);
    if (address === undefined) throw failure(5, this.#options.ssid);
    return address;
  }
}

/** The states that an adapter goes through; what comes before the first state of our connection does not count. */
class DeviceStates {
  readonly #wakeup: Wakeup;
  readonly #ssid: string;
  #begun = false;
  #state = 0;
  #failed: WakeError | undefined;
  #tell: ((error: WakeError) => void) | undefined;

  constructor(clock: Clock, ssid: string) {
    this.#wakeup = new Wakeup({ clock });
    this.#ssid = ssid;
  }

  changed(state: number, reason: number): void {
    // The adapter first leaves the network that it was in.
    if (state > DeviceState.disconnected && state <= DeviceState.activated) this.#begun = true;
    this.#state = state;
    if (this.#begun && isFailure(state, reason)) {
      this.#failed ??= failure(reason, this.#ssid);
      this.#tell?.(this.#failed);
    }
    this.#wakeup.wake();
  }

  /** Resolves when the adapter has reached a state. @throws WakeError when it failed; the signal's reason */
  async reached(state: number, signal: AbortSignal): Promise<void> {
    for (;;) {
      if (this.#failed !== undefined) throw this.#failed;
      if (this.#begun && this.#state >= state && this.#state <= DeviceState.activated) return;
      await this.#wakeup.wait(Number.POSITIVE_INFINITY, signal);
    }
  }

  onLost(tell: (error: WakeError) => void): void {
    this.#tell = tell;
    if (this.#failed !== undefined) tell(this.#failed);
  }
}

/** Without a supplicant's complaint, `needAuth` is only a stage. With one, the password was refused. */
function isFailure(state: number, reason: number): boolean {
  if (state === DeviceState.needAuth) return reason === 7 || reason === 8 || reason === 9;
  return state <= DeviceState.disconnected || state >= DeviceState.failed;
}
