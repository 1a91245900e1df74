import { join } from 'node:path';
import { makeFolder } from './make-folder.ts';
import { type LockedFor, takeProcessLock } from './process-lock.ts';

/** Its name begins with a dot, so that nobody takes it for a picture. */
const LOCK_NAME = '.towpath.lock';

/** Other users may see pictures; the umask decides. */
const FOLDER_MODE = 0o777;
/** Programs of other users that write there, too, see whether its owner runs. */
const LOCK_MODE = 0o644;

/**
 * Takes a folder of pictures, which is created if needed: two programs that keep its index would each lose what the
 * other one notes.
 * @throws TowpathError `already-running`, `disk-full`, `disk-failed`
 */
export function lockPictures(folder: string): Disposable {
  const path = join(folder, LOCK_NAME);
  const purpose: LockedFor = {
    what: `writes to ${folder}`,
    next: 'choose another folder, or end it first; towpath status shows whether it is towpath up',
  };
  return takeProcessLock(path, purpose, {
    makeFolder: (parent) => makeFolder(parent, FOLDER_MODE),
    mode: LOCK_MODE,
    onFullDisk: true,
  });
}
