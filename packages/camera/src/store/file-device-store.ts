import { createHash } from 'node:crypto';
import { mkdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode, errorMessage, type Log, silentLog } from '@towpath/core';
import { z } from 'zod';
import { type DeviceRecord, type DeviceStore, deviceRecordSchema, merged } from './device-store.ts';
import { diskError, replaceFile } from './disk.ts';

const VERSION = 1;

const fileSchema = z.object({ version: z.int(), record: deviceRecordSchema });

type Found =
  | { readonly state: 'usable'; readonly record: DeviceRecord }
  | { readonly state: 'absent' | 'damaged' | 'newer' };

/**
 * One small JSON file per device, readable by its owner only. Several processes may use one folder: files are replaced
 * whole, fields are merged with what is there at the moment of writing, and the last writer of a field wins, which is all
 * that hints need.
 */
export class FileDeviceStore implements DeviceStore {
  readonly #folder: string;
  readonly #log: Log;
  readonly #writing = new Map<string, Promise<void>>();

  /** @param options `folder` is made when it is first needed */
  constructor(options: { folder: string; log?: Log }) {
    this.#folder = options.folder;
    this.#log = options.log ?? silentLog;
  }

  async load(device: string): Promise<DeviceRecord> {
    const found = await this.#read(device);
    return found.state === 'usable' ? found.record : {};
  }

  update(device: string, changes: DeviceRecord): Promise<void> {
    return this.#inTurn(device, async () => {
      const found = await this.#read(device);
      const path = this.#path(device);
      if (found.state === 'newer') {
        this.#log.warn('Not written: the file is of a later version', { path });
        return;
      }
      await mkdir(this.#folder, { recursive: true, mode: 0o700 });
      if (found.state === 'damaged') await rename(path, `${path}.damaged`);
      const record = merged(found.state === 'usable' ? found.record : {}, changes);
      await replaceFile(path, `${JSON.stringify({ version: VERSION, device, record }, null, 2)}\n`, { mode: 0o600 });
    });
  }

  remove(device: string): Promise<void> {
    return this.#inTurn(device, () => rm(this.#path(device), { force: true }));
  }

  /** One change of a device at a time, in order. */
  async #inTurn(device: string, change: () => Promise<void>): Promise<void> {
    const before = this.#writing.get(device) ?? Promise.resolve();
    const turn = before.then(change).catch((error: unknown) => {
      throw diskError(error, this.#path(device));
    });
    const settled = turn.then(noop, noop);
    this.#writing.set(device, settled);
    try {
      await turn;
    } finally {
      if (this.#writing.get(device) === settled) this.#writing.delete(device);
    }
  }

  async #read(device: string): Promise<Found> {
    const path = this.#path(device);
    try {
      const json: unknown = JSON.parse(await readFile(path, 'utf8'));
      const parsed = fileSchema.safeParse(json);
      if (parsed.success && parsed.data.version === VERSION) return { state: 'usable', record: parsed.data.record };
      if (parsed.success && parsed.data.version > VERSION) return { state: 'newer' };
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return { state: 'absent' };
      this.#log.warn(`What was remembered cannot be read: ${errorMessage(error)}`, { path });
      return { state: error instanceof SyntaxError ? 'damaged' : 'absent' };
    }
    this.#log.warn('What was remembered is damaged', { path });
    return { state: 'damaged' };
  }

  /** A name that a person recognises, and a digest that keeps apart what the name cannot. */
  #path(device: string): string {
    const readable = device.replace(/[^A-Za-z0-9.-]/g, '_').slice(0, 60);
    const digest = createHash('sha256').update(device).digest('hex').slice(0, 12);
    return join(this.#folder, `${readable}.${digest}.json`);
  }
}

function noop(): void {}
