import { chmodSync, type Dirent, lstatSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { errorCode, readFailure, TowpathError } from '@towpath/core';
import { z } from 'zod';
import { notWritten, readPrivateFile, writePrivateFile } from '../../config/private-file.ts';
import { makeFolder } from '../../config/make-folder.ts';
import { removeAbandoned } from '../../config/process-lock.ts';

/** What the daemon knows beyond its configuration and its keys; all of it can be lost without losing anything else. */
export interface DaemonState {
  /** What each camera said last, by its name. */
  readonly cameras: Readonly<Record<string, CameraMemo>>;
  /** When each camera that is woken was visited last, ISO 8601, by its name: a restart does not wake it again. */
  readonly visits?: Readonly<Record<string, string>> | undefined;
  /** Entry that has each device, by the id of the device in paths: a restart gives it to no other one. */
  readonly devices?: Readonly<Record<string, string>> | undefined;
}

/** What a camera said last. */
export interface CameraMemo {
  /** `devId` of the camera under this name. */
  deviceId: string;
  model: string | null;
  firmware: string | null;
  battery: { percent: number; charging: boolean } | null;
  card: { totalMb: number; freeMb: number; error: boolean } | null;
  /** °C. */
  temperature: number | null;
  /** ISO 8601. */
  at: string;
}
const memoSchema: z.ZodType<CameraMemo> = z.object({
  deviceId: z.string().max(64),
  model: z.string().max(200).nullable(),
  firmware: z.string().max(200).nullable(),
  battery: z.object({ percent: z.number(), charging: z.boolean() }).nullable(),
  card: z.object({ totalMb: z.number(), freeMb: z.number(), error: z.boolean() }).nullable(),
  temperature: z.number().nullable(),
  at: z.string(),
});

interface StateFile extends DaemonState {
  version: number;
}
const stateSchema: z.ZodType<StateFile, unknown> = z.object({
  version: z.int(),
  cameras: z.record(z.string(), memoSchema).default({}),
  visits: z.record(z.string(), z.string().max(40)).optional(),
  devices: z.record(z.string(), z.string()).optional(),
});

/** One step from a version to the next; `state` is what the file held. */
export type Migration = (folder: string, state: Record<string, unknown>) => Record<string, unknown>;

/** Ordered: the first one makes version 1 out of a folder from before the daemon. */
export const MIGRATIONS: readonly Migration[] = [
  (folder, state) => {
    // Until version 0.1.0 a socket of another protocol, and files whose mode was left to the umask.
    rmSync(join(folder, 'up.sock'), { force: true });
    restrict(folder);
    return state;
  },
];

const STATE_FILE = 'state.json';
const FOLDER_MODE = 0o700;
const FILE_MODE = 0o600;

/** The folder of keys, configuration and state; only its owner can read it. */
export class StateFolder {
  readonly path: string;
  /** What was repaired when it was opened, for the person. */
  readonly notices: readonly string[];
  #state: DaemonState;
  /** A write has failed: the file is older than the state. */
  #isUnsaved = false;
  readonly #version: number;

  private constructor(path: string, state: DaemonState, version: number, notices: readonly string[]) {
    this.path = path;
    this.#state = state;
    this.#version = version;
    this.notices = notices;
  }

  /**
   * Creates the folder, or checks, repairs and migrates it. A damaged state file is moved away and a new one begun.
   * @throws TowpathError `unsafe-folder` for a symbolic link, a file, or a folder of another user; `newer-state` for the
   *   state of a newer version; `disk-failed`, `file-unreadable`.
   */
  static open(path: string, options: { nowMs: number; migrations?: readonly Migration[] }): StateFolder {
    const { migrations = MIGRATIONS } = options;
    const notices: string[] = [];
    checkFolder(path);
    removeAbandoned(path);
    const file = join(path, STATE_FILE);
    const text = readPrivateFile(file);
    let raw = text === undefined ? {} : parse(text);
    if (raw === undefined) {
      raw = {};
      notices.push(setAside(file, options.nowMs));
    }
    const version = typeof raw.version === 'number' ? raw.version : 0;
    if (version > migrations.length) {
      throw new TowpathError(
        'newer-state',
        `${path} was written by a newer version of Towpath (state ${version}, this one knows ${migrations.length}). Next: install the newer version again.`,
        { target: path, kind: 'local' },
      );
    }
    for (const migrate of migrations.slice(version)) raw = migrate(path, raw);
    const parsed = stateSchema.safeParse({ ...raw, version: migrations.length });
    if (!parsed.success && text !== undefined) notices.push(setAside(file, options.nowMs));
    const { version: _version, ...state } = parsed.success ? parsed.data : { cameras: {}, version };
    const folder = new StateFolder(path, state, migrations.length, notices);
    if (version < migrations.length || !parsed.success || notices.length > 0) folder.#write();
    return folder;
  }

  get state(): DaemonState {
    return this.#state;
  }

  /**
   * Replaces the state, atomically and only when it differs from what is on the disk.
   * @throws TowpathError `disk-failed`; the file stays as it is, and the next call writes again.
   */
  update(state: DaemonState): void {
    if (!this.#isUnsaved && JSON.stringify(state) === JSON.stringify(this.#state)) return;
    this.#state = state;
    this.#write();
  }

  #write(): void {
    this.#isUnsaved = true;
    writePrivateFile(
      join(this.path, STATE_FILE),
      `${JSON.stringify({ version: this.#version, ...this.#state }, undefined, 1)}\n`,
    );
    this.#isUnsaved = false;
  }
}

/** @throws TowpathError `unsafe-folder`, `disk-failed`. */
export function checkFolder(path: string): void {
  try {
    makeFolder(path, FOLDER_MODE);
  } catch (cause) {
    const code = errorCode(cause);
    if (code !== 'EEXIST') {
      throw notWritten(path, cause);
    }
  }
  const found = lstatSync(path);
  if (found.isSymbolicLink()) {
    throw unsafe(path, 'is a symbolic link: whoever can change it decides where the keys go', 'give the folder itself');
  }
  if (!found.isDirectory()) throw unsafe(path, 'is no folder', 'move it away');
  const self = process.getuid?.();
  if (self !== undefined && found.uid !== self && self !== 0) {
    throw unsafe(path, 'belongs to another user', `use another folder, or: chown ${self} ${path}`);
  }
  if ((found.mode & 0o077) !== 0) chmodSync(path, FOLDER_MODE);
}

/** @throws TowpathError `unsafe-folder` for a file of another user; `file-unreadable`. */
function restrict(folder: string, top = folder): void {
  let entries: Dirent[];
  try {
    entries = readdirSync(folder, { withFileTypes: true });
  } catch (cause) {
    throw readFailure(folder, cause);
  }
  for (const entry of entries) {
    const path = join(folder, entry.name);
    // Pictures are for others too, and links are not followed.
    if (path.startsWith(join(top, 'pictures'))) continue;
    if (entry.isFile()) restrictOne(path, FILE_MODE, top);
    if (!entry.isDirectory()) continue;
    restrictOne(path, FOLDER_MODE, top);
    restrict(path, top);
  }
}

function restrictOne(path: string, mode: number, top: string): void {
  try {
    chmodSync(path, mode);
  } catch (cause) {
    if (errorCode(cause) !== 'EPERM') throw notWritten(path, cause);
    throw unsafe(path, 'belongs to another user', `sudo chown -R ${process.getuid?.()} ${top}`);
  }
}

function unsafe(path: string, what: string, next: string): TowpathError {
  return new TowpathError('unsafe-folder', `${path} ${what}. Next: ${next}.`, { target: path, kind: 'local' });
}

function parse(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : undefined;
  } catch {
    // A damaged file is an expected case.
    return undefined;
  }
}

function setAside(file: string, nowMs: number): string {
  const aside = `${file}.damaged-${new Date(nowMs).toISOString().replaceAll(':', '')}`;
  renameSync(file, aside);
  return `${file} was damaged and is now ${aside}; cameras show what they said again when they are connected. Keys, parties and pictures are not in it.`;
}
