import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { errorCode, errorMessage, readFailure, readRegularSync, writeFailure } from '@towpath/core';
import { MeshError } from '../mesh-error.ts';
import { type Artifact, sameArtifact } from './artifact.ts';
import { isAlive, ownIdentity, type ProcessIdentity } from './process-identity.ts';
import { isOfThisBoot, readStateFile, removeStateFile, writeStateFile } from './state-file.ts';
import { undoArtifact, type UndoComponents } from './undo.ts';

/**
 * Everything that one process has made on this machine, on the disk before it is made. When the process is killed at
 * any moment, the next one that opens the same ledger, or {@link recoverLeftovers}, removes all of it.
 */
export class Ledger implements AsyncDisposable {
  readonly #components: UndoComponents;
  readonly #path: string;
  readonly #owner: ProcessIdentity;
  #artifacts: Artifact[] = [];
  #closed = false;

  private constructor(components: UndoComponents, path: string, owner: ProcessIdentity) {
    this.#components = components;
    this.#path = path;
    this.#owner = owner;
  }

  /**
   * Opens the ledger of a name, after removing what a killed process left in it.
   * @param options.folder state folder; made with mode 0700 when it is missing.
   * @param options.name of the ledger: the interface's name.
   * @throws MeshError `already-running` when a living process has it open, `disk-failed`.
   */
  static async open(components: UndoComponents, options: { folder: string; name: string }): Promise<Ledger> {
    const path = join(options.folder, `${options.name}.json`);
    const owner = ownIdentity();
    takeLock(lockPath(path), owner);
    try {
      await undoRecord(components, path);
      const ledger = new Ledger(components, path, owner);
      ledger.#write();
      return ledger;
    } catch (error) {
      removeStateFile(lockPath(path));
      throw error;
    }
  }

  /** What is recorded now. */
  get artifacts(): readonly Artifact[] {
    return this.#artifacts;
  }

  /** Records what is about to be made; returns when it is on the disk. @throws MeshError `disk-failed`. */
  record(artifact: Artifact): void {
    if (this.#artifacts.some((each) => sameArtifact(each, artifact))) return;
    this.#artifacts.push(artifact);
    this.#write();
  }

  /** Removes one artifact and its record. @throws MeshError when it cannot be removed; the record then stays. */
  async undo(artifact: Artifact): Promise<void> {
    await undoArtifact(this.#components, artifact, true);
    this.#artifacts = this.#artifacts.filter((each) => !sameArtifact(each, artifact));
    if (!this.#closed) this.#write();
  }

  /**
   * Removes everything that is recorded, last made first, and the ledger itself. What cannot be removed stays
   * recorded. @throws the first failure, after all were tried.
   */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const failures: unknown[] = [];
    for (const artifact of [...this.#artifacts].reverse()) {
      await this.undo(artifact).catch((error: unknown) => failures.push(error));
    }
    if (this.#artifacts.length === 0) removeStateFile(this.#path);
    else this.#write();
    removeStateFile(lockPath(this.#path));
    if (failures.length > 0) throw failures[0];
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #write(): void {
    writeStateFile(this.#path, { owner: this.#owner, artifacts: this.#artifacts });
  }
}

/** One ledger of a state folder. */
export interface LedgerSummary {
  readonly name: string;
  readonly owner: ProcessIdentity;
  readonly alive: boolean;
  readonly artifacts: readonly Artifact[];
}

/** The ledgers of a state folder, those of killed processes included. Damaged ones are left out. */
export function listLedgers(folder: string): LedgerSummary[] {
  return ledgerFiles(folder).flatMap((path) => {
    const record = readQuietly(path);
    if (record === undefined) return [];
    const { owner, artifacts } = record;
    return [{ name: basename(path, '.json'), owner, alive: isAlive(owner), artifacts }];
  });
}

/**
 * Removes everything that killed processes left behind.
 * @returns the names of the ledgers that were cleared, and why others could not be.
 */
export async function recoverLeftovers(
  components: UndoComponents,
  folder: string,
): Promise<{ cleared: string[]; failed: { name: string; message: string }[] }> {
  const cleared: string[] = [];
  const failed: { name: string; message: string }[] = [];
  for (const path of ledgerFiles(folder)) {
    const name = basename(path, '.json');
    // A process has the lock before the ledger is its own.
    const owners = [readQuietly(path)?.owner, lockOwner(lockPath(path))];
    if (owners.some((owner) => owner !== undefined && isAlive(owner))) continue;
    try {
      takeLock(lockPath(path), ownIdentity());
      try {
        await undoRecord(components, path);
        removeAbandoned(lockPath(path));
        cleared.push(name);
      } finally {
        removeStateFile(lockPath(path));
      }
    } catch (error) {
      failed.push({ name, message: errorMessage(error) });
    }
  }
  return { cleared, failed };
}

function readQuietly(path: string): ReturnType<typeof readStateFile> {
  try {
    return readStateFile(path);
  } catch {
    // Damaged: recoverLeftovers and Ledger.open report it.
    return undefined;
  }
}

/** A ledger, or what is there before it: its lock, also one that was set aside, and its first version. */
const LEDGER_FILE = /^(tp-[0-9a-f]+\.json)(?:\.new|\.lock(?:\.\d+)?)?$/;

/** The ledgers of a folder, with those that a process was killed before it had written. */
function ledgerFiles(folder: string): string[] {
  try {
    return readdirSync(folder)
      .flatMap((name) => LEDGER_FILE.exec(name)?.[1] ?? [])
      .filter((name, at, names) => names.indexOf(name) === at)
      .map((name) => join(folder, name));
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return [];
    throw new MeshError('disk-failed', readFailure(folder, error).message, { target: folder, cause: error });
  }
}

async function undoRecord(components: UndoComponents, path: string): Promise<void> {
  const record = readStateFile(path);
  if (record === undefined) {
    removeStateFile(path);
    return;
  }
  const thisBoot = isOfThisBoot(record);
  for (const artifact of [...record.artifacts].reverse()) await undoArtifact(components, artifact, thisBoot);
  removeStateFile(path);
}

function lockPath(path: string): string {
  return `${path}.lock`;
}

/** Takes a lock file for `owner`, also from a process that is gone. @throws MeshError `already-running`, `disk-failed`. */
function takeLock(path: string, owner: ProcessIdentity): void {
  for (let tries = 0; ; tries++) {
    try {
      mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
      writeFileSync(path, JSON.stringify(owner), { mode: 0o600, flag: 'wx' });
      return;
    } catch (cause) {
      if (errorCode(cause) !== 'EEXIST') {
        const { code, message } = writeFailure(path, cause);
        // The file was made and could not be filled.
        if (code === 'disk-full') rmSync(path, { force: true });
        throw new MeshError('disk-failed', message, { target: path, cause });
      }
      const seen = readLock(path);
      const holder = seen === undefined ? undefined : decodeOwner(seen);
      if (holder !== undefined && isAlive(holder)) throw alreadyRunning(path, holder.pid);
      if (tries >= MAX_LOCK_TRIES) throw alreadyRunning(path, undefined);
      setAside(path, seen);
    }
  }
}

const MAX_LOCK_TRIES = 5;

/** Removes a lock whose owner is gone, unless another process has replaced it since it was read. */
function setAside(path: string, seen: string | undefined): void {
  const aside = `${path}.${process.pid}`;
  try {
    renameSync(path, aside);
    if (readLock(aside) === seen) rmSync(aside, { force: true });
    else renameSync(aside, path);
  } catch (error) {
    // Another process has removed it first.
    if (errorCode(error) !== 'ENOENT') throw error;
  }
}

/** Removes locks that a process had set aside when it was killed. */
function removeAbandoned(path: string): void {
  for (const name of readdirSync(dirname(path))) {
    const pid = name.startsWith(`${basename(path)}.`) ? name.slice(basename(path).length + 1) : '';
    if (/^\d+$/.test(pid) && !existsSync(`/proc/${pid}`)) rmSync(join(dirname(path), name), { force: true });
  }
}

/** The process that a lock names. */
function lockOwner(path: string): ProcessIdentity | undefined {
  const text = readLock(path);
  return text === undefined ? undefined : decodeOwner(text);
}

function readLock(path: string): string | undefined {
  try {
    return readRegularSync(path).toString();
  } catch {
    // Given back a moment ago.
    return undefined;
  }
}

function decodeOwner(text: string): ProcessIdentity | undefined {
  try {
    const { pid, startTicks, bootId }: Record<string, unknown> = JSON.parse(text);
    if (typeof pid !== 'number' || typeof startTicks !== 'string' || typeof bootId !== 'string') return undefined;
    return { pid, startTicks, bootId };
  } catch {
    // Cut off by a crash while it was written: nobody holds it.
    return undefined;
  }
}

function alreadyRunning(path: string, pid: number | undefined): MeshError {
  return new MeshError(
    'already-running',
    `Another process (${pid ?? 'unknown'}) already runs this party. Next: end it with "towpath down", then try again.`,
    { target: path },
  );
}
