import type { Keep } from '../config/quantities.ts';

/** A file of a camera on this machine. */
export interface KeptFile {
  readonly id: string;
  /** When it was taken, or saved if the camera gave no time, ms since the Unix epoch. */
  readonly atMs: number;
  readonly bytes: number;
}

const DAY_MS = 24 * 3_600_000;

/** Returns the files that are over the limits, oldest first: those that are too old, then the oldest of what is too much. */
export function surplusFiles(files: readonly KeptFile[], { days, bytes }: Keep, nowMs: number): KeptFile[] {
  const oldestFirst = files.toSorted((a, b) => a.atMs - b.atMs || (a.id < b.id ? -1 : 1));
  let total = files.reduce((sum, file) => sum + file.bytes, 0);
  return oldestFirst.filter((file) => {
    const tooOld = days !== null && nowMs - file.atMs > days * DAY_MS;
    const tooMuch = bytes !== null && total > bytes;
    if (tooOld || tooMuch) total -= file.bytes;
    return tooOld || tooMuch;
  });
}
