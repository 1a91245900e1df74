import { rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { errorCode, type Random, TowpathError } from '@towpath/core';
import { UsageError } from '../../cli/failure.ts';
import { readSecret } from '../../config/secret-file.ts';
import { makeFolder } from '../../config/make-folder.ts';
import { notWritten } from '../../config/private-file.ts';

/** Length of a generated secret, bytes. */
const SECRET_BYTES = 32;
/** Makes a secret; the file follows. */
const CREATE: string = 'towpath relay serve --create-secret --secret-file';
/** Shorter secrets can be guessed from one pair of user name and password. */
const MIN_SECRET_LENGTH = 16;

/**
 * The secrets of time-limited credentials, one per line, the present one first.
 * @throws UsageError when others can read the file, or for a secret that is too short; TowpathError `file-unreadable`.
 */
export function readSecrets(file: string): string[] {
  const secrets = readExisting(file)
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== '');
  if (secrets.length === 0) {
    throw new UsageError(`${file} is empty. Next: remove it, and make it again: ${CREATE} ${file}`);
  }
  if (secrets.some(({ length }) => length < MIN_SECRET_LENGTH)) {
    throw new UsageError(
      `${file} contains a secret of less than ${MIN_SECRET_LENGTH} characters. Next: use a longer one.`,
    );
  }
  return secrets;
}

function readExisting(file: string): string {
  try {
    return readSecret(file);
  } catch (cause) {
    if (!(cause instanceof TowpathError) || errorCode(cause.cause) !== 'ENOENT') throw cause;
    throw new TowpathError(cause.code, `${file} does not exist. Next: check the path, or make it: ${CREATE} ${file}`, {
      target: file,
      cause,
    });
  }
}

/** Writes a new secret with mode 0600 unless the file exists. @returns whether the file was created */
export function createSecret(file: string, random: Random): boolean {
  const secret = Buffer.from(random.bytes(SECRET_BYTES)).toString('base64url');
  try {
    makeFolder(dirname(file));
    writeFileSync(file, `${secret}\n`, { mode: 0o600, flag: 'wx' });
    return true;
  } catch (cause) {
    if (errorCode(cause) === 'EEXIST') return false;
    // A file that could be made and not be filled would be taken for the secret.
    rmSync(file, { force: true });
    throw notWritten(file, cause);
  }
}
