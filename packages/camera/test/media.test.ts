import { mkdir, mkdtemp, readdir, readFile, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { VirtualClock } from '@towpath/core/testing';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { AudioType, type AvFrame } from '../src/artemis/av.ts';
import { CameraError } from '../src/artemis/camera-error.ts';
import type { MediaItem } from '../src/artemis/media-item.ts';
import type { CameraClient } from '../src/client/camera-client.ts';
import { type DownloadEvent, type DownloadMediaOptions, downloadMedia } from '../src/media/download-media.ts';
import { captureTime } from '../src/media/capture-time.ts';
import { FILE_NAME, fileName } from '../src/media/file-name.ts';
import { MediaLibrary } from '../src/media/media-library.ts';
import { recordVideo } from '../src/media/record-video.ts';
import { watchMedia } from '../src/media/watch-media.ts';
import { type Bench, connectedBench, failure } from './client-fixture.ts';

let folder = '';

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'towpath-media-'));
});

afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

const anItem: MediaItem = {
  fileType: 0,
  dirNum: 100,
  mediaNum: 7,
  durationMs: 0,
  mediaId: 0xabcd,
  mediaTime: 1_700_000_007,
};
/** A frame of a recording whose picture is its number. */
function frame(frameNumber: number): AvFrame {
  const header = {
    frameNumber,
    timestamp: 0,
    keyFrame: true,
    width: 1,
    height: 1,
    audioType: 0,
    mark: 0,
    sessionNo: 1,
  };
  const video = Buffer.from(`${frameNumber}`);
  return { ...header, videoType: 0, video, audio: new Uint8Array(0), intact: true, trailingBytes: 0 };
}

/** The name of the bench's picture with this number: they are taken one second apart. */
function nameOf(mediaNum: number): string {
  const taken = captureTime(1_700_000_000 + mediaNum, '+00:00')?.compact;
  return fileName({ fileType: 0, dirNum: 100, mediaNum }, { taken });
}

const index = async () => JSON.parse(await readFile(join(folder, 'index.json'), 'utf8'));
const pictures = async () => (await readdir(folder)).filter((name) => name.endsWith('.jpg')).sort();

/** The disk is real: while it works, hours pass on the virtual clock. */
const DISK_LIMIT_MS = Number.MAX_SAFE_INTEGER;

/** Downloads from the bench's camera into the folder, in a library that is opened anew. */
async function run({ clock, client }: Bench, options: Partial<DownloadMediaOptions> = {}) {
  await using library = await MediaLibrary.open({ clock }, { timeZone: '+00:00', folder });
  return await clock.runUntil(downloadMedia({ client, library, clock, ...options }), DISK_LIMIT_MS);
}

describe('file name', () => {
  test.each([
    [{ fileType: 0, dirNum: 100, mediaNum: 318 }, undefined, '100_0318.jpg'],
    [{ fileType: 1, dirNum: 1, mediaNum: 65_535 }, undefined, '001_65535.mp4'],
    [{ fileType: 2, dirNum: 100, mediaNum: 1 }, 0xdeadbeef, '100_0001-deadbeef.avi'],
    [{ fileType: 9, dirNum: 100, mediaNum: 1 }, undefined, '100_0001.bin'],
  ])('of %j with id %s is %s (B13)', (item, mediaId, name) => {
    expect(fileName(item, { mediaId })).toBe(name);
  });

  test('is always one that an index may name, and never leads out of the folder (B13)', () => {
    const uint16 = fc.nat(65_535);
    fc.assert(
      fc.property(
        fc.nat(255),
        uint16,
        uint16,
        fc.option(fc.nat(0xffffffff), { nil: undefined }),
        (fileType, dirNum, mediaNum, id) => {
          expect(fileName({ fileType, dirNum, mediaNum }, { mediaId: id })).toMatch(FILE_NAME);
        },
      ),
    );
    expect('../100_0001.jpg').not.toMatch(FILE_NAME);
  });
});

describe('media library', () => {
  test('keeps a file and what the camera said of it (B13)', async () => {
    const clock = new VirtualClock(Date.UTC(2026, 4, 1));
    {
      await using library = await MediaLibrary.open({ clock }, { timeZone: '+00:00', folder });
      expect(await library.save(anItem, Buffer.from('picture'))).toBe(join(folder, nameOf(7)));
      expect(await library.saveThumbnail(anItem, Buffer.from('small'))).toBe(join(folder, 'thumbnails', nameOf(7)));
    }
    expect(await readFile(join(folder, nameOf(7)), 'utf8')).toBe('picture');
    const { bytes, ...entry } = (await index()).items[0];
    expect(entry).toEqual({
      ...anItem,
      file: nameOf(7),
      savedAt: '2026-05-01T00:00:00.000Z',
      takenAt: '2023-11-14T22:13:27+00:00',
      thumbnail: nameOf(7),
    });
    expect(bytes).toBe(7);
    const again = await MediaLibrary.open({}, { timeZone: '+00:00', folder });
    expect([again.knows(anItem), await again.holds(anItem), await again.holdsThumbnail(anItem)]).toEqual([
      true,
      true,
      true,
    ]);
    expect([...again.entries]).toHaveLength(1);
  });

  test('takes only a file of the verified size for complete (B13)', async () => {
    const library = await MediaLibrary.open({}, { timeZone: '+00:00', folder });
    await library.save(anItem, Buffer.from('picture'));
    await truncate(join(folder, nameOf(7)), 3);
    expect([library.knows(anItem), await library.holds(anItem)]).toEqual([true, false]);
    await rm(join(folder, nameOf(7)));
    expect([library.knows(anItem), await library.holds(anItem)]).toEqual([true, false]);
    await library.save(anItem, Buffer.from('picture'));
    expect(await library.holds(anItem)).toBe(true);
    expect(await pictures()).toEqual([nameOf(7)]);
  });

  test('overwrites neither an earlier picture of the same number nor a file of the user (B13)', async () => {
    await writeFile(join(folder, nameOf(7)), 'a holiday');
    const library = await MediaLibrary.open({}, { timeZone: '+00:00', folder });
    await library.save(anItem, Buffer.from('first'));
    await library.save({ ...anItem, mediaId: 0x1234 }, Buffer.from('second'));
    const contents = await Promise.all((await pictures()).map((name) => readFile(join(folder, name), 'utf8')));
    const [plain, ...others] = [nameOf(7), ...['1234', 'abcd'].map((id) => nameOf(7).replace('.jpg', `-${id}.jpg`))];
    expect(await pictures()).toEqual([...others, plain]);
    expect(contents).toEqual(['second', 'first', 'a holiday']);
  });

  test('recognises a file that is here without being in the index (B13)', async () => {
    await writeFile(join(folder, nameOf(7)), 'picture');
    const library = await MediaLibrary.open({}, { timeZone: '+00:00', folder });
    await library.save(anItem, Buffer.from('picture'));
    expect(await pictures()).toEqual([nameOf(7)]);
  });

  test('replaces a symbolic link of its name instead of following it (B13)', async () => {
    await writeFile(join(folder, 'secret'), 'picture');
    await symlink(join(folder, 'secret'), join(folder, nameOf(7)));
    const library = await MediaLibrary.open({}, { timeZone: '+00:00', folder });
    await library.save(anItem, Buffer.from('picture'));
    await writeFile(join(folder, 'secret'), 'changed');
    expect(await readFile(join(folder, nameOf(7)), 'utf8')).toBe('picture');
  });

  test.each(['{', '[]', '{"version":7,"items":[]}'])('sets the damaged index %s aside (B13)', async (text) => {
    await writeFile(join(folder, 'index.json'), text);
    await using library = await MediaLibrary.open({}, { timeZone: '+00:00', folder });
    expect(library.knows(anItem)).toBe(false);
    expect(await readFile(join(folder, 'index.json.damaged'), 'utf8')).toBe(text);
  });

  test('ignores entries of the index that are not as they should be (B13)', async () => {
    const items = [
      { ...anItem, file: '../../etc/passwd', bytes: 1 },
      { ...anItem, dirNum: -1 },
      5,
      { ...anItem, file: nameOf(7) },
    ];
    await writeFile(join(folder, 'index.json'), JSON.stringify({ version: 1, items }));
    const library = await MediaLibrary.open({}, { timeZone: '+00:00', folder });
    expect([...library.entries].map(({ file }) => file)).toEqual([nameOf(7)]);
  });

  test('reports what the disk says as a typed error (B13)', async () => {
    await writeFile(join(folder, 'file'), '');
    expect(await failure(MediaLibrary.open({}, { timeZone: '+00:00', folder: join(folder, 'file') }))).toMatchObject({
      code: 'disk-failed',
    });
    const library = await MediaLibrary.open({}, { timeZone: '+00:00', folder });
    await rm(folder, { recursive: true });
    expect(await failure(library.save(anItem, Buffer.from('picture')))).toMatchObject({ code: 'disk-failed' });
  });

  test('does not write the index for every item (B13)', async () => {
    const clock = new VirtualClock();
    const library = await MediaLibrary.open({ clock }, { timeZone: '+00:00', folder });
    await library.save(anItem, Buffer.from('1'));
    await library.save({ ...anItem, mediaNum: 8 }, Buffer.from('2'));
    expect((await index()).items).toHaveLength(1);
    await library.flush();
    expect((await index()).items).toHaveLength(2);
  });
});

describe('downloadMedia', () => {
  test('puts every picture on disk, byte for byte, with progress (B13)', async () => {
    const made = await connectedBench();
    made.camera.fill(83, 2000);
    const events: DownloadEvent[] = [];
    const summary = await run(made, { onEvent: (event) => events.push(event) });
    expect(summary).toMatchObject({ listed: 83, present: 0, saved: 83, failed: [], bytes: 166_000 });
    for (const { mediaNum, data } of made.camera.items) {
      expect(Buffer.compare(await readFile(join(folder, nameOf(mediaNum))), data)).toBe(0);
    }
    expect((await index()).items).toHaveLength(83);
    expect(events[0]).toEqual({ type: 'listed', listed: 83, present: 0, wanted: 83 });
    expect(events.at(-1)).toMatchObject({ type: 'saved', progress: { done: 83, wanted: 83 } });
    const rates = events.flatMap((event) => (event.type === 'bytes' ? [event.progress.bytesPerSecond] : []));
    expect(Math.max(...rates)).toBeGreaterThan(10_000);
    expect((await readdir(folder)).filter((name) => name.endsWith('.part'))).toEqual([]);
  });

  test('fetches nothing twice, and what is missing or cut short again (B13)', async () => {
    const made = await connectedBench();
    made.camera.fill(5, 100);
    await run(made);
    await rm(join(folder, nameOf(2)));
    await truncate(join(folder, nameOf(4)), 10);
    expect(await run(made)).toMatchObject({ present: 3, saved: 2 });
    expect(await run(made)).toMatchObject({ present: 5, saved: 0 });
    expect(await pictures()).toHaveLength(5);
  });

  test('goes on at the item after a break (B13)', async () => {
    const made = await connectedBench();
    made.camera.fill(10, 1000);
    made.camera.itemMs = 1000;
    const abort = new AbortController();
    let saved = 0;
    const onEvent = (event: DownloadEvent) => {
      if (event.type === 'saved' && ++saved === 4) abort.abort(new Error('power cut'));
    };
    expect((await failure(run(made, { signal: abort.signal, onEvent }))).message).toBe('power cut');
    const kept = (await index()).items.length;
    expect(kept).toBe(saved);
    expect(kept).toBeLessThan(10);
    expect(await run(made)).toMatchObject({ present: kept, saved: 10 - kept });
  });

  test('leaves out what was ever saved when only new items are wanted (B13)', async () => {
    const made = await connectedBench();
    made.camera.fill(3, 100);
    await run(made);
    await rm(join(folder, nameOf(2)));
    made.camera.fill(4, 100);
    expect(await run(made, { newOnly: true })).toMatchObject({ saved: 1 });
    expect(await pictures()).toEqual([nameOf(1), nameOf(3), nameOf(4)]);
  });

  test('chooses by date, number and any other rule (B13)', async () => {
    const made = await connectedBench();
    made.camera.fill(10, 100);
    expect(await run(made, { since: 1_700_000_009 })).toMatchObject({ listed: 10, saved: 2 });
    expect(await run(made, { limit: 3 })).toMatchObject({ present: 2, saved: 1 });
    expect(await run(made, { select: ({ mediaNum }) => mediaNum === 1 })).toMatchObject({ saved: 1 });
    expect(await pictures()).toEqual([nameOf(1), nameOf(8), nameOf(9), nameOf(10)]);
  });

  test('puts thumbnails in a folder of their own (B13)', async () => {
    const made = await connectedBench();
    made.camera.fill(3, 100);
    expect(await run(made, { what: 'thumbnails' })).toMatchObject({ saved: 3 });
    expect(await readdir(join(folder, 'thumbnails'))).toHaveLength(3);
    expect(await pictures()).toEqual([]);
    expect(await run(made, { what: 'thumbnails' })).toMatchObject({ present: 3, saved: 0 });
    expect(await run(made)).toMatchObject({ present: 0, saved: 3 });
  });

  test('saves the others when one item cannot be had (B13)', async () => {
    const made = await connectedBench();
    made.camera.fill(4, 100);
    made.camera.damage.set('100/2', 1000);
    const summary = await run(made);
    expect(summary).toMatchObject({ saved: 3, failed: [{ item: { mediaNum: 2 }, error: { code: 'item-damaged' } }] });
    expect(await pictures()).toEqual([nameOf(1), nameOf(3), nameOf(4)]);
  });

  test('ends with the error of the disk, and keeps what was saved (B13)', async () => {
    const made = await connectedBench();
    made.camera.fill(10, 100);
    await mkdir(join(folder, nameOf(5)));
    expect(await failure(run(made))).toMatchObject({ code: 'disk-failed' });
    expect((await index()).items.length).toBeGreaterThan(0);
  });
});

test('an index that is no file is named once, with the next step (B13)', async () => {
  await mkdir(join(folder, 'index.json'));
  await expect(MediaLibrary.open({}, { folder })).rejects.toMatchObject({
    code: 'disk-failed',
    message: `${join(folder, 'index.json')} is not a file. Next: move it away.`,
  });
});

describe('recordVideo', () => {
  const piece = { ...frame(1), video: new Uint8Array(1024 * 1024) };

  test('gives up a recording that does not end (B13)', async () => {
    const playback = async function* () {
      for (;;) yield piece;
    };
    expect(await failure(recordVideo({ playback }, anItem))).toMatchObject({ code: 'item-damaged' });
  });

  test.each([
    ['a short one', 1_000, piece, 18],
    ['one of tiny frames', 1_000, { ...frame(1), video: Uint8Array.of(1) }, 18 * 1_024],
    ['one without a length', 0, piece, 257],
    ['one whose length is not to be believed', 4_294_967_295, piece, 257],
  ])('takes no more of a recording than its length in the list allows: %s', async (_which, durationMs, part, most) => {
    let sent = 0;
    const playback = async function* () {
      for (;;) {
        sent++;
        yield part;
      }
    };
    const error = await failure(recordVideo({ playback }, { ...anItem, durationMs }));
    expect(error).toMatchObject({ code: 'item-damaged', message: expect.stringContaining('it does not end') });
    expect(sent).toBeLessThanOrEqual(most);
  });

  test('a recording that does not end costs no other item, and nothing of it is kept (B13)', async () => {
    const video = { ...anItem, fileType: 1, durationMs: 1_000 };
    const endless = { ...video, mediaNum: 7 };
    const playback = async function* (item: { mediaNum: number }) {
      for (let at = 0; item.mediaNum === endless.mediaNum || at < 2; at++) yield piece;
    };
    await using library = await MediaLibrary.open({}, { folder });
    const source = {
      deviceInfo: async () => ({ devId: '' }),
      playback,
      download: async function* () {},
      mediaList: async function* () {
        yield* [endless, { ...video, mediaNum: 8 }];
      },
    };
    const { failed, saved } = await downloadMedia({ client: source as unknown as CameraClient, library });
    expect([failed.map(({ item, error }) => [item.mediaNum, error.code]), saved]).toEqual([[[7, 'item-damaged']], 1]);
    expect((await readdir(folder, { recursive: true })).filter((name) => /0*7\.|\.part/.test(name))).toEqual([]);
  });

  test('plays it from the start again when the connection was lost (B5, B13)', async () => {
    let tries = 0;
    const playback = async function* () {
      yield frame(++tries);
      if (tries < 3) throw new CameraError('session-closed', 'gone');
      yield { ...frame(9), audio: Buffer.from('sound'), audioType: AudioType.aac };
      yield { ...frame(9), video: new Uint8Array(0), audio: Buffer.from('noise'), audioType: AudioType.pcm };
    };
    const { video, extension, audio } = await recordVideo({ playback }, anItem);
    expect([Buffer.from(video).toString(), extension]).toEqual(['39', 'h264']);
    // Sound of two kinds fits into no track: all of it is kept beside the pictures.
    expect(Buffer.from(audio!.data).toString()).toBe('soundnoise');
  });

  test('reports a recording without a picture (B13)', async () => {
    const playback = async function* () {};
    expect(await failure(recordVideo({ playback }, anItem))).toMatchObject({ code: 'item-missing' });
  });
});

describe('watchMedia', () => {
  test('yields new pictures as they appear, oldest first, and looks on a grid (B13)', async () => {
    const { clock, camera, client } = await connectedBench();
    camera.fill(100, 10);
    const seen: number[] = [];
    const abort = new AbortController();
    const watching = (async () => {
      for await (const { mediaNum } of watchMedia({ client, clock, everyMs: 5000, signal: abort.signal }))
        seen.push(mediaNum);
    })();
    await clock.advance(6000);
    expect(seen).toEqual([]);
    camera.fill(102, 10);
    camera.items.splice(0, 100);
    await clock.advance(5000);
    expect(seen).toEqual([101, 102]);
    const before = camera.count(768);
    await clock.advance(50_000);
    expect(camera.count(768) - before).toBeLessThanOrEqual(20);
    abort.abort(new Error('enough'));
    await expect(watching).rejects.toThrow('enough');
  });

  test('can begin with what is there, and survives failed looks and reconnects (B5, B13)', async () => {
    const { clock, camera, client } = await connectedBench();
    camera.fill(3, 10);
    const seen: number[] = [];
    (async () => {
      for await (const { mediaNum } of watchMedia({ client, clock, everyMs: 5000, includeExisting: true }))
        seen.push(mediaNum);
    })().catch(() => {});
    await clock.advance(1000);
    expect(seen).toEqual([1, 2, 3]);
    camera.silent.add(768);
    await clock.advance(10_000);
    camera.silent.clear();
    camera.wire.cut();
    await clock.advance(30_000);
    camera.wire.restore();
    camera.items.push({ ...camera.items[0]!, mediaNum: 4 });
    await clock.advance(20_000);
    expect(seen).toEqual([1, 2, 3, 4]);
    await client.close();
  });

  test('sees the first picture after the card was formatted as new (B13)', async () => {
    const clock = new VirtualClock();
    let card: MediaItem[] = [anItem];
    const seen: MediaItem[] = [];
    const abort = new AbortController();
    const mediaList = async function* () {
      yield* card;
    };
    const watching = (async () => {
      for await (const item of watchMedia({ client: { mediaList }, clock, signal: abort.signal })) seen.push(item);
    })().catch(() => {});
    await clock.advance(1);
    card = [{ ...anItem, mediaId: 9, mediaTime: 1_800_000_000 }];
    await clock.advance(10_000);
    abort.abort();
    await watching;
    expect(seen).toEqual(card);
  });
});
