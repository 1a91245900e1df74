import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type DeviceStore, MemoryDeviceStore } from '../src/store/device-store.ts';
import { diskError, replaceFile } from '../src/store/disk.ts';
import { FileDeviceStore } from '../src/store/file-device-store.ts';
import { StorePathMemory } from '../src/store/store-path-memory.ts';

let folder = '';

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'towpath-store-'));
});

afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

const record = {
  localPort: 51_234,
  kind: 'lan',
  endpoint: { address: '192.0.2.1', port: 40_611 },
  pathHistory: { lan: [1, 2, { won: true }] },
};

test('a folder in place of a file is said so, with the next step (B6)', async () => {
  const path = join(folder, 'picture.jpg');
  await mkdir(path);
  await expect(replaceFile(path, 'data', { mode: 0o600 })).rejects.toMatchObject({
    code: 'disk-failed',
    message: `${path}: a folder has this name. Next: move it away.`,
  });
});

test('the store of a folder makes the changes of a device in turn (B6)', async () => {
  const store = new FileDeviceStore({}, { folder });
  const changes = Array.from({ length: 20 }, (_, at) => store.update('a', { pathHistory: { [at]: [at] } }));
  changes.push(store.update('a', { localPort: 1 }), store.update('a', { kind: 'lan' }));
  await Promise.all(changes);
  expect(await store.load('a')).toEqual({ pathHistory: { 19: [19] }, localPort: 1, kind: 'lan' });
});

test.skipIf(!existsSync('/proc/self'))(
  'a folder that cannot be made is an error, and not waited for (B6)',
  async () => {
    const store = new FileDeviceStore({}, { folder: '/proc/towpath/devices' });
    await expect(store.update('a', { localPort: 1 })).rejects.toThrow('ENOENT');
  },
);

describe.each<[string, () => DeviceStore]>([
  ['memory', () => new MemoryDeviceStore()],
  ['file', () => new FileDeviceStore({}, { folder: join(folder, 'devices') })],
])('device store (%s)', (_name, make) => {
  test('remembers each device on its own (B6)', async () => {
    const store = make();
    await store.update('192.0.2.1', record);
    await store.update('192.0.2.2', { localPort: 4000 });
    expect(await store.load('192.0.2.1')).toEqual(record);
    expect(await store.load('192.0.2.2')).toEqual({ localPort: 4000 });
    expect(await store.load('192.0.2.3')).toEqual({});
  });

  test('keeps the fields that an update does not name, and forgets those it sets to undefined (B6)', async () => {
    const store = make();
    await store.update('a', record);
    await store.update('a', { localPort: 1, kind: undefined });
    const { kind: _kind, ...rest } = record;
    expect(await store.load('a')).toEqual({ ...rest, localPort: 1 });
  });

  test('is not changed through what it gave out (B6)', async () => {
    const store = make();
    await store.update('a', record);
    ((await store.load('a')).pathHistory as { lan: number[] }).lan.push(3);
    expect(await store.load('a')).toEqual(record);
  });

  test('forgets a device, also one that it never knew (B6)', async () => {
    const store = make();
    await store.update('a', record);
    await store.remove('a');
    await store.remove('b');
    expect(await store.load('a')).toEqual({});
  });

  test('applies updates that are made at once in their order (B6)', async () => {
    const store = make();
    await Promise.all(
      Array.from({ length: 30 }, (_, n) => store.update('a', n % 2 ? { kind: `${n}` } : { localPort: n + 1 })),
    );
    expect(await store.load('a')).toEqual({ localPort: 29, kind: '29' });
  });

  test('keeps apart devices whose names look alike in a file name (B6)', async () => {
    const store = make();
    const names = ['../../etc/passwd', '.._.._etc_passwd', 'fe80::1%eth0', 'fe80__1_eth0', '', 'ä'.repeat(300)];
    for (const [n, name] of names.entries()) await store.update(name, { localPort: n + 1 });
    for (const [n, name] of names.entries()) expect(await store.load(name)).toEqual({ localPort: n + 1 });
  });
});

describe('file device store', () => {
  const onlyFile = async () => join(folder, (await readdir(folder)).find((name) => name.endsWith('.json'))!);

  test('is read by the next process, and by its owner only (B6)', async () => {
    await new FileDeviceStore({}, { folder }).update('camera', record);
    expect(await new FileDeviceStore({}, { folder }).load('camera')).toEqual(record);
    expect((await stat(await onlyFile())).mode & 0o777).toBe(0o600);
    expect(JSON.parse(await readFile(await onlyFile(), 'utf8'))).toEqual({ version: 1, device: 'camera', record });
    expect(await readdir(folder)).toHaveLength(1);
  });

  test.each(['', '{', '[]', '{"version":1}', '{"version":"1","record":{}}', '{"version":0,"record":{}}'])(
    'takes the damaged file %j for a new device and sets it aside (B6)',
    async (content) => {
      const store = new FileDeviceStore({}, { folder });
      await store.update('camera', record);
      const path = await onlyFile();
      await writeFile(path, content);
      expect(await store.load('camera')).toEqual({});
      await store.update('camera', { localPort: 7 });
      expect(await store.load('camera')).toEqual({ localPort: 7 });
      expect(await readFile(`${path}.damaged`, 'utf8')).toBe(content);
    },
  );

  test('leaves out fields that are not what they should be (B6)', async () => {
    const store = new FileDeviceStore({}, { folder });
    await store.update('camera', record);
    const bad = { localPort: 70_000, kind: 5, endpoint: { address: 1, port: 2 }, pathHistory: 'kept' };
    await writeFile(await onlyFile(), JSON.stringify({ version: 1, record: bad }));
    expect(await store.load('camera')).toEqual({ pathHistory: 'kept' });
  });

  test('leaves a file of a later version alone (B6)', async () => {
    const store = new FileDeviceStore({}, { folder });
    await store.update('camera', record);
    const later = JSON.stringify({ version: 2, record: {}, more: true });
    await writeFile(await onlyFile(), later);
    await store.update('camera', { localPort: 7 });
    expect(await readFile(await onlyFile(), 'utf8')).toBe(later);
    expect(await store.load('camera')).toEqual({});
  });

  test('reports what the disk says as a typed error (B6)', async () => {
    await writeFile(join(folder, 'file'), '');
    const store = new FileDeviceStore({}, { folder: join(folder, 'file', 'sub') });
    await expect(store.update('camera', record)).rejects.toMatchObject({ code: 'disk-failed' });
    expect(await store.load('camera')).toEqual({});
  });
});

describe('replaceFile', () => {
  test('leaves the old file and nothing else when it fails', async () => {
    const path = join(folder, 'sub');
    await replaceFile(join(folder, 'a'), 'old', { mode: 0o600, syncFolder: true });
    await expect(replaceFile(join(path, 'a'), 'new', { mode: 0o600 })).rejects.toMatchObject({ code: 'disk-failed' });
    expect(await readdir(folder)).toEqual(['a']);
  });

  test.each([
    ['ENOSPC', 'disk-full'],
    ['EROFS', 'permission-denied'],
    ['EIO', 'disk-failed'],
  ])('turns %s into %s', (system, code) => {
    const error = diskError(Object.assign(new Error(`${system}: no`), { code: system }), '/a/b');
    expect(error).toMatchObject({ code, details: { path: '/a/b', system } });
  });
});

describe('path memory in a store', () => {
  const history = { lan: { tries: 3, wins: 2, connectMs: 40, updatedAt: 1 }, p2p: { tries: 1, wins: 0, updatedAt: 1 } };
  const statistics = {
    lan: { attempts: 3, wins: 2, cancelled: 0, failures: { 'no-answer': 1 }, connectMs: { counts: [2], sum: 80 } },
  };

  test('gives the next process the local port of the last success, and what the kinds of path are worth (B6, A9, A10)', async () => {
    const path = { kind: 'lan', localPort: 51_234, destinationPort: 32_100 } as const;
    const memory = { path, history, statistics };
    await new StorePathMemory(new FileDeviceStore({}, { folder })).remember('192.0.2.1', memory);
    const next = new StorePathMemory(new FileDeviceStore({}, { folder }));
    expect(await next.recall('192.0.2.1')).toEqual(memory);
    expect(await next.recall('192.0.2.2')).toEqual({});
  });

  test('what is not remembered anew stays as it was', async () => {
    const memory = new StorePathMemory(new MemoryDeviceStore());
    await memory.remember('192.0.2.1', { history });
    await memory.remember('192.0.2.1', { statistics });
    expect(await memory.recall('192.0.2.1')).toEqual({ history, statistics });
  });

  test('recalls nothing from half a record (B6)', async () => {
    const store = new MemoryDeviceStore();
    await store.update('192.0.2.1', { ...record, kind: 'pigeon', statistics: { lan: { attempts: -1 } } });
    await store.update('192.0.2.2', { localPort: 5, kind: 'lan', pathHistory: ['no'] });
    const memory = new StorePathMemory(store);
    expect([await memory.recall('192.0.2.1'), await memory.recall('192.0.2.2')]).toEqual([{}, {}]);
  });
});
