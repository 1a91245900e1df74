import { errorCode, TowpathError } from './errors.ts';

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'it does not exist. Next: check the path.',
  EACCES: 'permission denied. Next: make it readable for this user, or use sudo.',
  EPERM: 'permission denied. Next: make it readable for this user, or use sudo.',
  ENOTDIR: 'what should be its folder is a file. Next: move that away, or check the path.',
  EISDIR: 'it is a folder. Next: check the path.',
  ELOOP: 'it is a symbolic link that leads back to itself. Next: remove the link.',
  ENAMETOOLONG: 'its name is too long. Next: check the path.',
  EMFILE: 'too many files are open. Next: raise the limit, see ulimit -n.',
  ENFILE: 'too many files are open on this machine. Next: end what has opened them.',
};

/** Returns the error `file-unreadable` of a file or folder, from the system's error; one of Towpath's own as it is. */
export function readFailure(path: string, cause: unknown): TowpathError {
  if (cause instanceof TowpathError) return cause;
  const system = errorCode(cause);
  const why = REASONS[system];
  const words = why === undefined ? ` (${system}). Next: check the disk, or check the path.` : `: ${why}`;
  return new TowpathError('file-unreadable', `${path} cannot be read${words}`, { target: path, cause });
}
