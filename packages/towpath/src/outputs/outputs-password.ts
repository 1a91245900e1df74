import { join } from 'node:path';
import { SystemRandom } from '@towpath/core';
import { UsageError } from '../cli/failure.ts';
import type { Runtime } from '../cli/runtime.ts';
import { readPrivateFile, writePrivateFile } from '../config/private-file.ts';
import { readSecret } from '../config/secret-file.ts';

/** A secret and the file that it is in. */
export interface OutputsPassword {
  readonly password: string;
  readonly file: string;
}

/**
 * The password of RTSP and HTTP and the key of the webhook: that of the given file, or one that is made once and kept in the
 * configuration folder.
 * @throws UsageError for an empty file or one that others can read; TowpathError `file-unreadable`, `disk-failed`
 */
export function outputsPassword({ configFolder }: Pick<Runtime, 'configFolder'>, file?: string): OutputsPassword {
  if (file !== undefined) {
    const password = readSecret(file);
    if (password === '') throw new UsageError(`${file} is empty. Next: write a password into it.`);
    return { password, file };
  }
  const path = join(configFolder, 'outputs-password');
  const stored = readPrivateFile(path)?.trim();
  if (stored) return { password: stored, file: path };
  const password = Buffer.from(new SystemRandom().bytes(15)).toString('base64url');
  writePrivateFile(path, `${password}\n`);
  return { password, file: path };
}
