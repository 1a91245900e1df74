import { createHash } from 'node:crypto';
import { readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode, errorMessage, type Log, makeFolder, readRegular, silentLog } from '@towpath/core';
import { z } from 'zod';
import { type DeviceRecord, type DeviceStore, deviceRecordSchema, merged } from './device-store.ts';
import { diskError, replaceFile } from './disk.ts';

const VERSION = 1;

const fileSchema = z.object({ version: z.int(), device: z.string().optional(), record: deviceRecordSchema });

type Found =
  | { readonly state: 'usable'; readonly record: DeviceRecord }
  | { readonly state: 'absent' | 'damaged' | 'newer' };

/**
 * One small JSON file per device, readable by its owner only. Several processes may use one folder: files are replaced
 * atomically, fields are merged with those on disk at the time of writing, and the last writer of a field wins. A process has
 * one store of a folder: it makes the changes of a device in turn.
 */
export class FileDeviceStore implements DeviceStore {
  /** Changes that are under way, by path. */
  readonly #writing = new Map<string, Promise<void>>();
  readonly #folder: string;
  readonly #log: Log;

  /** @param options `folder` is created when first needed */
  constructor({ log = silentLog }: { log?: Log | undefined }, options: { folder: string }) {
    this.#folder = options.folder;
    this.#log = log;
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
        this.#log.warn('Not written: the file has a newer version', { path });
        return;
      }
      await makeFolder(this.#folder, 0o700);
      if (found.state === 'damaged') await rename(path, `${path}.damaged`);
      const record = merged(found.state === 'usable' ? found.record : {}, changes);
      await replaceFile(path, `${JSON.stringify({ version: VERSION, device, record }, null, 2)}\n`, { mode: 0o600 });
    });
  }

  /** Returns the devices of the folder, sorted; files that cannot be read are left out. @throws TowpathError as `update`. */
  async list(): Promise<string[]> {
    const names = await readdir(this.#folder).catch((error: unknown) => {
      if (errorCode(error) === 'ENOENT') return [];
      throw diskError(error, this.#folder);
    });
    const found = await Promise.all(
      names.filter((name) => name.endsWith('.json')).map((name) => deviceOf(join(this.#folder, name))),
    );
    return found.filter((device) => device !== undefined).sort();
  }

  remove(device: string): Promise<void> {
    return this.#inTurn(device, () => rm(this.#path(device), { force: true }));
  }

  /** Changes of a device run one after the other. */
  async #inTurn(device: string, change: () => Promise<void>): Promise<void> {
    const writing = this.#writing;
    const path = this.#path(device);
    const before = writing.get(path) ?? Promise.resolve();
    const turn = before.then(change).catch((error: unknown) => {
      throw diskError(error, path);
    });
    const settled = turn.then(noop, noop);
    writing.set(path, settled);
    try {
      await turn;
    } finally {
      if (writing.get(path) === settled) writing.delete(path);
    }
  }

  async #read(device: string): Promise<Found> {
    const path = this.#path(device);
    try {
      const json: unknown = JSON.parse((await readRegular(path)).toString());
      const parsed = fileSchema.safeParse(json);
      if (parsed.success && parsed.data.version === VERSION) return { state: 'usable', record: parsed.data.record };
      if (parsed.success && parsed.data.version > VERSION) return { state: 'newer' };
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return { state: 'absent' };
      this.#log.warn(`Cannot read the stored data: ${errorMessage(error)}`, { path });
      return { state: error instanceof SyntaxError ? 'damaged' : 'absent' };
    }
    this.#log.warn('The stored data is damaged', { path });
    return { state: 'damaged' };
  }

  /** Returns a readable name with a digest that makes it unique. */
  #path(device: string): string {
    const readable = device.replace(/[^A-Za-z0-9.-]/g, '_').slice(0, 60);
    const digest = createHash('sha256').update(device).digest('hex').slice(0, 12);
    return join(this.#folder, `${readable}.${digest}.json`);
  }
}

async function deviceOf(path: string): Promise<string | undefined> {
  try {
    const parsed = fileSchema.safeParse(JSON.parse((await readRegular(path)).toString()));
    return parsed.success ? parsed.data.device : undefined;
  } catch {
    // Damaged, or removed meanwhile: `load` logs it.
    return undefined;
  }
}

function noop(): void {}
