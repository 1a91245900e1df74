import { topicId } from '@towpath/camera/outputs';

interface Device {
  /** Entry whose outputs may be open. */
  holder: string;
  /** Called once the device is free, by entry. */
  readonly waiting: Map<string, () => void>;
}

/** Entry of each device, by the id of the device in paths. */
export type DeviceHolders = Readonly<Record<string, string>>;

export interface HeldDevicesOptions {
  /** Who had which device when the last daemon ended. */
  readonly holders?: DeviceHolders | undefined;
  /** Called when another entry has a device, or none. */
  onChanged?(holders: DeviceHolders): void;
}

/**
 * Which entry of the configuration holds which device. What waits for receivers is stored by device id, so two entries of one
 * device would remove each other's. The entry that had a device keeps it over a restart, whichever is connected first then.
 */
export class HeldDevices {
  readonly #devices: Map<string, Device>;
  readonly #onChanged: (holders: DeviceHolders) => void;

  constructor({ holders = {}, onChanged = () => {} }: HeldDevicesOptions = {}) {
    this.#devices = new Map(Object.entries(holders).map(([key, holder]) => [key, { holder, waiting: new Map() }]));
    this.#onChanged = onChanged;
  }

  /**
   * Claims a device for an entry, which gives up any other device that it has.
   * @param onFree called when the device is free, after a claim that was refused; the entry has it then
   * @returns the entry that has the device, or undefined when it is this one
   */
  claim(deviceId: string, entry: string, onFree: () => void): string | undefined {
    const key = topicId(deviceId);
    this.#giveUp(entry, key);
    const device = this.#devices.get(key);
    if (device === undefined) {
      this.#devices.set(key, { holder: entry, waiting: new Map() });
      this.#tell();
    }
    if (device === undefined || device.holder === entry) return undefined;
    device.waiting.set(entry, onFree);
    return device.holder;
  }

  /** Whether `entry` has the device. */
  has(deviceId: string, entry: string): boolean {
    return this.#devices.get(topicId(deviceId))?.holder === entry;
  }

  /** Gives up whatever other entries have or wait for; the entry that has waited longest has it then. */
  keepOnly(entries: { has(entry: string): boolean }): void {
    const others = [...this.#devices.values()].flatMap(({ holder, waiting }) => [...waiting.keys(), holder]);
    for (const entry of others) if (!entries.has(entry)) this.#giveUp(entry, undefined);
  }

  #tell(): void {
    this.#onChanged(Object.fromEntries([...this.#devices].map(([key, { holder }]) => [key, holder])));
  }

  #giveUp(entry: string, kept: string | undefined): void {
    for (const [key, device] of [...this.#devices]) {
      if (key === kept) continue;
      device.waiting.delete(entry);
      if (device.holder !== entry) continue;
      const [next] = device.waiting;
      if (next === undefined) {
        this.#devices.delete(key);
        this.#tell();
        continue;
      }
      const [holder, onFree] = next;
      device.holder = holder;
      device.waiting.delete(holder);
      this.#tell();
      onFree();
    }
  }
}
