import { describe, expect, test } from 'vitest';
import type { CameraError } from '../src/artemis/camera-error.ts';
import { Channel, encodeFrame, MessageType } from '../src/artemis/frame.ts';
import type { ItemId } from '../src/artemis/media-item.ts';
import { connectedBench, drain, failure, type FakeItem } from './client-fixture.ts';

const photo = (mediaNum: number): ItemId => ({ fileType: 0, dirNum: 100, mediaNum });
const bytesOf = (items: readonly FakeItem[]) => new Map(items.map(({ mediaNum, data }) => [mediaNum, [...data]]));

describe('media list', () => {
  test('reads 83 items over two pages and an empty one, newest number first (B3, B13)', async () => {
    const { clock, camera, client } = await connectedBench();
    camera.fill(83);
    const items = await clock.runUntil(drain(client.mediaList()));
    expect(items.map(({ mediaNum }) => mediaNum)).toEqual(Array.from({ length: 83 }, (_, n) => 83 - n));
    expect(items[0]).toMatchObject({ fileType: 0, dirNum: 100, mediaId: 83_000, mediaTime: 1_700_000_083 });
    expect(camera.requests.filter(({ json }) => json.cmdId === 768).map(({ json }) => json)).toMatchObject([
      { itemCntPerPage: 45, pageNo: 0, token: 7001 },
      { itemCntPerPage: 45, pageNo: 1, token: 7001 },
      { itemCntPerPage: 45, pageNo: 2, token: 7001 },
    ]);
  });

  test.each([
    [0, 1],
    [44, 2],
    [45, 3],
    [90, 4],
  ])('of %i items takes %i requests (B3)', async (count, requests) => {
    const { clock, camera, client } = await connectedBench();
    camera.fill(count, 10);
    expect(await clock.runUntil(drain(client.mediaList()))).toHaveLength(count);
    expect(camera.count(768)).toBe(requests);
  });

  test('names every old item once although pictures are taken meanwhile (B13)', async () => {
    const { clock, camera, client } = await connectedBench();
    camera.fill(100, 10);
    const seen: number[] = [];
    const listing = (async () => {
      for await (const { mediaNum } of client.mediaList()) {
        seen.push(mediaNum);
        if (mediaNum === 90)
          camera.items.push({ ...camera.items[0]!, mediaNum: 101 }, { ...camera.items[0]!, mediaNum: 102 });
      }
    })();
    await clock.runUntil(listing);
    expect(seen).toEqual(Array.from({ length: 100 }, (_, n) => 100 - n));
  });

  test('ends when the camera repeats one full page for ever (B13)', async () => {
    const { clock, camera, client } = await connectedBench();
    camera.fill(3, 10);
    const entry = (mediaNum: number) => ({
      fileType: 0,
      mediaDirNum: 1,
      mediaNum,
      durationMs: 0,
      mediaId: 1,
      mediaTime: 1,
    });
    camera.answers.set(768, { mediaFiles: [entry(1), entry(2)], result: 0 });
    expect(await clock.runUntil(drain(client.mediaList({ pageItems: 2 })))).toHaveLength(2);
    expect(camera.count(768)).toBe(3);
  });

  test('passes on that the camera refuses the size of a page (B3)', async () => {
    const { clock, camera, client } = await connectedBench();
    camera.answers.set(768, { getMediaListRet: -1, errorMsg: 'need less than 50' });
    const error = await clock.runUntil(failure(drain(client.mediaList({ pageItems: 50 }))));
    expect(error).toMatchObject({ code: 'command-refused', details: { getMediaListRet: -1 } });
    expect(() => client.mediaList({ pageItems: 0 })).toThrow('must be at least 1');
  });
});

describe('transfer', () => {
  test('fetches files in batches, byte for byte, each once (B13)', async () => {
    const { clock, camera, client } = await connectedBench();
    camera.fill(40, 5000);
    const wanted = camera.items.map(({ mediaNum }) => photo(mediaNum));
    const results = await clock.runUntil(drain(client.download([...wanted, ...wanted])));
    expect(new Map(results.map(({ item, data }) => [item.mediaNum, [...data!]]))).toEqual(bytesOf(camera.items));
    expect(results).toHaveLength(40);
    expect(camera.count(1285)).toBe(3);
  });

  test('fetches a page of thumbnails with one request (B3)', async () => {
    const { clock, camera, client } = await connectedBench();
    camera.fill(45, 300);
    const results = await clock.runUntil(drain(client.thumbnails(camera.items)));
    expect(new Map(results.map(({ item, data }) => [item.mediaNum, [...data!]]))).toEqual(bytesOf(camera.items));
    expect(camera.count(772)).toBe(1);
  });

  test('asks again for items that were passed over, at once (B3)', async () => {
    const { clock, camera, client } = await connectedBench();
    camera.fill(5, 300);
    camera.passOver.set('100/2', 1);
    const startedAt = clock.now();
    const results = await clock.runUntil(drain(client.thumbnails(camera.items)));
    expect(results.map(({ item }) => item.mediaNum)).toEqual([1, 3, 4, 5, 2]);
    expect(clock.now() - startedAt).toBeLessThan(500);
    expect(camera.requests.at(-1)!.json.thumbnailReqs).toEqual([photo(2)]);
  });

  test('asks again after a second of silence (B3)', async () => {
    const { clock, camera, client } = await connectedBench();
    camera.fill(5, 300);
    camera.passOver.set('100/4', 1).set('100/5', 1);
    const startedAt = clock.now();
    const results = await clock.runUntil(drain(client.thumbnails(camera.items)));
    expect(results.map(({ item }) => item.mediaNum)).toEqual([1, 2, 3, 4, 5]);
    expect(clock.now() - startedAt).toBeGreaterThan(1000);
    expect(clock.now() - startedAt).toBeLessThan(1500);
  });

  test('gives an item up that the camera does not have, and goes on with the rest (B3)', async () => {
    for (const missing of [1, 3, 5]) {
      const { clock, camera, client } = await connectedBench();
      camera.fill(5, 300);
      camera.passOver.set(`100/${missing}`, 1000);
      const results = await clock.runUntil(drain(client.download(camera.items)));
      const failed = results.filter(({ error }) => error);
      expect(failed.map(({ item }) => item.mediaNum)).toEqual([missing]);
      expect(['item-missing', 'transfer-stalled']).toContain(failed[0]!.error!.code);
      expect(results.filter(({ data }) => data)).toHaveLength(4);
    }
  });

  test('reports an item without data (B3)', async () => {
    const { clock, camera, client } = await connectedBench();
    camera.items.push({ ...photo(1), data: new Uint8Array(0) });
    const [result] = await clock.runUntil(drain(client.download([photo(1)])));
    expect(result?.error).toMatchObject({ code: 'item-empty', details: { dirNum: 100, mediaNum: 1 } });
  });

  test('asks again for a file whose end check fails, and gives it up in the end (B13)', async () => {
    const { clock, camera, client } = await connectedBench();
    camera.fill(3, 300);
    camera.damage.set('100/1', 2).set('100/3', 1000);
    const results = await clock.runUntil(drain(client.download(camera.items)));
    const outcome = new Map(results.map(({ item, data, error }) => [item.mediaNum, data ? [...data] : error?.code]));
    expect(outcome).toEqual(bytesOf(camera.items).set(3, 'item-damaged' as never));
  });

  test('yields a refusal as the outcome of each item (B3)', async () => {
    const { clock, camera, client } = await connectedBench();
    camera.fill(3, 300);
    camera.stuckTransfers = true;
    camera.answers.set(1285, { cmdRet: -2, result: 0 });
    const results = await clock.runUntil(drain(client.download(camera.items)));
    expect(results.map(({ error }) => error?.code)).toEqual(['command-refused', 'command-refused', 'command-refused']);
    expect(results[0]!.error!.details).toMatchObject({ cmdRet: -2 });
  });

  test('fails as a whole when the camera answers but never sends (B3)', async () => {
    const { clock, camera, client } = await connectedBench();
    camera.fill(60, 300);
    camera.stuckTransfers = true;
    const startedAt = clock.now();
    const error = await clock.runUntil(failure(drain(client.download(camera.items))));
    expect(error.code).toBe('transfer-stalled');
    expect(clock.now() - startedAt).toBeLessThan(30_000);
  });

  test('ignores records that were not asked for and damaged frames (B2)', async () => {
    const { clock, camera, client } = await connectedBench();
    camera.fill(2, 300);
    camera.itemMs = 100;
    const results = drain(client.thumbnails([photo(1)]));
    await clock.advance(20);
    camera.session.write(Channel.thumbnail, Buffer.from('noise'));
    camera.session.write(Channel.thumbnail, encodeFrame(MessageType.thumbnail, 1, new Uint8Array(10)));
    camera.session.write(Channel.thumbnail, encodeFrame(MessageType.file, 1, new Uint8Array(100)));
    expect(await clock.runUntil(results)).toHaveLength(1);
  });

  test('pauses the camera while its reader is busy, and loses nothing (B13)', async () => {
    const { clock, camera, client } = await connectedBench();
    camera.fill(16, 1_000_000);
    const received: number[] = [];
    let wasPaused = false;
    const reading = (async () => {
      for await (const { item, data } of client.download(camera.items)) {
        await clock.sleep(5000);
        wasPaused ||= camera.session.other.paused[Channel.file]!;
        expect(data?.length).toBe(1_000_000);
        received.push(item.mediaNum);
      }
    })();
    await clock.runUntil(reading);
    expect(received).toHaveLength(16);
    expect(wasPaused).toBe(true);
    expect(camera.count(1285)).toBe(1);
    expect(camera.session.other.paused[Channel.file]).toBe(false);
  });

  test('runs one at a time per kind, the next in turn (B13)', async () => {
    const { clock, camera, client } = await connectedBench();
    camera.fill(4, 300);
    const abort = new AbortController();
    const first = drain(client.download([photo(1), photo(2)]));
    const given = failure(drain(client.download([photo(3)], { signal: abort.signal })));
    const last = drain(client.download([photo(4)]));
    abort.abort(new Error('no longer wanted'));
    await expect(given).resolves.toMatchObject({ message: 'no longer wanted' });
    expect(await clock.runUntil(Promise.all([first, last]))).toMatchObject([{ length: 2 }, { length: 1 }]);
    expect(camera.count(1285)).toBe(2);
  });

  test('stops when its signal aborts, leaving no timer of its own (B13)', async () => {
    const { clock, camera, client } = await connectedBench();
    camera.fill(30, 300);
    camera.itemMs = 400;
    const abort = new AbortController();
    const reading = failure(drain(client.download(camera.items, { signal: abort.signal })));
    await clock.advance(1000);
    abort.abort(new Error('enough'));
    expect((await reading).message).toBe('enough');
    expect(await clock.runUntil(drain(client.download([photo(30)])))).toHaveLength(1);
    await client.close();
    await clock.advance(10_000);
    expect(clock.pendingTimers).toBe(0);
  });

  test('tells of bytes as they arrive (B13)', async () => {
    const { clock, camera, client } = await connectedBench();
    camera.fill(2, 10_000);
    let bytes = 0;
    await clock.runUntil(drain(client.download(camera.items, { onBytes: (count) => (bytes += count) })));
    expect(bytes).toBe(2 * (20 + 72 + 10_000));
  });
});

describe('single commands', () => {
  test('delete one item, and report the refusal (B3)', async () => {
    const { clock, camera, client } = await connectedBench();
    await clock.runUntil(client.deleteItem(photo(7)));
    expect(camera.requests.at(-1)!.json).toEqual({ cmdId: 773, ...photo(7), token: 7001 });
    camera.answers.set(773, { delRet: -1, result: 0 });
    const error = (await clock.runUntil(failure(client.deleteItem(photo(7))))) as CameraError;
    expect(error).toMatchObject({ code: 'command-refused', details: { delRet: -1 } });
  });

  test('format the card only when it was confirmed (B3)', async () => {
    const { clock, camera, client } = await connectedBench();
    expect(await failure(client.formatSdCard())).toMatchObject({ code: 'confirmation-required' });
    expect(camera.count(518)).toBe(0);
    camera.answers.set(518, { sdTotalMB: 100, sdFreeMB: 99, formatRet: 0, result: 0 });
    expect(await clock.runUntil(client.formatSdCard({ confirm: true }))).toEqual({ sdTotalMB: 100, sdFreeMB: 99 });
  });

  test('read the device info, and any command by its number (B3)', async () => {
    const { clock, client } = await connectedBench();
    expect(await clock.runUntil(client.deviceInfo())).toMatchObject({ devId: '00:11:22:33:44:55', batPercent: 42 });
    expect(await clock.runUntil(client.command(641, { mode: 1 }))).toMatchObject({ result: 0 });
  });
});

test('a thumbnail of more bytes than a thumbnail has is refused and said; the others come (C10)', async () => {
  const { clock, camera, client } = await connectedBench();
  camera.fill(3, 1000);
  camera.items[1]!.data = new Uint8Array(1024 * 1024 + 1);
  const results = await clock.runUntil(drain(client.thumbnails(camera.items)));
  const byNumber = new Map(results.map(({ item, data, error }) => [item.mediaNum, data?.length ?? error?.code]));
  expect([1, 2, 3].map((number) => byNumber.get(number))).toEqual([1000, 'item-damaged', 1000]);
  expect(results.find(({ item }) => item.mediaNum === 2)?.error?.message).toContain('1048577 bytes');
  await client.close();
});
