import { readFileSync, statSync } from 'node:fs';
import { errorCode, TowpathError } from '@towpath/core';
import { UsageError } from '../cli/failure.ts';

/**
 * The content of a file that holds a secret, without the newline at its end.
 * @throws UsageError when others can read it; TowpathError `file-unreadable`. Neither repeats the content.
 */
export function readSecret(file: string): string {
  try {
    if ((statSync(file).mode & 0o077) !== 0) {
      throw new UsageError(`${file} holds a secret and can be read by others. Next: chmod 600 ${file}`);
    }
    return readFileSync(file, 'utf8').replace(/\r?\n$/, '');
  } catch (cause) {
    if (cause instanceof UsageError) throw cause;
    throw new TowpathError('file-unreadable', `${file} cannot be read (${errorCode(cause)}).`, { target: file, cause });
  }
}
