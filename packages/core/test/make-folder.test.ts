import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { makeFolder } from '../src/make-folder.ts';

let folder = '';

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'towpath-folder-'));
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

test('creates a folder with the missing ones above it, and again, or several at once, without an error', async () => {
  const path = join(folder, 'a', 'b', 'c');
  await Promise.all([makeFolder(path, 0o700), makeFolder(path, 0o700)]);
  await makeFolder(path, 0o700);
  expect([statSync(path).mode & 0o777, statSync(join(folder, 'a')).mode & 0o777]).toEqual([0o700, 0o700]);
});

test('a file in the way is an error', async () => {
  writeFileSync(join(folder, 'a'), '');
  await expect(makeFolder(join(folder, 'a'))).rejects.toThrow('EEXIST');
  await expect(makeFolder(join(folder, 'a', 'b'))).rejects.toThrow('ENOTDIR');
});

test.skipIf(!existsSync('/proc/self'))(
  'a place where the system creates none is an error, and not waited for',
  async () => {
    await expect(makeFolder('/proc/towpath/serve')).rejects.toThrow('ENOENT');
  },
);
