import { Wakeup, type Clock } from '@towpath/core';
import type { Bus } from '../dbus/bus.ts';
import { as, type Dictionary, Typed } from '../dbus/values.ts';
import { ADAPTER, at, BLUEZ, DEVICE, managedObjects, OBJECT_MANAGER } from './bluez.ts';

/** Which device to look for: by its address, or by how its name begins. */
export interface DeviceMatch {
  /** `C2:00:5E:00:53:0A` */
  readonly address?: string | undefined;
  /** @default any name */
  readonly namePrefix?: string | undefined;
}

/** A device that advertises. */
export interface FoundDevice {
  readonly path: string;
  readonly address: string;
  readonly name: string;
}

/** Names beyond this are cut: an advertisement has room for 29 bytes, a name of GATT for 248. */
const MAX_NAME_CHARS = 248;

/**
 * Looks until a device that fits advertises. Discovery is ended before it returns, also when it throws.
 * @throws as `Bus.call`; the signal's reason
 */
export async function scan(
  { bus, clock }: { bus: Bus; clock: Clock },
  adapter: string,
  match: DeviceMatch,
  signal: AbortSignal,
): Promise<FoundDevice> {
  const wakeup = new Wakeup({ clock });
  const known = new Map<string, Record<string, unknown>>();
  const note = (path: string, properties: Dictionary) => {
    if (!path.startsWith(`${adapter}/`)) return;
    known.set(path, { ...known.get(path), ...properties });
    wakeup.wake();
  };
  await using _added = await bus.subscribe(
    { service: BLUEZ, interface: OBJECT_MANAGER.interface, member: 'InterfacesAdded' },
    ({ body: [path, interfaces] }) => {
      const device = as.dictionary(interfaces)[DEVICE];
      if (device !== undefined) note(String(path), as.dictionary(device));
    },
    signal,
  );
  await using _changed = await bus.subscribe(
    { service: BLUEZ, interface: 'org.freedesktop.DBus.Properties', member: 'PropertiesChanged' },
    ({ path, body: [name, changes] }) => {
      if (name === DEVICE) note(path, as.dictionary(changes));
    },
    signal,
  );
  for (const { path, interfaces } of await managedObjects(bus, signal)) {
    const device = interfaces[DEVICE];
    if (device !== undefined) note(path, as.dictionary(device));
  }
  const target = at(adapter, ADAPTER);
  const filter = { Transport: new Typed('s', 'le'), DuplicateData: new Typed('b', true) };
  await bus.call(target, 'SetDiscoveryFilter', 'a{sv}', [filter], signal);
  await bus.call(target, 'StartDiscovery', '', [], signal);
  try {
    for (;;) {
      for (const [path, properties] of known) {
        const found = fitting(path, properties, match);
        if (found !== undefined) return found;
      }
      await wakeup.wait(Number.POSITIVE_INFINITY, signal);
    }
  } finally {
    // The adapter may be gone; then so is the discovery.
    await bus.call(target, 'StopDiscovery').catch(() => {});
  }
}

/** A device that BlueZ remembers has no signal strength: only one that advertises now, or is connected, is there. */
function fitting(path: string, properties: Dictionary, { address, namePrefix = '' }: DeviceMatch) {
  const present = as.number(properties.RSSI) !== undefined || as.flag(properties.Connected) === true;
  const itsAddress = as.text(properties.Address) ?? '';
  const name = (as.text(properties.Name) ?? as.text(properties.Alias) ?? '').slice(0, MAX_NAME_CHARS);
  if (!present || itsAddress === '') return undefined;
  if (address !== undefined ? itsAddress.toLowerCase() !== address.toLowerCase() : !name.startsWith(namePrefix)) {
    return undefined;
  }
  return { path, address: itsAddress, name };
}
