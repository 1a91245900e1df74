import { expect, test } from 'vitest';
import { TowpathError, writeFailure } from '../src/index.ts';

const system = (code: string) => Object.assign(new Error(code), { code });

test.each([
  ['ENOSPC', 'disk-full', /: the disk is full\. Next: free space/],
  ['EDQUOT', 'disk-full', /: the quota is used up\. Next: free space/],
  ['EROFS', 'disk-failed', /: the file system is read-only\. Next: make it writable/],
  ['EACCES', 'disk-failed', /: permission denied\. Next: use sudo/],
  ['ENOENT', 'disk-failed', /: its folder does not exist\. Next: create it/],
  ['EISDIR', 'disk-failed', /: it is a folder\. Next: move it away, or choose another name/],
  ['ERR_FS_EISDIR', 'disk-failed', /: it is a folder\. Next: move it away/],
  ['EEXIST', 'disk-failed', /: something else has this name\. Next: move it away/],
  ['ENOTDIR', 'disk-failed', /: a part of the path is a file\. Next: choose/],
  ['ELOOP', 'disk-failed', /: its links point to each other\. Next: remove/],
  ['ENAMETOOLONG', 'disk-failed', /: the name is too long\. Next: choose/],
  ['EIO', 'disk-failed', / \(EIO\)\. Next: check the disk/],
])('a failed write with %s says what to do', (code, expected, words) => {
  const failure = writeFailure('/var/lib/x', system(code));
  expect(failure).toEqual({ code: expected, message: expect.stringMatching(words) });
  expect(failure.message).toMatch(/^\/var\/lib\/x cannot be written/);
  expect(new TowpathError(failure.code, failure.message).kind).toBe('local');
});
