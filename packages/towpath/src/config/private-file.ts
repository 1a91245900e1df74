import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { errorCode, TowpathError, writeFailure } from '@towpath/core';
import { makeFolder } from './make-folder.ts';
import { readRegular } from './read-regular.ts';

/** Reads a private file; undefined when it does not exist. @throws TowpathError `file-unreadable`. */
export function readPrivateFile(path: string): string | undefined {
  try {
    return readRegular(path);
  } catch (cause) {
    if (cause instanceof TowpathError) throw cause;
    if (errorCode(cause) === 'ENOENT') return undefined;
    throw new TowpathError('file-unreadable', `${path} cannot be read (${errorCode(cause)}).`, { target: path, cause });
  }
}

/**
 * Replaces a file atomically, with mode 0600; creates its folder with 0700.
 * @throws TowpathError `disk-full`, `disk-failed`.
 */
export function writePrivateFile(path: string, content: string): void {
  // A unique name, because another process may write the same file.
  const next = `${path}.${process.pid}.new`;
  try {
    makeFolder(dirname(path));
    const file = openSync(next, 'w', 0o600);
    try {
      const bytes = Buffer.from(content);
      for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at);
      // After a power failure there is the old file or the whole new one.
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(next, path);
  } catch (cause) {
    rmSync(next, { force: true });
    throw notWritten(path, cause);
  }
}

/** The error of a file or folder that could not be written: `disk-full`, `disk-failed`. */
export function notWritten(path: string, cause: unknown): TowpathError {
  const { code, message } = writeFailure(path, cause);
  return new TowpathError(code, message, { target: path, cause });
}
