import { join } from 'node:path';

/** `towpath.sock` in the state folder: its mode is the permission. */
export function apiSocketPath(stateFolder: string): string {
  return join(stateFolder, 'towpath.sock');
}
