import { randomUUID } from 'node:crypto';
import { mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { errorCode } from '@towpath/core';
import { ControlError } from '../control-error.ts';

/**
 * Replaces a file as a whole, readable by its owner only (0600, its folder 0700 when it is made here): after a
 * crash there is the old content or the new one.
 */
export async function writeSecretFile(path: string, content: Uint8Array | string): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  // A name of its own: another process of the same node may be writing the same file.
  const next = `${path}.${randomUUID()}.new`;
  try {
    await using file = await open(next, 'wx', 0o600);
    await file.writeFile(content);
    await file.sync();
    await rename(next, path);
  } catch (error) {
    await rm(next, { force: true });
    throw error;
  }
}

/**
 * Reads what {@link writeSecretFile} wrote; undefined when there is no such file.
 * @throws ControlError `invalid-identity` when others than the owner can read it.
 */
export async function readSecretFile(path: string): Promise<Uint8Array | undefined> {
  try {
    const { mode } = await stat(path);
    if ((mode & 0o077) !== 0) {
      throw new ControlError(
        'invalid-identity',
        `${path} holds keys and can be read by others than its owner. Run: chmod 600 ${path}`,
      );
    }
    return new Uint8Array(await readFile(path));
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}
