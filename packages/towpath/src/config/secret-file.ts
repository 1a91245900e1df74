import { readFileSync, statSync } from 'node:fs';
import { errorCode, TowpathError } from '@towpath/core';
import { UsageError } from '../cli/failure.ts';

/**
 * Reads a file with a secret, without its final newline.
 * @throws UsageError when other users can read it; TowpathError `file-unreadable`. Neither contains the content.
 */
export function readSecret(file: string): string {
  try {
    if ((statSync(file).mode & 0o077) !== 0) {
      throw new UsageError(`${file} contains a secret and is readable by other users. Next: chmod 600 ${file}`);
    }
    return readFileSync(file, 'utf8').replace(/\r?\n$/, '');
  } catch (cause) {
    if (cause instanceof UsageError) throw cause;
    throw new TowpathError('file-unreadable', `${file} cannot be read (${errorCode(cause)}).`, { target: file, cause });
  }
}
