import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { errorCode, TowpathError } from '@towpath/core';
import type { Runtime } from '../../cli/runtime.ts';

/** The database in a server's folder. */
export const DATABASE = 'control.db';

/** The folder of a server, made with mode 0700 when it is not there. @throws TowpathError `disk-failed`. */
export function dataFolder({ configFolder }: Runtime, given: string | undefined): string {
  const folder = given ?? join(configFolder, 'serve');
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    return folder;
  } catch (cause) {
    throw new TowpathError('disk-failed', `The folder ${folder} cannot be made (${errorCode(cause)}).`, { cause });
  }
}
