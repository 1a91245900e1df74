import type { TowpathError } from '@towpath/core';
import type { Bus, BusTarget } from '../dbus/bus.ts';
import { type ErrorMeanings, serviceError } from '../dbus/service-error.ts';
import { as, type Dictionary } from '../dbus/values.ts';
import { WakeError, type WakeErrorCode } from '../wake-error.ts';

/** Names of BlueZ's D-Bus interface (doc/org.bluez.*.rst of its sources). */
export const BLUEZ = 'org.bluez';
export const ADAPTER = 'org.bluez.Adapter1';
export const DEVICE = 'org.bluez.Device1';
export const CHARACTERISTIC = 'org.bluez.GattCharacteristic1';
export const OBJECT_MANAGER: BusTarget = {
  service: BLUEZ,
  path: '/',
  interface: 'org.freedesktop.DBus.ObjectManager',
};

export const at = (path: string, name: string): BusTarget => ({ service: BLUEZ, path, interface: name });

/** An object of BlueZ: its path, and the properties of each of its interfaces. */
export interface BluezObject {
  readonly path: string;
  readonly interfaces: Dictionary;
}

/** Returns everything that BlueZ knows. Throws as `Bus.call`. */
export async function managedObjects(bus: Bus, signal?: AbortSignal): Promise<BluezObject[]> {
  const [objects] = await bus.call(OBJECT_MANAGER, 'GetManagedObjects', '', [], signal);
  return Object.entries(as.dictionary(objects)).map(([path, interfaces]) => ({
    path,
    interfaces: as.dictionary(interfaces),
  }));
}

/**
 * Returns the path of an adapter that is on.
 * @param name `hci0`; any when undefined
 * @throws WakeError `no-adapter`, `adapter-off`; as `Bus.call`
 */
export async function poweredAdapter(bus: Bus, name: string | undefined, signal?: AbortSignal): Promise<string> {
  const objects = await managedObjects(bus, signal);
  const adapters = objects.filter(
    ({ path, interfaces }) => ADAPTER in interfaces && (name === undefined || path.endsWith(`/${name}`)),
  );
  if (adapters.length === 0) {
    const which = name === undefined ? 'a Bluetooth adapter' : `a Bluetooth adapter named ${name}`;
    throw new WakeError('no-adapter', `This machine does not have ${which}. Next: connect one (bluetoothctl list).`);
  }
  const on = adapters.find(({ interfaces }) => as.flag(as.dictionary(interfaces[ADAPTER]).Powered) === true);
  if (on === undefined) {
    throw new WakeError(
      'adapter-off',
      'The Bluetooth adapter is off. Next: bluetoothctl power on (and rfkill unblock bluetooth).',
    );
  }
  return on.path;
}

const MEANINGS: ErrorMeanings = {
  'org.freedesktop.DBus.Error.ServiceUnknown': [
    'no-bluetooth',
    'BlueZ (bluetoothd) does not run on this machine. Next: install bluez and start the service bluetooth.',
  ],
  'org.freedesktop.DBus.Error.NameHasNoOwner': [
    'no-bluetooth',
    'BlueZ (bluetoothd) does not run on this machine. Next: install bluez and start the service bluetooth.',
  ],
  'org.freedesktop.DBus.Error.AccessDenied': [
    'access-denied',
    'This user may not use Bluetooth. Next: add the user to the group bluetooth, or use root.',
  ],
  'org.bluez.Error.NotReady': [
    'adapter-off',
    'The Bluetooth adapter is off. Next: bluetoothctl power on (and rfkill unblock bluetooth).',
  ],
};

/** Converts what a phase failed with. @param phase as in "The device was not reached" */
export function bluezError(error: unknown, otherwise: WakeErrorCode, what: string): TowpathError {
  return serviceError(MEANINGS, error, otherwise, what);
}
