import { statSync } from 'node:fs';
import { errorCode, errorMessage } from '@towpath/core';
import { ControlError } from '../control-error.ts';

/** SQLite's primary result codes. */
const CODES = { PERM: 3, BUSY: 5, LOCKED: 6, READONLY: 8, IOERR: 10, FULL: 13, CANTOPEN: 14 } as const;

const PERMISSION: string = 'give this user the file, those that begin with its name, and their folder';
const IN_USE: string = 'end the other program that uses it, and run again';
const DISK: string = 'check the disk and its free space, and run again';
const DAMAGED: string =
  'put a backup in its place, or move it and its -wal and -shm away: members then send what they have verified';

const ADVICE: Readonly<Record<number, string>> = {
  [CODES.PERM]: PERMISSION,
  [CODES.BUSY]: IN_USE,
  [CODES.LOCKED]: IN_USE,
  [CODES.READONLY]: PERMISSION,
  [CODES.IOERR]: DISK,
  [CODES.FULL]: DISK,
  [CODES.CANTOPEN]: PERMISSION,
};

/**
 * Refuses a database that is no file, or beside which something else is in the place of its files: SQLite waits in a
 * FIFO for ever, and the whole process with it.
 * @throws ControlError `store-failed`.
 */
export function requireDatabaseFile(path: string): void {
  for (const place of [path, `${path}-wal`, `${path}-shm`, `${path}-journal`]) {
    if (statSync(place, { throwIfNoEntry: false })?.isFile() === false) {
      throw new ControlError('store-failed', `${place} is not a file. Next: move it away.`);
    }
  }
}

/** The error of an operation on a database, with what to do about it. */
export function databaseFailure(what: string, cause: unknown): ControlError {
  if (cause instanceof ControlError) return cause;
  const why = errorMessage(cause);
  return new ControlError(
    'store-failed',
    `Could not ${what}: ${why.includes('Next: ') ? why : `${why}. Next: ${adviceOn(cause)}.`}`,
    { cause },
  );
}

function adviceOn(cause: unknown): string {
  if (typeof cause === 'object' && cause !== null && 'errcode' in cause && typeof cause.errcode === 'number') {
    // The upper bits tell apart errors of one kind.
    return ADVICE[cause.errcode & 0xff] ?? DAMAGED;
  }
  return ['EPERM', 'EACCES', 'EROFS', 'ELOOP', 'ENOTDIR'].includes(errorCode(cause)) ? PERMISSION : DAMAGED;
}
