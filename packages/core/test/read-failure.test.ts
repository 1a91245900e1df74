import { expect, test } from 'vitest';
import { readFailure, TowpathError } from '../src/index.ts';

const system = (code: string) => Object.assign(new Error(code), { code });

test.each([
  ['ENOENT', ': it does not exist. Next: check the path.'],
  ['EACCES', ': permission denied. Next: make it readable for this user, or use sudo.'],
  ['ENOTDIR', ': what should be its folder is a file. Next: move that away, or check the path.'],
  ['ELOOP', ': it is a symbolic link that leads back to itself. Next: remove the link.'],
  ['EIO', ' (EIO). Next: check the disk, or check the path.'],
])('a failed read with %s says what to do', (code, words) => {
  const cause = system(code);
  const error = readFailure('/var/lib/x', cause);
  expect([error.code, error.kind, error.message]).toEqual([
    'file-unreadable',
    'local',
    `/var/lib/x cannot be read${words}`,
  ]);
  expect([error.cause, error.target]).toEqual([cause, '/var/lib/x']);
});

test('an error of Towpath has its words already', () => {
  const error = new TowpathError('file-unreadable', 'x is not a file. Next: name a file.');
  expect(readFailure('x', error)).toBe(error);
});
