import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openRegular, readRegular, readRegularSync } from '../src/read-regular.ts';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'towpath-read-'));
});

afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

const descriptors = () => readdirSync('/proc/self/fd').length;

describe('a file is read only when it is one (G3)', () => {
  test('with its content, also through a link', async () => {
    const [file, link] = [join(folder, 'file'), join(folder, 'link')];
    writeFileSync(file, 'content');
    symlinkSync(file, link);
    for (const path of [file, link]) {
      expect(readRegularSync(path).toString()).toBe('content');
      expect((await readRegular(path)).toString()).toBe('content');
    }
    await using opened = await openRegular(file);
    expect((await opened.stat()).size).toBe(7);
  });

  test.each(['FIFO', 'folder', 'device without end', 'huge file'])(
    'a %s is refused at once, and nothing stays open',
    async (kind) => {
      const path = join(folder, 'it');
      if (kind === 'FIFO') spawnSync('mkfifo', [path]);
      else if (kind === 'folder') mkdirSync(path);
      else if (kind === 'device without end') symlinkSync('/dev/zero', path);
      else {
        writeFileSync(path, '');
        truncateSync(path, 65 * 1024 * 1024);
      }
      const why = kind === 'huge file' ? 'is larger than 67108864 bytes' : 'is not a file';
      const refused = expect.objectContaining({
        code: 'file-unreadable',
        message: `${path} ${why}. Next: name a file.`,
      });
      const before = descriptors();
      const options = { next: 'name a file' };
      expect(() => readRegularSync(path, options)).toThrow(refused);
      await expect(readRegular(path, options)).rejects.toEqual(refused);
      expect(descriptors()).toBe(before);
    },
  );

  test('what the check does not accept is not read, and nothing stays open', async () => {
    const file = join(folder, 'file');
    writeFileSync(file, 'secret', { mode: 0o644 });
    const check = ({ mode }: { mode: number }) => {
      if ((mode & 0o077) !== 0) throw new RangeError('readable by others');
    };
    const before = descriptors();
    expect(() => readRegularSync(file, { check })).toThrow(RangeError);
    await expect(readRegular(file, { check })).rejects.toThrow(RangeError);
    expect(descriptors()).toBe(before);
  });

  test('one that is not there is the error of the system', async () => {
    expect(() => readRegularSync(join(folder, 'none'))).toThrow(expect.objectContaining({ code: 'ENOENT' }));
    await expect(readRegular(join(folder, 'none'))).rejects.toMatchObject({ code: 'ENOENT' });
  });
});
