import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { errorCode, TowpathError } from '@towpath/core';

/**
 * Takes a lock that at most one living process has; it ends with the returned object, or with the process. What a
 * process that is gone has left behind is taken over.
 * @param what what the other process does, for the message: `keeps this node connected`.
 * @throws TowpathError `already-running`, `disk-failed`.
 */
export function takeProcessLock(path: string, what: string): Disposable {
  for (let tries = 0; ; tries++) {
    try {
      mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
      writeFileSync(path, `${process.pid}\n`, { mode: 0o600, flag: 'wx' });
      return { [Symbol.dispose]: () => rmSync(path, { force: true }) };
    } catch (cause) {
      if (errorCode(cause) !== 'EEXIST') {
        throw new TowpathError('disk-failed', `${path} cannot be written (${errorCode(cause)}).`, { cause });
      }
      const owner = ownerOf(path);
      if (tries > 0 || (owner !== undefined && isAlive(owner))) {
        throw new TowpathError(
          'already-running',
          `Another towpath process (${owner ?? 'unknown'}) ${what}. Next: end it first; if there is none, remove ${path}.`,
          { target: path },
        );
      }
      rmSync(path, { force: true });
    }
  }
}

function ownerOf(path: string): number | undefined {
  try {
    const pid = Number(readFileSync(path, 'utf8'));
    return Number.isInteger(pid) && pid > 0 ? pid : undefined;
  } catch {
    // It was given back a moment ago.
    return undefined;
  }
}

function isAlive(pid: number): boolean {
  // A number that was used again after a restart is this very process's.
  if (pid === process.pid) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return errorCode(error) === 'EPERM';
  }
}
