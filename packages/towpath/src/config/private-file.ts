import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { errorCode, TowpathError } from '@towpath/core';

/** The content of a file of ours; undefined when there is none. @throws TowpathError `file-unreadable`. */
export function readPrivateFile(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    if (errorCode(cause) === 'ENOENT') return undefined;
    throw new TowpathError('file-unreadable', `${path} cannot be read (${errorCode(cause)}).`, { target: path, cause });
  }
}

/**
 * Replaces a file as a whole, with mode 0600; its folder is made with 0700 when it is not there.
 * @throws TowpathError `disk-failed`.
 */
export function writePrivateFile(path: string, content: string): void {
  // A name of its own, because another process may be writing the same file.
  const next = `${path}.${process.pid}.new`;
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    writeFileSync(next, content, { mode: 0o600 });
    renameSync(next, path);
  } catch (cause) {
    throw new TowpathError('disk-failed', `${path} cannot be written (${errorCode(cause)}).`, { target: path, cause });
  }
}
