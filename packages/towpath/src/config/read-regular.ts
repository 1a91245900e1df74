import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';
import { TowpathError } from '@towpath/core';

/** No file of the state folder is nearly as large. */
const MAX_BYTES = 64 * 1024 * 1024;

/**
 * Reads a file of the state folder. What is no file is refused instead of being waited for: a FIFO would stop the whole
 * process, and a device may have no end.
 * @throws TowpathError `file-unreadable` for what is no file, or too large; the system's error
 */
export function readRegular(path: string): string {
  const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const found = fstatSync(file);
    if (!found.isFile()) throw unusable(path, 'is not a file');
    if (found.size > MAX_BYTES) throw unusable(path, `is larger than ${MAX_BYTES / 1024 / 1024} MiB`);
    return readFileSync(file, 'utf8');
  } finally {
    closeSync(file);
  }
}

function unusable(path: string, why: string): TowpathError {
  return new TowpathError('file-unreadable', `${path} ${why}. Next: move it away.`, { target: path });
}
