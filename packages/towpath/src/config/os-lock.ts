import { spawnSync } from 'node:child_process';
import { errorCode } from '@towpath/core';

/** Locks an open file for this process, until its last descriptor is closed; tests give another. */
export type LockOpenFile = (fd: number) => 'locked' | 'busy' | 'unsupported';

/** A service may have a PATH without the second and third. */
const PROGRAMS: readonly string[] = ['flock', '/usr/bin/flock', '/bin/flock'];
/** Exit code of flock when another process holds the lock; it writes nothing then. */
const BUSY = 1;

/** Undefined on systems without such locks, or without a program for them. */
export const lockOpenFile: LockOpenFile | undefined = process.platform === 'linux' ? (fd) => flock(fd) : undefined;

/**
 * Locks an open file, with flock(2), until its last descriptor is closed, which the end of the process does. The kernel
 * keeps the lock, so it holds among containers of a host, which share no process numbers, and on NFS and SMB with
 * locks among hosts. Node has no call for it; the program `flock` of util-linux or BusyBox locks the descriptor that it
 * inherits, and the lock stays with the open file.
 *
 * @param fd open for reading and writing: NFS asks for both
 */
function flock(fd: number): ReturnType<LockOpenFile> {
  for (const program of PROGRAMS) {
    const { status, stderr, error } = spawnSync(program, ['-n', '3'], { stdio: ['ignore', 'ignore', 'pipe', fd] });
    if (error !== undefined && errorCode(error) === 'ENOENT') continue;
    if (status === 0) return 'locked';
    return status === BUSY && stderr.length === 0 ? 'busy' : 'unsupported';
  }
  return 'unsupported';
}
