import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { VirtualClock } from '@towpath/core/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { VideoType } from '../src/artemis/av.ts';
import { CameraError } from '../src/artemis/camera-error.ts';
import type { MediaItem } from '../src/artemis/media-item.ts';
import { captureTime } from '../src/media/capture-time.ts';
import { downloadMedia } from '../src/media/download-media.ts';
import { MediaLibrary } from '../src/media/media-library.ts';
import type { MediaSource } from '../src/media/media-source.ts';
import { item } from './media-items.ts';

let folder = '';

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'towpath-identity-'));
});

afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

/** A camera that lists some items and answers each request for data by `give`. */
function source(
  items: readonly MediaItem[],
  give: (item: MediaItem) => Uint8Array | CameraError,
  { devId = 'A', unreadable = 0 } = {},
): MediaSource & { asked: number[] } {
  const asked: number[] = [];
  const results = async function* (wanted: Iterable<MediaItem>) {
    for (const item of wanted) {
      asked.push(item.mediaNum);
      const data = give(item);
      yield data instanceof CameraError ? { item, error: data } : { item, data };
    }
  };
  return {
    asked,
    deviceInfo: async () => ({ devId, fields: {} }),
    mediaList: async function* ({ onUnreadable } = {}) {
      yield* items;
      if (unreadable > 0) onUnreadable?.(unreadable);
    },
    download: results,
    thumbnails: results,
    playback: async function* () {},
  } as MediaSource & { asked: number[] };
}

/** A video of some frames, of which some are missing. */
const video = (lost: number): MediaSource['playback'] =>
  async function* (_item, { onLost } = {}) {
    for (const frameNumber of [1, 2]) {
      const header = { frameNumber, timestamp: 40 * frameNumber, keyFrame: true, width: 1, height: 1, audioType: 0 };
      const rest = { mark: 0, sessionNo: 1, videoType: VideoType.mjpeg, intact: true, trailingBytes: 0 };
      yield { ...header, ...rest, video: Buffer.from('a picture'), audio: new Uint8Array(0) };
    }
    if (lost > 0) onLost?.(lost);
  };

const picture = () => Buffer.from('picture');
const empty = () => new CameraError('item-empty', 'no data');

describe('a folder belongs to one camera', () => {
  test('the pictures of another camera never get into it (D5)', async () => {
    {
      await using library = await MediaLibrary.open({}, { folder });
      await downloadMedia({ client: source([item(1)], picture), library });
    }
    const before = await readdir(folder);
    const library = await MediaLibrary.open({}, { folder });
    const other = downloadMedia({ client: source([item(2)], picture, { devId: 'B' }), library });
    await expect(other).rejects.toMatchObject({
      code: 'other-camera',
      message: expect.stringContaining('choose another folder'),
    });
    expect(await readdir(folder)).toEqual(before);
  });

  test('a folder of an older version, whose index names no camera, is taken over (D5)', async () => {
    await writeFile(join(folder, 'index.json'), '{"version":1,"items":[]}');
    await using library = await MediaLibrary.open({}, { folder });
    await downloadMedia({ client: source([item(1)], picture), library });
    expect(JSON.parse(await readFile(join(folder, 'index.json'), 'utf8'))).toMatchObject({ camera: 'A' });
  });
});

describe('what a download says', () => {
  test('an index that could not be written is written by the next download (D5)', async () => {
    const index = join(folder, 'index.json');
    await using library = await MediaLibrary.open({}, { folder });
    // In its place is what no file can replace, as little as on a full disk.
    await mkdir(index);
    const client = source([item(1)], picture);
    await expect(downloadMedia({ client, library })).rejects.toMatchObject({ code: 'disk-failed' });
    await rm(index, { recursive: true });
    await downloadMedia({ client, library });
    expect(JSON.parse(await readFile(index, 'utf8'))).toMatchObject({ items: [{ mediaNum: 1 }] });
  });

  test('items that the card does not have are named (D5)', async () => {
    await using library = await MediaLibrary.open({}, { folder });
    const items = [item(1), { dirNum: 100, mediaNum: 99 }];
    const summary = await downloadMedia({ client: source([item(2), item(1)], picture), library, items });
    expect(summary).toMatchObject({ saved: 1, missing: [{ dirNum: 100, mediaNum: 99 }] });
  });

  test('entries of the list that cannot be read are counted (D5)', async () => {
    await using library = await MediaLibrary.open({}, { folder });
    const client = source([item(1)], picture, { unreadable: 2 });
    expect(await downloadMedia({ client, library })).toMatchObject({ saved: 1, unreadable: 2 });
  });

  test('a video that lacks frames is saved, said, and not what may be deleted from the card (C2)', async () => {
    await using library = await MediaLibrary.open({}, { folder });
    const recording = { ...item(1), fileType: 1 };
    const events: unknown[] = [];
    const onEvent = (event: object) => events.push(event);
    const client = { ...source([recording], picture), playback: video(3) };
    const summary = await downloadMedia({ client, library, onEvent });
    expect(summary).toMatchObject({ saved: 1, failed: [], damaged: [{ item: recording, lostFrames: 3 }] });
    expect(events).toContainEqual(expect.objectContaining({ type: 'saved', lostFrames: 3 }));
    const states = async (from: MediaLibrary) => [await from.holds(recording), await from.holdsAll(recording)];
    expect(await states(library)).toEqual([true, false]);
    await library.flush();
    expect(await states(await MediaLibrary.open({}, { folder }))).toEqual([true, false]);
    // The next time it is complete.
    const [file] = (await readdir(folder)).filter((name) => name.endsWith('.mjpeg'));
    await rm(join(folder, file!));
    const again = await downloadMedia({ client: { ...client, playback: video(0) }, library });
    expect([again.saved, again.damaged, await states(library)]).toEqual([1, [], [true, true]]);
  });

  test('an item without data is reported once and asked for again after a day (D5)', async () => {
    const clock = new VirtualClock();
    const client = source([item(1)], empty);
    const run = async () => {
      await using library = await MediaLibrary.open({ clock }, { folder });
      return await downloadMedia({ client, library, clock });
    };
    expect((await run()).failed).toHaveLength(1);
    expect(await run()).toMatchObject({ failed: [], empty: 1 });
    await clock.advance(25 * 3_600_000);
    expect((await run()).failed).toHaveLength(1);
    expect(client.asked).toEqual([1, 1]);
  });
});

describe('times', () => {
  test('a file has the time and the name of its capture, in the zone of the camera (B13)', async () => {
    await using library = await MediaLibrary.open({}, { folder, timeZone: 'Europe/Berlin' });
    const path = await library.save({ ...item(1), mediaTime: Date.UTC(2026, 6, 1, 12) / 1000 }, picture());
    expect(path).toMatch(/20260701T120000\+0200_100_0001\.jpg$/);
    expect((await stat(path)).mtime.toISOString()).toBe('2026-07-01T10:00:00.000Z');
    await library.flush();
    expect(await readFile(join(folder, 'index.json'), 'utf8')).toContain('"takenAt": "2026-07-01T12:00:00+02:00"');
  });

  test.each([
    ['2026-01-15T12:00:00Z', 'Europe/Berlin', '2026-01-15T12:00:00+01:00'],
    ['2026-03-29T03:30:00Z', 'Europe/Berlin', '2026-03-29T03:30:00+02:00'],
    ['2026-10-25T02:30:00Z', 'Europe/Berlin', '2026-10-25T02:30:00+02:00'],
    ['2026-06-01T00:00:00Z', '-03:30', '2026-06-01T00:00:00-03:30'],
    ['2026-06-01T00:00:00Z', 'Asia/Kathmandu', '2026-06-01T00:00:00+05:45'],
  ])('%s on a camera in %s is %s', (wall, zone, iso) => {
    const found = captureTime(Date.parse(wall) / 1000, zone);
    expect(found?.iso).toBe(iso);
    expect(found?.epochMs).toBe(Date.parse(iso));
  });

  test.each([0, -1, 1e300, Number.NaN])('a time stamp of %s is none', (mediaTime) => {
    expect(captureTime(mediaTime, 'UTC')).toBeUndefined();
  });
});

test('a link under the temporary name is replaced, not followed (B13)', async () => {
  const victim = join(folder, 'victim');
  await writeFile(victim, 'untouched');
  const library = await MediaLibrary.open({}, { folder, timeZone: '+00:00' });
  const name = '20231114T221321+0000_100_0001.jpg';
  await symlink(victim, join(folder, `.${name}.${process.pid}.part`));
  expect(await library.save(item(1), picture())).toBe(join(folder, name));
  expect(await readFile(victim, 'utf8')).toBe('untouched');
});
