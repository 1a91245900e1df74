import { closeSync, constants, fstatSync, openSync, readFileSync, type Stats } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { TowpathError } from './errors.ts';

/** No file that the program keeps is nearly as large. */
const MAX_BYTES: number = 64 * 1024 * 1024;

/** A FIFO without O_NONBLOCK is waited for until somebody writes into it. */
const FLAGS: number = constants.O_RDONLY | constants.O_NONBLOCK;

export interface ReadRegularOptions {
  /** Larger files are refused. @default 67108864 */
  maxBytes?: number;
  /** What to do about it, for the message. @default 'move it away' */
  next?: string;
  /** Called with what the open file is; may throw, for example because others can read it. */
  check?(found: Stats): void;
}

/**
 * Reads a file. What is no file is refused instead of being waited for: a FIFO would stop the whole process, and a device
 * may have no end.
 * @throws TowpathError `file-unreadable` for what is no file, or too large; what `check` throws; the system's error
 */
export async function readRegular(path: string, options: ReadRegularOptions = {}): Promise<Buffer> {
  await using file = await openRegular(path, options);
  return await file.readFile();
}

/** Opens a file for reading. Parameters and errors as for {@link readRegular}. */
export async function openRegular(path: string, options: ReadRegularOptions = {}): Promise<FileHandle> {
  const file = await open(path, FLAGS);
  try {
    accept(path, await file.stat(), options);
    return file;
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** Reads a file at once. Parameters and errors as for {@link readRegular}. */
export function readRegularSync(path: string, options: ReadRegularOptions = {}): Buffer {
  const file = openSync(path, FLAGS);
  try {
    accept(path, fstatSync(file), options);
    return readFileSync(file);
  } finally {
    closeSync(file);
  }
}

function accept(path: string, found: Stats, { maxBytes = MAX_BYTES, next, check }: ReadRegularOptions): void {
  if (!found.isFile()) throw unusable(path, 'is not a file', next);
  if (found.size > maxBytes) throw unusable(path, `is larger than ${maxBytes} bytes`, next);
  check?.(found);
}

function unusable(path: string, why: string, next = 'move it away'): TowpathError {
  return new TowpathError('file-unreadable', `${path} ${why}. Next: ${next}.`, { target: path });
}
