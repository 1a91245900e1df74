import { z } from 'zod';
import type { JsonObject } from './json.ts';
import { type Decoded, decoded, undecodable } from './result.ts';

/** Kinds of items on the card. spec/artemis.md §7.2. */
export const FileType = { photo: 0, mp4: 1, avi: 2 } as const;

/** What names an item on the camera's card. */
export interface ItemId {
  /** One of {@link FileType}. */
  readonly fileType: number;
  /** Folder number, 0…65535. */
  readonly dirNum: number;
  /** Number in the folder, 0…65535. */
  readonly mediaNum: number;
}

/** One entry of the camera's list. */
export interface MediaItem extends ItemId {
  /** 0 for photos. */
  readonly durationMs: number;
  readonly mediaId: number;
  /** When it was taken: seconds of the camera's local wall time, counted as if they were UTC. */
  readonly mediaTime: number;
}

/** One page of the list, newest number first. */
export interface MediaPage {
  readonly pageNo: number;
  readonly items: readonly MediaItem[];
  /** Entries that the camera sent, unusable ones included: what decides whether another page follows. */
  readonly entries: number;
}

/** The key of an item on channels 3 and 4, where records carry no file type. */
export function itemKey(item: { readonly dirNum: number; readonly mediaNum: number }): number {
  return item.dirNum * 65536 + item.mediaNum;
}

/** An item as the requests 772, 773 and 1285 name it: the list says `mediaDirNum`, these say `dirNum`. */
export function itemFields({ fileType, dirNum, mediaNum }: ItemId): ItemId {
  return { fileType, dirNum, mediaNum };
}

const uint16 = z.int().min(0).max(0xffff);

const entrySchema = z.object({
  fileType: z.int().min(0).max(255),
  mediaDirNum: uint16,
  mediaNum: uint16,
  durationMs: z.number().min(0).catch(0),
  mediaId: z.number().min(0).catch(0),
  mediaTime: z.number().min(0).catch(0),
});

/** Far above the 49 that cameras serve; a page with more is not a page. */
const MAX_PAGE_ENTRIES = 1000;

const pageSchema = z.object({
  mediaFiles: z.array(z.unknown()).max(MAX_PAGE_ENTRIES).default([]),
  pageNo: z.int().min(0).catch(0),
});

export function parseMediaPage(json: JsonObject): Decoded<MediaPage> {
  const parsed = pageSchema.safeParse(json);
  if (!parsed.success) return undecodable('unexpected-fields', 'The media list has no usable mediaFiles.');
  const { mediaFiles, pageNo } = parsed.data;
  const items: MediaItem[] = [];
  for (const raw of mediaFiles) {
    const entry = entrySchema.safeParse(raw);
    if (!entry.success) continue;
    const { mediaDirNum, ...rest } = entry.data;
    items.push({ ...rest, dirNum: mediaDirNum });
  }
  return decoded({ pageNo, items, entries: mediaFiles.length });
}
