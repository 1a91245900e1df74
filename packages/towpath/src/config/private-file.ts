import { dirname } from 'node:path';
import { errorCode, readFailure, readRegularSync, replaceFile, TowpathError, writeFailure } from '@towpath/core';
import { makeFolder } from './make-folder.ts';

/** Reads a private file; undefined when it does not exist. @throws TowpathError `file-unreadable`. */
export function readPrivateFile(path: string): string | undefined {
  try {
    return readRegularSync(path).toString();
  } catch (cause) {
    if (errorCode(cause) === 'ENOENT') return undefined;
    throw readFailure(path, cause);
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
    replaceFile(path, content, { next, mode: 0o600 });
  } catch (cause) {
    throw notWritten(path, cause);
  }
}

/** The error of a file or folder that could not be written: `disk-full`, `disk-failed`. */
export function notWritten(path: string, cause: unknown): TowpathError {
  const { code, message } = writeFailure(path, cause);
  return new TowpathError(code, message, { target: path, cause });
}
