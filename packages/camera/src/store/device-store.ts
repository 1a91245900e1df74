import { z } from 'zod';

/** Stored data of one device. Every field is a hint: it may be absent, old or wrong. */
export interface DeviceRecord {
  /** Local port of the last session: some cameras serve only the first (address, port) that sends to them. 1…65535 */
  readonly localPort?: number | undefined;
  /** Path kind of the last session: `lan`, `p2p`, `relay`. */
  readonly kind?: string | undefined;
  /** Last endpoint of the device. */
  readonly endpoint?: { readonly address: string; readonly port: number } | undefined;
  /** Path history; any JSON value. */
  readonly pathHistory?: unknown;
  /** Race statistics; any JSON value. */
  readonly statistics?: unknown;
}

/** Stores data of each device, across processes. `device` is any text that identifies one. */
export interface DeviceStore {
  /** Returns the stored data; empty for an unknown device or damaged data. */
  load(device: string): Promise<DeviceRecord>;
  /**
   * Changes some fields and keeps the others; a field that is `undefined` is removed.
   * @throws CameraError `disk-full`, `permission-denied`, `disk-failed`
   */
  update(device: string, changes: DeviceRecord): Promise<void>;
  /** Removes a device. @throws CameraError as {@link update} */
  remove(device: string): Promise<void>;
}

const port = z.int().min(1).max(65_535);

/** Reads a record from outside; invalid fields are omitted. */
export const deviceRecordSchema: z.ZodType<DeviceRecord> = z.object({
  localPort: port.optional().catch(undefined),
  kind: z.string().max(20).optional().catch(undefined),
  endpoint: z
    .object({ address: z.string().max(100), port })
    .optional()
    .catch(undefined),
  pathHistory: z.unknown().optional(),
  statistics: z.unknown().optional(),
});

/** Stores data in memory. */
export class MemoryDeviceStore implements DeviceStore {
  readonly #records = new Map<string, DeviceRecord>();

  async load(device: string): Promise<DeviceRecord> {
    return structuredClone(this.#records.get(device) ?? {});
  }

  async update(device: string, changes: DeviceRecord): Promise<void> {
    this.#records.set(device, structuredClone(merged(this.#records.get(device) ?? {}, changes)));
  }

  async remove(device: string): Promise<void> {
    this.#records.delete(device);
  }
}

/** Returns `old` with the changes applied, without the fields that they remove. */
export function merged(old: DeviceRecord, changes: DeviceRecord): DeviceRecord {
  return Object.fromEntries(Object.entries({ ...old, ...changes }).filter(([, value]) => value !== undefined));
}
