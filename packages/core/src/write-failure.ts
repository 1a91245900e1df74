import { errorCode } from './errors.ts';

/** Why a file could not be written, for a person; `code` tells programs. */
export interface WriteFailure {
  readonly code: 'disk-full' | 'disk-failed';
  readonly message: string;
}

const REASONS: Readonly<Record<string, string>> = {
  ENOSPC: 'the disk is full. Next: free space and run again; what is saved stays as it is.',
  EDQUOT: 'the quota is used up. Next: free space and run again; what is saved stays as it is.',
  EROFS: 'the file system is read-only. Next: make it writable, or choose another folder.',
  ENOENT: 'its folder does not exist. Next: create it, or choose another one.',
  EISDIR: 'it is a folder. Next: move it away, or choose another name.',
  ERR_FS_EISDIR: 'it is a folder. Next: move it away, or choose another name.',
  EEXIST: 'something else has this name. Next: move it away, or choose another name.',
  ENOTDIR: 'a part of the path is a file. Next: choose another folder.',
  ELOOP: 'its links point to each other. Next: remove them, or choose another name.',
  ENAMETOOLONG: 'the name is too long. Next: choose a shorter one.',
  EACCES: 'permission denied. Next: use sudo, or choose a folder of your own.',
  EPERM: 'permission denied. Next: use sudo, or choose a folder of your own.',
};

/** Returns what to say of a failed write to `path`, from the system's error. */
export function writeFailure(path: string, cause: unknown): WriteFailure {
  const system = errorCode(cause);
  const code = system === 'ENOSPC' || system === 'EDQUOT' ? 'disk-full' : 'disk-failed';
  const reason = REASONS[system];
  return {
    code,
    message: `${path} cannot be written${reason === undefined ? ` (${system}). Next: check the disk, or choose another folder.` : `: ${reason}`}`,
  };
}
