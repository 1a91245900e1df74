import { describe, expect, test } from 'vitest';
import { CameraError } from '../src/artemis/camera-error.ts';
import type { MediaItem, MediaPage } from '../src/artemis/media-item.ts';
import { parseMediaPage } from '../src/artemis/media-item.ts';
import { parseJsonObject } from '../src/artemis/json.ts';
import { listMedia, type PageRequest } from '../src/client/media-list.ts';

const item = (mediaNum: number): MediaItem => ({
  fileType: 0,
  dirNum: 100,
  mediaNum,
  durationMs: 0,
  mediaId: mediaNum,
  mediaTime: mediaNum,
});

/** Numbers from high to low, as cameras list them. */
function numbers(from: number, to: number): number[] {
  return Array.from({ length: from - to + 1 }, (_, at) => from - at);
}

interface Listed {
  readonly numbers: number[];
  readonly unreadable: number;
  readonly requests: number;
}

async function listed(
  answer: (pageNo: number, request: number) => MediaPage | number[],
  pageItems = 45,
): Promise<Listed> {
  let requests = 0;
  const request: PageRequest = async (_command, { pageNo }) => {
    const page = answer(pageNo, requests++);
    return Array.isArray(page) ? { pageNo, items: page.map(item), unreadable: 0 } : page;
  };
  const found: number[] = [];
  let unreadable = 0;
  const onUnreadable = (count: number) => {
    unreadable += count;
  };
  for await (const { mediaNum } of listMedia(request, { pageItems, onUnreadable })) found.push(mediaNum);
  return { numbers: found, unreadable, requests };
}

const pageOf = (all: readonly number[], pageNo: number, size: number) => all.slice(pageNo * size, (pageNo + 1) * size);

describe('listing the card', () => {
  test('a camera that gives smaller pages than asked is read to its end (D5)', async () => {
    const all = numbers(100, 1);
    expect((await listed((pageNo) => pageOf(all, pageNo, 20))).numbers).toEqual(all);
  });

  test('items that vanish between two pages hide none of those that still exist (D5)', async () => {
    const before = numbers(100, 1);
    const after = numbers(95, 1);
    const { numbers: found } = await listed((pageNo, request) => pageOf(request === 0 ? before : after, pageNo, 45));
    expect(found.filter((number) => number <= 95).toSorted((a, b) => b - a)).toEqual(after);
  });

  test('items that vanish again and again hide none of those that are left at the end (D5)', async () => {
    const { numbers: found } = await listed((pageNo, request) =>
      pageOf(numbers(300 - 2 * Math.floor(request / 3), 1), pageNo, 45),
    );
    expect(found).toEqual(expect.arrayContaining(numbers(200, 1)));
  });

  test('a list that changes at every read is an error, not a shorter list (D5)', async () => {
    const restless = listed((pageNo, request) => pageOf(numbers(3000 - 2 * request, 1), pageNo, 45));
    await expect(restless).rejects.toMatchObject({ code: 'bad-response' });
  });

  test('a page that was deleted from the end is noticed too (D5)', async () => {
    const { numbers: found } = await listed((pageNo, request) =>
      pageOf(request < 2 ? numbers(100, 1) : numbers(80, 1), pageNo, 45),
    );
    expect(found).toEqual(expect.arrayContaining(numbers(80, 1)));
  });

  test('a camera that refuses the page behind its last one has been read to its end (D5)', async () => {
    const all = numbers(83, 1);
    const { numbers: found } = await listed((pageNo) => {
      if (pageNo > 1) throw new CameraError('command-refused', 'no such page');
      return pageOf(all, pageNo, 45);
    });
    expect(found).toEqual(all);
  });

  test('a refusal behind a full page is an error, not the end (D5)', async () => {
    const refused = listed((pageNo) => {
      if (pageNo > 0) throw new CameraError('command-refused', 'busy');
      return numbers(45, 1);
    });
    await expect(refused).rejects.toMatchObject({ code: 'command-refused' });
  });

  test('a camera that repeats one page for ever ends the list', async () => {
    const { numbers: found, requests } = await listed(() => numbers(45, 1));
    expect(found).toEqual(numbers(45, 1));
    expect(requests).toBeLessThan(10);
  });

  test('entries that cannot be read are counted (D5)', async () => {
    const page = (pageNo: number): MediaPage =>
      pageNo === 0 ? { pageNo, items: [item(2), item(1)], unreadable: 3 } : { pageNo, items: [], unreadable: 0 };
    expect(await listed(page)).toMatchObject({ numbers: [2, 1], unreadable: 3 });
  });
});

describe('entries of the list', () => {
  const parse = (json: object) => {
    const page = parseMediaPage(json as Record<string, unknown>);
    return page.ok ? page.value : undefined;
  };

  test('numbers that come as text are numbers (D5)', () => {
    const entry = { fileType: '0', mediaDirNum: '100', mediaNum: '7', mediaId: '9', mediaTime: '1764000000' };
    expect(parse({ mediaFiles: [entry] })).toMatchObject({
      items: [{ fileType: 0, dirNum: 100, mediaNum: 7, mediaId: 9, mediaTime: 1_764_000_000 }],
      unreadable: 0,
    });
  });

  test.each(['-1', '1e300', '0x10', '', ' 7', '99999999999'])('%j is no number of an item', (mediaNum) => {
    expect(parse({ mediaFiles: [{ fileType: 0, mediaDirNum: 100, mediaNum }] })).toMatchObject({
      items: [],
      unreadable: 1,
    });
  });

  test('times and ids that no clock has are 0, and the item stays', () => {
    const entry = { fileType: 0, mediaDirNum: 100, mediaNum: 7, mediaTime: 1e300, mediaId: -5, durationMs: null };
    expect(parse({ mediaFiles: [entry] })?.items[0]).toMatchObject({ mediaTime: 0, mediaId: 0, durationMs: 0 });
  });

  test('a camera without a card lists null, which is an empty list', () => {
    expect(parse({ mediaFiles: null })).toEqual({ pageNo: 0, items: [], unreadable: 0 });
  });

  test('JSON nested too deep is refused before anything walks it', () => {
    const deep = `{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}`;
    expect(parseJsonObject(deep)).toMatchObject({ ok: false });
    expect(parseJsonObject(`{"a":"${'['.repeat(1000)}"}`)).toMatchObject({ ok: true });
  });
});
