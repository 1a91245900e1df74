import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeFileSync } from 'node:fs';

/**
 * Replaces a file as a whole and waits until it is on the disk: after a crash of the process or of the machine there is the old file
 * or the whole new one. After a failure nothing new is left.
 * @param next where the new content is written first, in the same folder
 * @throws the error of `node:fs`; `writeFailure` says what it means
 */
export function replaceFile(path: string, content: string, { next, mode }: { next: string; mode: number }): void {
  try {
    rmSync(next, { force: true });
    // A link or a FIFO that somebody put under this name is not written through.
    const file = openSync(next, 'wx', mode);
    try {
      // Goes on when a disk that becomes full takes a part of it at once.
      writeFileSync(file, content);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(next, path);
  } catch (error) {
    rmSync(next, { force: true });
    throw error;
  }
}
