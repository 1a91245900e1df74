import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { makeFolder } from '../src/config/make-folder.ts';

let folder = '';

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'towpath-folder-'));
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

test('creates a folder with the missing ones above it, and again without an error', () => {
  const path = join(folder, 'a', 'b', 'c');
  makeFolder(path);
  makeFolder(path);
  expect([statSync(path).mode & 0o777, statSync(join(folder, 'a')).mode & 0o777]).toEqual([0o700, 0o700]);
});

test('a file in the way is an error', () => {
  writeFileSync(join(folder, 'a'), '');
  expect(() => makeFolder(join(folder, 'a'))).toThrow('EEXIST');
  expect(() => makeFolder(join(folder, 'a', 'b'))).toThrow('ENOTDIR');
});

test.skipIf(!existsSync('/proc/self'))('a place where the system creates none is an error, not an endless loop', () => {
  expect(() => makeFolder('/proc/towpath/serve')).toThrow('ENOENT');
});
