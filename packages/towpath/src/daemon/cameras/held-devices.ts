import { topicId } from '@towpath/camera/outputs';

interface Device {
  /** Entry whose outputs may be open. */
  holder: string;
  /** Called once the device is free, by entry. */
  readonly waiting: Map<string, () => void>;
}

/**
 * Which entry of the configuration holds which device. What waits for receivers is stored by device id, so two entries of one
 * device would remove each other's.
 */
export class HeldDevices {
  readonly #devices = new Map<string, Device>();

  /**
   * Claims a device for an entry, which gives up any other device that it has.
   * @param onFree called when the device is free, after a claim that was refused; the entry has it then
   * @returns the entry that has the device, or undefined when it is this one
   */
  claim(deviceId: string, entry: string, onFree: () => void): string | undefined {
    const key = topicId(deviceId);
    this.#giveUp(entry, key);
    const device = this.#devices.get(key);
    if (device === undefined) this.#devices.set(key, { holder: entry, waiting: new Map() });
    if (device === undefined || device.holder === entry) return undefined;
    device.waiting.set(entry, onFree);
    return device.holder;
  }

  /** Whether `entry` has the device. */
  has(deviceId: string, entry: string): boolean {
    return this.#devices.get(topicId(deviceId))?.holder === entry;
  }

  /** Gives up whatever an entry has or waits for; the entry that has waited longest has it then. */
  release(entry: string): void {
    this.#giveUp(entry, undefined);
  }

  #giveUp(entry: string, kept: string | undefined): void {
    for (const [key, device] of [...this.#devices]) {
      if (key === kept) continue;
      device.waiting.delete(entry);
      if (device.holder !== entry) continue;
      const [next] = device.waiting;
      if (next === undefined) {
        this.#devices.delete(key);
        continue;
      }
      const [holder, onFree] = next;
      device.holder = holder;
      device.waiting.delete(holder);
      onFree();
    }
  }
}
