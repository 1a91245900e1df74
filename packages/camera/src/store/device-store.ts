import { z } from 'zod';

/** What is remembered of one device. Everything in it is a hint: it may be absent, old or wrong. */
export interface DeviceRecord {
  /** Local port of the last session: some cameras only serve the (address, port) they first saw. 1…65535 */
  readonly localPort?: number;
  /** Over which way the last session ran: `lan`, `p2p`, `relay`. */
  readonly mode?: string;
  /** Where the device was reached last. */
  readonly endpoint?: { readonly address: string; readonly port: number };
  /** How each way fared, as whoever races them writes it; any JSON value. */
  readonly pathHistory?: unknown;
  /** What was counted of the races, as whoever races writes it; any JSON value. */
  readonly statistics?: unknown;
}

/** Remembers something about each device, across processes. `device` is any text that names one. */
export interface DeviceStore {
  /** What is remembered; empty for a device that was never seen. Damage counts as never seen. */
  load(device: string): Promise<DeviceRecord>;
  /**
   * Changes some fields and keeps the others; a field that is `undefined` is forgotten.
   * @throws CameraError `disk-full`, `permission-denied`, `disk-failed`
   */
  update(device: string, changes: DeviceRecord): Promise<void>;
  /** Forgets a device. @throws CameraError as {@link update} */
  remove(device: string): Promise<void>;
}

const port = z.int().min(1).max(65_535);

/** Reads a record from outside: what is not as it should be is left out. */
export const deviceRecordSchema: z.ZodType<DeviceRecord> = z.object({
  localPort: port.optional().catch(undefined),
  mode: z.string().max(20).optional().catch(undefined),
  endpoint: z
    .object({ address: z.string().max(100), port })
    .optional()
    .catch(undefined),
  pathHistory: z.unknown().optional(),
  statistics: z.unknown().optional(),
});

/** Remembers for as long as the process lives. */
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

/** `old` with the changes applied, without the fields that they forget. */
export function merged(old: DeviceRecord, changes: DeviceRecord): DeviceRecord {
  return Object.fromEntries(Object.entries({ ...old, ...changes }).filter(([, value]) => value !== undefined));
}
