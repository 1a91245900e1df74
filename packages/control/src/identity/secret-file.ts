import { randomUUID } from 'node:crypto';
import { open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { errorCode, makeFolder, readFailure, readRegular, TowpathError, writeFailure } from '@towpath/core';
import { ControlError } from '../control-error.ts';

/**
 * Replaces a file atomically, readable by its owner only (0600; its folder 0700 when it is created).
 * @throws TowpathError `disk-full`, `disk-failed`
 */
export async function writeSecretFile(path: string, content: Uint8Array | string): Promise<void> {
  // A unique name: another process of the node may write the same file.
  const next = `${path}.${randomUUID()}.new`;
  try {
    await makeFolder(dirname(path), 0o700);
    await using file = await open(next, 'wx', 0o600);
    await file.writeFile(content);
    await file.sync();
    await rename(next, path);
  } catch (error) {
    await rm(next, { force: true }).catch(() => {
      // Where the folder is no folder; the error of the write matters more.
    });
    throw notWritten(path, error);
  }
}

/** Removes what {@link writeSecretFile} wrote, if it is there. @throws TowpathError `disk-failed` */
export async function removeSecretFile(path: string): Promise<void> {
  try {
    await rm(path, { force: true });
  } catch (error) {
    throw notWritten(path, error);
  }
}

function notWritten(path: string, cause: unknown): TowpathError {
  const { code, message } = writeFailure(path, cause);
  return new TowpathError(code, message, { target: path, cause });
}

/**
 * Reads what {@link writeSecretFile} wrote; undefined when there is no such file.
 * @throws ControlError `invalid-identity` when other users can read it, or it is no file; TowpathError `file-unreadable`
 */
export async function readSecretFile(path: string): Promise<Uint8Array | undefined> {
  try {
    return new Uint8Array(await readRegular(path, { check: (found) => checkPrivate(path, found) }));
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    if (errorCode(error) !== 'file-unreadable') throw readFailure(path, error);
    throw new ControlError('invalid-identity', `${path} is not a file with keys. Next: move it away.`, {
      cause: error,
    });
  }
}

function checkPrivate(path: string, { mode }: { readonly mode: number }): void {
  if ((mode & 0o077) === 0) return;
  const message = `${path} contains keys and is readable by other users. Next: chmod 600 ${path}`;
  throw new ControlError('invalid-identity', message);
}
