import type { TowpathError } from '@towpath/core';
import type { Bus, BusTarget } from '../dbus/bus.ts';
import { type ErrorMeanings, serviceError } from '../dbus/service-error.ts';
import { as } from '../dbus/values.ts';
import { WakeError, type WakeErrorCode } from '../wake-error.ts';

/** Names and numbers of NetworkManager's D-Bus interface (its nm-dbus-types). */
export const NETWORK_MANAGER = 'org.freedesktop.NetworkManager';
export const WIFI: string = `${NETWORK_MANAGER}.Device.Wireless`;
export const DEVICE: string = `${NETWORK_MANAGER}.Device`;
export const ACTIVE: string = `${NETWORK_MANAGER}.Connection.Active`;
export const ACCESS_POINT: string = `${NETWORK_MANAGER}.AccessPoint`;
export const PROFILE: string = `${NETWORK_MANAGER}.Settings.Connection`;

export const at = (path: string, name: string): BusTarget => ({ service: NETWORK_MANAGER, path, interface: name });

export const MANAGER: BusTarget = at('/org/freedesktop/NetworkManager', NETWORK_MANAGER);
export const SETTINGS: BusTarget = at('/org/freedesktop/NetworkManager/Settings', `${NETWORK_MANAGER}.Settings`);

/** NMDeviceState */
export const DeviceState = {
  unavailable: 20,
  disconnected: 30,
  needAuth: 60,
  ipConfig: 70,
  activated: 100,
  failed: 120,
};

const WIFI_DEVICE_TYPE = 2;

/** A Wi-Fi adapter. */
export interface WifiDevice {
  readonly path: string;
  /** `wlan0` */
  readonly name: string;
  /** Path of its active connection; undefined without one. */
  readonly active: string | undefined;
}

/**
 * Returns the Wi-Fi adapter to use: the named one, else one without a connection, else the first: it loses its
 * connection for the time of the join.
 * @throws WakeError `wifi-off`, `no-wifi-adapter`; as `Bus.call`
 */
export async function wifiDevice(bus: Bus, name: string | undefined, signal?: AbortSignal): Promise<WifiDevice> {
  const devices: WifiDevice[] = [];
  let unavailable = false;
  const [paths] = await bus.call(MANAGER, 'GetDevices', '', [], signal);
  for (const path of as.texts(paths)) {
    const device = at(path, DEVICE);
    if ((await bus.get(device, 'DeviceType', signal)) !== WIFI_DEVICE_TYPE) continue;
    if ((await bus.get(device, 'Managed', signal)) !== true) continue;
    const itsName = as.text(await bus.get(device, 'Interface', signal)) ?? '';
    if (name !== undefined && itsName !== name) continue;
    if ((as.number(await bus.get(device, 'State', signal)) ?? 0) <= DeviceState.unavailable) {
      unavailable = true;
      continue;
    }
    const active = as.text(await bus.get(device, 'ActiveConnection', signal));
    devices.push({ path, name: itsName, active: active === '/' ? undefined : active });
  }
  if (devices.length > 0) return devices.find(({ active }) => active === undefined) ?? devices[0]!;
  const off = unavailable || (await bus.get(MANAGER, 'WirelessEnabled', signal)) === false;
  if (off) throw new WakeError('wifi-off', 'Wi-Fi is off on this machine. Next: nmcli radio wifi on.');
  const which = name === undefined ? 'a Wi-Fi adapter' : `a Wi-Fi adapter named ${name}`;
  throw new WakeError('no-wifi-adapter', `NetworkManager does not manage ${which}. Next: nmcli device status.`);
}

const MEANINGS: ErrorMeanings = {
  'org.freedesktop.DBus.Error.ServiceUnknown': [
    'no-network-manager',
    'NetworkManager does not run on this machine. Next: start it, or join the network yourself.',
  ],
  'org.freedesktop.DBus.Error.NameHasNoOwner': [
    'no-network-manager',
    'NetworkManager does not run on this machine. Next: start it, or join the network yourself.',
  ],
  'org.freedesktop.DBus.Error.AccessDenied': [
    'access-denied',
    'This user may not change network connections. Next: use root, or allow it in polkit.',
  ],
  'org.freedesktop.NetworkManager.PermissionDenied': [
    'access-denied',
    'This user may not change network connections. Next: use root, or allow it in polkit.',
  ],
};

/** Converts what a phase failed with. */
export function networkManagerError(error: unknown, otherwise: WakeErrorCode, what: string): TowpathError {
  return serviceError(MEANINGS, error, otherwise, what);
}

/** Says what a reason of a failed device means (NMDeviceStateReason). */
export function failure(reason: number, ssid: string): WakeError {
  switch (reason) {
    case 7: // no secrets
    case 8: // the supplicant disconnected: the access point ended the handshake
    case 9: // the supplicant's configuration failed: a password of an impossible length
      return new WakeError(
        'wrong-password',
        `${ssid} refused the password. Next: wake the camera again for a new one.`,
      );
    case 5: // no IP configuration
    case 15: // DHCP
    case 16:
    case 17:
      return new WakeError('no-address', `${ssid} was joined, but assigned no address. Next: wake the camera again.`);
    case 53:
      return new WakeError('network-not-found', `The network ${ssid} has gone. Next: wake the camera again.`);
    default:
      return new WakeError(
        'join-failed',
        `${ssid} was not joined (NetworkManager's reason ${reason}). Next: try again.`,
      );
  }
}
