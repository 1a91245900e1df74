import { join } from 'node:path';
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
