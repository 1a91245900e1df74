import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLog } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { lockPictures } from '../src/config/pictures-lock.ts';
import { MediaCatalog, mediaId } from '../src/daemon/cameras/media-catalog.ts';

let folder: string;
let catalog: MediaCatalog;

const item = (n: number) => ({
  fileType: 0,
  dirNum: 100 + (n >> 16),
  mediaNum: n & 0xffff,
  durationMs: 0,
  mediaId: n,
  mediaTime: 1_700_000_000 + n,
});

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'towpath-catalog-'));
  catalog = await MediaCatalog.open(
    { clock: new VirtualClock(), log: silentLog },
    { name: 'feeder', folder, timeZone: 'UTC' },
  );
});

afterEach(async () => {
  await catalog[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

const names = () => catalog.list({}).items.map(({ name }) => name);

test('saves, deletions and removals keep the list right', async () => {
  catalog.listed([item(2), item(1)], true);
  expect(names()).toEqual(['100/2', '100/1']);
  expect(catalog.listed([item(3), item(2)], false)).toEqual([item(3)]);
  expect(names()).toEqual(['100/3', '100/2', '100/1']);
  const id = mediaId(item(2));
  catalog.saved(await catalog.library.save(item(2), Uint8Array.of(1, 2, 3)), item(2));
  expect(catalog.item(id)).toMatchObject({ saved: true, bytes: 3, onCard: true });
  expect(catalog.kept()).toEqual({ count: 1, bytes: 3 });
  catalog.deletedFromCard(id);
  catalog.deletedFromCard(mediaId(item(1)));
  expect(names()).toEqual(['100/3', '100/2']);
  expect(catalog.item(id)).toMatchObject({ saved: true, onCard: false });
  await catalog.removeFiles(id);
  expect(names()).toEqual(['100/3']);
  expect([catalog.item(id), catalog.filePath(id), catalog.size]).toEqual([undefined, undefined, 1]);
  expect(catalog.newestAt()).toContain('2023-11-14T22:13:23');
  expect(catalog.kept()).toEqual({ count: 0, bytes: 0 });
});

test('what one item costs does not grow with the card (A2)', () => {
  // With one more pass over the card for each item, this took hours.
  const items = Array.from({ length: 40_000 }, (_, n) => item(n));
  catalog.listed(items, true);
  for (const one of items) {
    catalog.saved(join(folder, `${one.mediaId}.jpg`), one);
    catalog.item(mediaId(one));
  }
  for (const one of items) catalog.deletedFromCard(mediaId(one));
  expect(catalog.size).toBe(0);
});

test('nobody else writes to its folder, until it is closed (C3)', async () => {
  const options = { name: 'feeder', folder, timeZone: 'UTC' };
  const open = () => MediaCatalog.open({ clock: new VirtualClock(), log: silentLog }, options);
  await expect(open()).rejects.toMatchObject({ code: 'already-running' });
  expect(() => lockPictures(folder)).toThrow(expect.objectContaining({ code: 'already-running' }));
  await catalog[Symbol.asyncDispose]();
  lockPictures(folder)[Symbol.dispose]();
  catalog = await open();
});
