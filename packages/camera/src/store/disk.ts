import { open, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { errorCode, errorMessage } from '@towpath/core';
import { CameraError, type CameraErrorCode } from '../artemis/camera-error.ts';

export interface ReplaceOptions {
  /** Permission bits of a new file. */
  mode: number;
  /** Also make the new name survive a power cut, not only the content. @default false */
  syncFolder?: boolean;
}

/**
 * Puts `data` under the name `path` so that a reader, also after a crash or a power cut, finds either the old file or the
 * whole new one. The folder must exist.
 * @throws CameraError `disk-full`, `permission-denied`, `disk-failed`
 */
export async function replaceFile(path: string, data: Uint8Array | string, options: ReplaceOptions): Promise<void> {
  const temporary = temporaryName(path);
  try {
    const file = await open(temporary, 'w', options.mode);
    try {
      await file.writeFile(data);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
    if (options.syncFolder) await syncFolder(dirname(path));
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {
      // The write's own error says more than that its remains could not be removed either.
    });
    throw diskError(error, path);
  }
}

/** Makes the names in a folder survive a power cut. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } catch (error) {
    // Some file systems and Windows cannot sync a folder; they keep names safe in their own way.
    if (!['EINVAL', 'EPERM', 'EISDIR', 'ENOTSUP'].includes(errorCode(error))) throw error;
  } finally {
    await handle.close();
  }
}

/** A failure of the file system as a {@link CameraError} that names the file. */
export function diskError(error: unknown, path: string): CameraError {
  if (error instanceof CameraError) return error;
  const system = errorCode(error);
  const code = CODES[system] ?? 'disk-failed';
  return new CameraError(code, `${path}: ${ADVICE[code] ?? errorMessage(error)}`, {
    cause: error,
    details: { path, system },
  });
}

/** Hidden, beside the file, and of this process: another one's half-written file is never touched. */
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

const ADVICE: Readonly<Partial<Record<CameraErrorCode, string>>> = {
  'disk-full': 'the disk is full. Make room and start again; what is complete stays.',
  'permission-denied': 'it may not be written. Choose another folder or change its permissions.',
};
