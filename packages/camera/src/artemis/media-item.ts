import { z } from 'zod';
import type { JsonObject } from './json.ts';
import { type Decoded, decoded, undecodable } from './result.ts';

/** Kinds of items on the card. docs/protocol/artemis.md, "Media list". */
export const FileType = { photo: 0, mp4: 1, avi: 2 } as const;

/** Identifies an item on the camera's card. */
export interface ItemId {
  /** One of {@link FileType}. */
  readonly fileType: number;
  /** Folder number, 0…65535. */
  readonly dirNum: number;
  /** Number in the folder, 0…65535. */
  readonly mediaNum: number;
}

/** One entry of the media list. */
export interface MediaItem extends ItemId {
  /** 0 for photos. */
  readonly durationMs: number;
  readonly mediaId: number;
  /** Time of recording: seconds of the camera's local wall time, counted as if they were UTC. */
  readonly mediaTime: number;
}

/** One page of the list, newest number first. */
export interface MediaPage {
  readonly pageNo: number;
  readonly items: readonly MediaItem[];
  /** Number of entries that could not be read; they exist on the card but are not listed. */
  readonly unreadable: number;
}

/** Returns the key of an item on channels 3 and 4, where records contain no file type. */
export function itemKey(item: { readonly dirNum: number; readonly mediaNum: number }): number {
  return item.dirNum * 65536 + item.mediaNum;
}

/** Returns an item in the form of the requests 772, 773 and 1285: the list says `mediaDirNum`, these say `dirNum`. */
export function itemFields({ fileType, dirNum, mediaNum }: ItemId): ItemId {
  return { fileType, dirNum, mediaNum };
}

/** Parses a whole number in a range; some firmware writes it as decimal digits in a string. */
const integer = (max: number) =>
  z
    .union([
      z.number(),
      z
        .string()
        .regex(/^\d{1,10}$/)
        .transform(Number),
    ])
    .pipe(z.int().min(0).max(max));

const uint16 = integer(0xffff);
const uint32 = integer(0xffff_ffff);

const entrySchema = z.object({
  fileType: integer(255),
  mediaDirNum: uint16,
  mediaNum: uint16,
  durationMs: uint32.catch(0),
  mediaId: uint32.catch(0),
  mediaTime: uint32.catch(0),
});

/** Far above the 49 that cameras serve; a longer page is refused. */
const MAX_PAGE_ENTRIES = 1000;

const pageSchema = z.object({
  // Null without a card.
  mediaFiles: z.array(z.unknown()).max(MAX_PAGE_ENTRIES).nullable().default([]),
  pageNo: z.int().min(0).catch(0),
});

export function parseMediaPage(json: JsonObject): Decoded<MediaPage> {
  const parsed = pageSchema.safeParse(json);
  if (!parsed.success) return undecodable('unexpected-fields', 'The media list has no usable mediaFiles.');
  const { pageNo } = parsed.data;
  const mediaFiles = parsed.data.mediaFiles ?? [];
  const items: MediaItem[] = [];
  for (const raw of mediaFiles) {
    const entry = entrySchema.safeParse(raw);
    if (!entry.success) continue;
    const { mediaDirNum, ...rest } = entry.data;
    items.push({ ...rest, dirNum: mediaDirNum });
  }
  return decoded({ pageNo, items, unreadable: mediaFiles.length - items.length });
}
