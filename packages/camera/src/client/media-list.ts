import { type MediaListFields, mediaList } from '../artemis/commands.ts';
import { itemKey, type MediaItem, type MediaPage } from '../artemis/media-item.ts';

/** The vendor's app asks for 45; cameras refuse 50 and more. spec/artemis.md §7.2. */
export const PAGE_ITEMS = 45;

/** After so many full pages in a row without a new item, the camera is repeating itself. */
const MAX_STALE_PAGES = 2;

/** More than any card holds: 512 GB of pictures of 0.5 MB. */
const MAX_LISTED_ITEMS = 1_000_000;

/** Fetches one page; several sessions may serve one listing. */
export type PageRequest = (command: typeof mediaList, fields: MediaListFields) => Promise<MediaPage>;

/**
 * All items of the card, newest number first, each once. There is no total: a page that is not full is the last one.
 * A picture taken meanwhile moves everything one place on, so pages may overlap; what they repeat is left out. The new
 * picture itself, on page 0, belongs to the next listing.
 */
export async function* listMedia(request: PageRequest, pageItems: number): AsyncGenerator<MediaItem, void, undefined> {
  const seen = new Set<number>();
  let stalePages = 0;
  for (let pageNo = 0; stalePages < MAX_STALE_PAGES && seen.size < MAX_LISTED_ITEMS; pageNo++) {
    const page = await request(mediaList, { itemCntPerPage: pageItems, pageNo });
    const known = seen.size;
    for (const item of page.items) {
      const key = item.fileType * 2 ** 32 + itemKey(item);
      if (seen.has(key)) continue;
      seen.add(key);
      yield item;
    }
    if (page.entries < pageItems) return;
    stalePages = seen.size === known ? stalePages + 1 : 0;
  }
}
