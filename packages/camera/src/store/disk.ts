import { constants } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { errorCode, errorMessage, TowpathError } from '@towpath/core';
import { CameraError, type CameraErrorCode } from '../artemis/camera-error.ts';

export interface ReplaceOptions {
  /** Permission bits of a new file. */
  mode: number;
  /** Modification time of the file, ms since the Unix epoch. @default now */
  modifiedAt?: number | undefined;
  /** Also sync the folder, so that the new name survives a power failure. @default false */
  syncFolder?: boolean;
}

/**
 * Writes `data` to `path` atomically: after a crash or a power failure a reader finds either the old file or the whole
 * new one. The folder must exist.
 * @throws CameraError `disk-full`, `permission-denied`, `disk-failed`
 */
export async function replaceFile(path: string, data: Uint8Array | string, options: ReplaceOptions): Promise<void> {
  const temporary = temporaryName(path);
  try {
    await rm(temporary, { force: true });
    // A link that somebody put under this name is not followed.
    const file = await open(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, options.mode);
    try {
      await file.writeFile(data);
      if (options.modifiedAt !== undefined) await file.utimes(new Date(), new Date(options.modifiedAt));
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
    if (options.syncFolder) await syncFolder(dirname(path));
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {
      // The error of the write matters more than that of the clean-up.
    });
    throw diskError(error, path);
  }
}

/** Syncs a folder, so that its names survive a power failure. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } catch (error) {
    // Some file systems and Windows cannot sync a folder.
    if (!['EINVAL', 'EPERM', 'EISDIR', 'ENOTSUP'].includes(errorCode(error))) throw error;
  } finally {
    await handle.close();
  }
}

/** Converts a failure of the file system into a {@link CameraError} with the file's name. */
export function diskError(error: unknown, path: string): CameraError {
  if (error instanceof CameraError) return error;
  const system = errorCode(error);
  const code = CODES[system] ?? 'disk-failed';
  // What this program says itself names the file already.
  const advice = system === 'EISDIR' ? FOLDER_ADVICE : ADVICE[code];
  const message = error instanceof TowpathError ? error.message : `${path}: ${advice ?? errorMessage(error)}`;
  return new CameraError(code, message, {
    cause: error,
    details: { path, system },
  });
}

/** Hidden, beside the file, and unique to this process. */
function temporaryName(path: string): string {
  return join(dirname(path), `.${basename(path)}.${process.pid}.part`);
}

const CODES: Readonly<Record<string, CameraErrorCode>> = {
  ENOSPC: 'disk-full',
  EDQUOT: 'disk-full',
  EACCES: 'permission-denied',
  EPERM: 'permission-denied',
  EROFS: 'permission-denied',
};

const FOLDER_ADVICE = 'a folder has this name. Next: move it away.';

const ADVICE: Readonly<Partial<Record<CameraErrorCode, string>>> = {
  'disk-full': 'the disk is full. Next: free space and run again; completed files are kept.',
  'permission-denied': 'permission denied. Next: choose another folder or change its permissions.',
};
