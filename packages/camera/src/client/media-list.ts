import { CameraError } from '../artemis/camera-error.ts';
import { type MediaListFields, mediaList } from '../artemis/commands.ts';
import { itemKey, type MediaItem, type MediaPage } from '../artemis/media-item.ts';

/** The vendor's application uses 45; cameras refuse 50 and more. docs/protocol/artemis.md, "Media list". */
export const PAGE_ITEMS = 45;

/** After this many pages in a row without a new item, the list ends: the camera repeats itself. */
const MAX_STALE_PAGES = 2;

/** More than any card contains: 512 GB of pictures of 2 MB. A camera whose list does not end must not fill the memory. */
const MAX_LISTED_ITEMS = 250_000;

/** A boundary between two pages is read again this often when items keep disappearing. */
const MAX_REREADS = 8;

/** Fetches one page; several sessions may be used for one listing. */
export type PageRequest = (command: typeof mediaList, fields: MediaListFields) => Promise<MediaPage>;

export interface ListMediaOptions {
  /** Requested items per page; a camera may return fewer. */
  pageItems: number;
  /** Called once, after the last item, with the number of entries that could not be read, if any. */
  onUnreadable?(count: number): void;
}

/**
 * Lists all items of the card, newest number first, each once.
 *
 * There is no total, and the size of a page is a wish: the list ends with an empty page, with pages that repeat what is
 * known, or where the camera refuses the page after the last one. A picture taken meanwhile moves everything one place
 * on; what pages repeat is left out, and the new picture itself, on page 0, belongs to the next listing. Items deleted
 * meanwhile move everything forward, so that the next page begins too late: where the numbers of two pages do not
 * follow on each other, the first of the two is read again.
 *
 * @throws CameraError `bad-response` when the list changes at every read or has no end; what `request` throws
 */
export async function* listMedia(
  request: PageRequest,
  { pageItems, onUnreadable }: ListMediaOptions,
): AsyncGenerator<MediaItem, void, undefined> {
  const seen = new Set<number>();
  const fresh = (page: MediaPage): MediaItem[] =>
    page.items.filter((item) => {
      const key = listKey(item);
      if (seen.has(key)) return false;
      seen.add(key);
      return true;
    });
  const read = (pageNo: number) => request(mediaList, { itemCntPerPage: pageItems, pageNo });
  let unreadable = 0;
  let stalePages = 0;
  let before: MediaPage | undefined;
  let fullSize = pageItems;
  for (let pageNo = 0; stalePages < MAX_STALE_PAGES; pageNo++) {
    if (seen.size >= MAX_LISTED_ITEMS) throw endlessError();
    let page = await readNext(read, pageNo, before, pageItems);
    for (let rereads = 0; before !== undefined && !follows(before, page, fullSize); rereads++) {
      if (rereads === MAX_REREADS) throw unstableError();
      const again = await read(pageNo - 1);
      yield* fresh(again);
      if (sameItems(again, before)) break;
      before = again;
      page = await readNext(read, pageNo, before, pageItems);
    }
    if (page === undefined || sizeOf(page) === 0) break;
    if (before !== undefined) fullSize = sizeOf(before);
    const known = seen.size;
    yield* fresh(page);
    stalePages = seen.size === known ? stalePages + 1 : 0;
    // A page of nothing but entries that cannot be read is no repetition.
    if (stalePages === 0 || page.items.length === 0) unreadable += page.unreadable;
    before = page;
  }
  if (unreadable > 0) onUnreadable?.(unreadable);
}

function unstableError(): CameraError {
  return new CameraError('bad-response', "The card's list changed at every read. Next: list it again.");
}

function endlessError(): CameraError {
  const items = MAX_LISTED_ITEMS.toLocaleString('en');
  return new CameraError(
    'bad-response',
    `The card's list has no end: more than ${items} items. Next: format the card.`,
  );
}

/** Returns a page; undefined when the camera refuses the page after one that was not full: that was the last. */
async function readNext(
  read: (pageNo: number) => Promise<MediaPage>,
  pageNo: number,
  before: MediaPage | undefined,
  pageItems: number,
): Promise<MediaPage | undefined> {
  try {
    return await read(pageNo);
  } catch (error) {
    const refused = error instanceof CameraError && error.code === 'command-refused';
    const last = before !== undefined && sizeOf(before) < pageItems;
    if (refused && last) return undefined;
    throw error;
  }
}

/**
 * True when no item can lie between the last of one page and the first of the next. @param fullSize entries of a page
 * that was followed by another
 */
function follows(before: MediaPage, page: MediaPage | undefined, fullSize: number): boolean {
  const last = before.items.at(-1);
  const first = page?.items[0];
  if (first === undefined) return sizeOf(before) < fullSize;
  if (last === undefined) return true;
  return first.dirNum === last.dirNum && first.mediaNum >= last.mediaNum - 1;
}

function sizeOf(page: MediaPage): number {
  return page.items.length + page.unreadable;
}

function sameItems(one: MediaPage, other: MediaPage): boolean {
  return one.items.length === other.items.length && one.items.every((item, at) => sameItem(item, other.items[at]));
}

function sameItem(one: MediaItem, other: MediaItem | undefined): boolean {
  return other !== undefined && listKey(one) === listKey(other);
}

function listKey(item: MediaItem): number {
  return item.fileType * 2 ** 32 + itemKey(item);
}
