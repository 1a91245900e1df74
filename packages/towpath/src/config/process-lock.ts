import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  linkSync,
  lstatSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { errorCode, readFailure, readRegularSync, TowpathError } from '@towpath/core';
import { makeFolder } from './make-folder.ts';
import { type LockOpenFile, lockOpenFile } from './os-lock.ts';
import { notWritten } from './private-file.ts';

/** Another process can take over an abandoned lock at the same time; the second try then meets its new owner. */
const MAX_TRIES = 3;

/** What the other process does, and what to do about it, for the message. */
export interface LockedFor {
  /** `keeps this node connected`. */
  readonly what: string;
  /** How to look at it and how to end it; without it, "end it first". */
  readonly next?: string;
}

/** The lock of everything that is connected as this node. */
export const CONNECTED: LockedFor = {
  what: 'keeps this node connected',
  next: 'towpath status shows it, and towpath down ends towpath up; end anything else with Ctrl-C',
};

/** Path of that lock, in the folder of the configuration. */
export function connectedLockIn(folder: string): string {
  return join(folder, 'connected.lock');
}

export interface ProcessLockOptions {
  /** Creates the folder. @default with mode 0700 */
  makeFolder?(folder: string): void;
  /** Permission bits of the lock. @default 0600 */
  mode?: number;
  /** Takes the lock on a full disk too. @default false */
  onFullDisk?: boolean;
  /** Makes a hard link. @default that of the system */
  link?(from: string, to: string): void;
  /** Locks an open file; undefined for none. @default that of the system */
  lockOpenFile?: LockOpenFile | undefined;
}

/**
 * Takes a lock that at most one running process holds; it ends with the returned object, or with the process. The lock
 * of a process that has ended is taken over.
 *
 * Where the system can lock files ({@link lockOpenFile}), it decides, and what is written in the file only names the
 * owner: a file that somebody made keeps nobody out. Elsewhere the number and start time in the file decide, which
 * says nothing about processes of other machines and containers.
 * @throws TowpathError `already-running`, `disk-full`, `disk-failed`.
 */
export function takeProcessLock(path: string, purpose: LockedFor, options: ProcessLockOptions = {}): Disposable {
  try {
    (options.makeFolder ?? makeFolder)(dirname(path));
    return takeOpenLock(path, purpose, options) ?? takeWrittenLock(path, purpose, options);
  } catch (cause) {
    if (cause instanceof TowpathError) throw cause;
    throw notWritten(path, cause);
  }
}

/** No link is followed, and a FIFO that somebody put there is not waited for. */
const OPEN_FLAGS: number = constants.O_NOFOLLOW | constants.O_NONBLOCK;

/** @returns undefined when the file system, or the system, has no locks. @throws TowpathError; the system's error */
function takeOpenLock(path: string, purpose: LockedFor, options: ProcessLockOptions): Disposable | undefined {
  const { mode = 0o600, onFullDisk = false } = options;
  const lock = 'lockOpenFile' in options ? options.lockOpenFile : lockOpenFile;
  if (lock === undefined) return undefined;
  for (let tries = 1; ; tries++) {
    const opened = openLock(path, mode);
    if (opened === 'hidden') throw taken(path, purpose, undefined);
    if (opened === 'no-file') {
      if (tries === MAX_TRIES) throw taken(path, purpose, undefined);
      removeNoFile(path);
      continue;
    }
    const { fd, writable } = opened;
    let keep = false;
    try {
      const state = lock(fd);
      if (state === 'unsupported') return undefined;
      if (state === 'busy') throw taken(path, purpose, ownerOf(path)?.pid);
      if (writable && isStill(path, fd)) {
        nameOwner(path, fd, onFullDisk);
        keep = true;
        return { [Symbol.dispose]: () => release(path, fd) };
      }
      // Its owner removed it meanwhile; or nobody holds it, and it is another user's.
      if (tries === MAX_TRIES) throw taken(path, purpose, undefined);
      if (!writable) rmSync(path, { force: true });
    } finally {
      if (!keep) closeSync(fd);
    }
  }
}

type Opened = { readonly fd: number; readonly writable: boolean } | 'hidden' | 'no-file';

/** @throws the system's error */
function openLock(path: string, mode: number): Opened {
  for (const writable of [true, false]) {
    try {
      const flags = writable ? constants.O_RDWR | constants.O_CREAT : constants.O_RDONLY;
      const fd = openSync(path, flags | OPEN_FLAGS, mode);
      if (fstatSync(fd).isFile()) return { fd, writable };
      closeSync(fd);
      return 'no-file';
    } catch (error) {
      const code = errorCode(error);
      if (['ELOOP', 'ENXIO', 'EISDIR'].includes(code)) return 'no-file';
      // Another one removed it: it is created at the next try.
      if (code === 'ENOENT' && !writable) return 'no-file';
      if (code !== 'EACCES' || isMissing(path)) throw error;
    }
  }
  return 'hidden';
}

/** Removes a link, a FIFO or an empty folder in the way of a lock; a file that another one has put there meanwhile stays. */
function removeNoFile(path: string): void {
  const aside = `${path}.${process.pid}.stale`;
  try {
    if (lstatSync(path).isFile()) return;
    renameSync(path, aside);
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw error;
    return;
  }
  rmSync(aside, { force: true });
}

function isMissing(path: string): boolean {
  try {
    lstatSync(path);
    return false;
  } catch {
    return true;
  }
}

/** True when the open file is the one of that name. */
function isStill(path: string, fd: number): boolean {
  try {
    const [there, open] = [lstatSync(path, { bigint: true }), fstatSync(fd, { bigint: true })];
    return there.ino === open.ino && there.dev === open.dev;
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw error;
    return false;
  }
}

/** Writes who holds the lock, for messages. @throws the system's error; then no file is left. */
function nameOwner(path: string, fd: number, onFullDisk: boolean): void {
  try {
    ftruncateSync(fd);
    writeSync(fd, `${owner()}\n`, 0);
  } catch (error) {
    if (onFullDisk && NO_SPACE.has(errorCode(error))) return;
    rmSync(path, { force: true });
    throw error;
  }
}

function release(path: string, fd: number): void {
  try {
    if (isStill(path, fd)) rmSync(path, { force: true });
  } finally {
    closeSync(fd);
  }
}

function owner(): string {
  return `${process.pid} ${startTimeOf(process.pid) ?? ''}`;
}

/** @throws TowpathError; the system's error */
function takeWrittenLock(path: string, purpose: LockedFor, options: ProcessLockOptions): Disposable {
  const { link = linkSync, mode = 0o600, onFullDisk = false } = options;
  const mine = `${path}.${process.pid}`;
  try {
    // A link or a FIFO that somebody put under this name is not written through.
    rmSync(mine, { force: true });
    // A hard link appears with its whole content, so nobody reads a lock that is half written.
    writeOwner(mine, owner(), { mode, onFullDisk });
    for (let tries = 1; ; tries++) {
      try {
        putInPlace(mine, path, { link, mode });
        return { [Symbol.dispose]: () => releaseWritten(path) };
      } catch (cause) {
        if (errorCode(cause) !== 'EEXIST') throw cause;
        const owner = ownerOf(path);
        if (tries === MAX_TRIES || isHidden(path) || (owner !== undefined && isAlive(owner)))
          throw taken(path, purpose, owner?.pid);
        setAside(path, owner, { link, mode });
      }
    }
  } finally {
    rmSync(mine, { force: true });
  }
}

/** A lock that another process has taken over, which should not happen, stays its. */
function releaseWritten(path: string): void {
  if (ownerOf(path)?.pid === process.pid) rmSync(path, { force: true });
}

const NO_SPACE: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT']);

/** @throws the system's error */
function writeOwner(path: string, text: string, { mode, onFullDisk }: { mode: number; onFullDisk: boolean }): void {
  try {
    writeFileSync(path, `${text}\n`, { mode, flag: 'wx' });
  } catch (error) {
    if (!onFullDisk || !NO_SPACE.has(errorCode(error))) throw error;
    // A full disk has no block for the text of a file; that of a short link is in its inode. The link leads nowhere.
    rmSync(path, { force: true });
    symlinkSync(text, path);
  }
}

/** Answers of file systems without hard links: FAT on a memory card, some network shares. */
const NO_LINKS: ReadonlySet<string> = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK']);

type Placing = Required<Pick<ProcessLockOptions, 'link' | 'mode'>>;

/** Gives a file another name, which nobody may have. @throws the system's error, `EEXIST` when it exists */
function putInPlace(from: string, to: string, { link, mode }: Placing): void {
  try {
    link(from, to);
  } catch (error) {
    if (!NO_LINKS.has(errorCode(error))) throw error;
    // Whoever reads it between its making and its filling takes it for abandoned; without links there is no better way.
    writeFileSync(to, readRegularSync(from), { mode, flag: 'wx' });
  }
}

interface Owner {
  readonly pid: number;
  /** When it was started, in ticks since the boot: a number that another process got later is not its owner. */
  readonly startTime: string | undefined;
}

/** Removes an abandoned lock, unless a new owner has taken it over meanwhile. */
function setAside(path: string, abandoned: Owner | undefined, placing: Placing): void {
  const aside = `${path}.${process.pid}.stale`;
  try {
    renameSync(path, aside);
    const found = ownerOf(aside);
    if (found !== undefined && found.pid !== abandoned?.pid && isAlive(found)) putInPlace(aside, path, placing);
  } catch (error) {
    if (!['ENOENT', 'EEXIST'].includes(errorCode(error))) throw error;
  } finally {
    rmSync(aside, { force: true });
  }
}

function taken(path: string, { what, next = 'end it first' }: LockedFor, pid: number | undefined): TowpathError {
  const advice = pid === undefined ? `end it; if there is none, remove ${path}` : next;
  return new TowpathError(
    'already-running',
    `Another towpath process (${pid ?? 'unknown'}) ${what}. Next: ${advice}.`,
    { target: path },
  );
}

function ownerOf(path: string): Owner | undefined {
  try {
    const match = /^(\d+)(?: (\d*))?\s*$/.exec(readOwner(path));
    return match === null ? undefined : { pid: Number(match[1]), startTime: match[2] || undefined };
  } catch {
    // It was released meanwhile, or is no file.
    return undefined;
  }
}

function readOwner(path: string): string {
  try {
    return readlinkSync(path);
  } catch (error) {
    if (errorCode(error) !== 'EINVAL') throw error;
    return readRegularSync(path).toString();
  }
}

/** True for the lock of another user that this one may not read: its owner may well run. */
function isHidden(path: string): boolean {
  try {
    readRegularSync(path);
    return false;
  } catch (error) {
    return errorCode(error) === 'EACCES';
  }
}

function isAlive({ pid, startTime }: Owner): boolean {
  if (pid === 0) return false;
  // After a restart of a container the number is used again, by this process.
  if (pid === process.pid) return startTime !== undefined && startTime === startTimeOf(pid);
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (errorCode(error) !== 'EPERM') return false;
  }
  const now = startTimeOf(pid);
  return startTime === undefined || now === undefined || now === startTime;
}

/** Field 22 of /proc/PID/stat; undefined where there is none. */
function startTimeOf(pid: number): string | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name before it is in brackets and may contain anything.
    return text.slice(text.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    // Another system, or it has ended.
    return undefined;
  }
}

/**
 * Removes what processes that were killed in the middle of a write or of taking a lock left in a folder: files that end
 * with the number of a process, see {@link takeProcessLock} and `writePrivateFile`.
 * @throws TowpathError `file-unreadable`
 */
export function removeAbandoned(folder: string): void {
  let names: string[];
  try {
    names = readdirSync(folder);
  } catch (cause) {
    throw readFailure(folder, cause);
  }
  for (const name of names) {
    const pid = Number(/(?:\.lock\.(\d+)(?:\.stale)?|\.(\d+)\.new)$/.exec(name)?.slice(1).find(Boolean) ?? 0);
    if (pid > 0 && pid !== process.pid && !isAlive({ pid, startTime: undefined }))
      rmSync(join(folder, name), { force: true });
  }
}

/** Process number of the lock's owner; undefined when nobody holds it. */
export function lockOwner(path: string): number | undefined {
  const owner = ownerOf(path);
  return owner !== undefined && isAlive(owner) ? owner.pid : undefined;
}
