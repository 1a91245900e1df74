import { statSync } from 'node:fs';
import { join } from 'node:path';
import { errorCode, TowpathError } from '@towpath/core';
import type { Runtime } from '../../cli/runtime.ts';
import { makeFolder } from '../../config/make-folder.ts';
import { notWritten } from '../../config/private-file.ts';

/** The database in a server's folder. */
export const DATABASE = 'control.db';

/** Returns the folder of a server; creates it with mode 0700. @throws TowpathError `disk-failed`. */
export function dataFolder({ configFolder }: Runtime, given: string | undefined): string {
  const folder = given ?? join(configFolder, 'serve');
  try {
    makeFolder(folder);
    return folder;
  } catch (cause) {
    throw notWritten(folder, cause);
  }
}

/**
 * Returns the path of the database of a server that has run before.
 * @throws TowpathError `file-unreadable` when it does not exist, or this user may not look into the folder.
 */
export function existingDatabase(runtime: Runtime, given: string | undefined): string {
  const path = join(dataFolder(runtime, given), DATABASE);
  try {
    statSync(path);
    return path;
  } catch (cause) {
    const code = errorCode(cause);
    const why =
      code === 'ENOENT'
        ? 'does not exist. Next: give --data as for serve'
        : `cannot be read (${code}). Next: run this as the user of the server, and give --data as for serve`;
    throw new TowpathError('file-unreadable', `The database ${path} ${why}.`, { target: path, cause });
  }
}
