import { z } from 'zod';
import type { MediaItem } from '../artemis/media-item.ts';
import { FILE_NAME } from './file-name.ts';

/** The index of a media folder: the camera's data of each item, and its files. */

export const INDEX_NAME = 'index.json';

/** That of a card with 250,000 items has 90 MB. */
export const MAX_INDEX_BYTES: number = 256 * 1024 * 1024;

const VERSION = 1;

/** Device ids are MAC addresses in text form; a record has room for 31 characters. */
const MAX_CAMERA_LENGTH = 64;

/** One item in the index. */
export interface IndexEntry extends MediaItem {
  /** File name; absent when only its thumbnail was downloaded. */
  readonly file?: string | undefined;
  /** Name of a video's sound in the folder. */
  readonly audio?: string | undefined;
  /** Size of the file. */
  readonly bytes?: number | undefined;
  /** When it was completed, ISO 8601. */
  readonly savedAt?: string | undefined;
  /** Frames that a video lacks; absent when it has all. */
  readonly lostFrames?: number | undefined;
  /** Name in the folder's `thumbnails`. */
  readonly thumbnail?: string | undefined;
  /** When it was taken, ISO 8601 with the offset of the camera's zone; absent when the camera gave no time. */
  readonly takenAt?: string | undefined;
  /** The camera sent it without data, at this time, ISO 8601. */
  readonly emptyAt?: string | undefined;
  /** It was on the card when the folder was first used for new items only, and is not wanted. */
  readonly baseline?: boolean | undefined;
}

const number = z.number().min(0);
const uint16 = z.int().min(0).max(0xffff);
const name = z.string().regex(FILE_NAME);

const entrySchema: z.ZodType<IndexEntry> = z.object({
  fileType: z.int().min(0).max(255),
  dirNum: uint16,
  mediaNum: uint16,
  durationMs: number,
  mediaId: number,
  mediaTime: number,
  file: name.optional(),
  audio: name.optional(),
  bytes: number.optional(),
  savedAt: z.string().optional(),
  lostFrames: number.optional(),
  thumbnail: name.optional(),
  takenAt: z.string().optional(),
  emptyAt: z.string().optional(),
  baseline: z.boolean().optional(),
});

const indexSchema = z.object({
  version: z.literal(VERSION),
  camera: z.string().max(MAX_CAMERA_LENGTH).optional(),
  items: z.array(z.unknown()),
});

/** Content of an index file. */
export interface MediaIndex {
  /** Device id of the camera whose items these are; undefined in an index of an older version. */
  readonly camera: string | undefined;
  readonly entries: readonly IndexEntry[];
}

/** Returns the entries of an index text without invalid ones; undefined when the text is not an index. */
export function parseIndex(text: string): MediaIndex | undefined {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    // A damaged index is an expected case for callers.
    return undefined;
  }
  const index = indexSchema.safeParse(json);
  if (!index.success) return undefined;
  const entries = index.data.items.flatMap((item) => {
    const entry = entrySchema.safeParse(item);
    return entry.success ? [entry.data] : [];
  });
  return { camera: index.data.camera, entries };
}

/** Newest number first, as the camera lists them. */
export function formatIndex(camera: string | undefined, entries: Iterable<IndexEntry>): string {
  const items = [...entries].sort(
    (a, b) => b.dirNum - a.dirNum || b.mediaNum - a.mediaNum || b.mediaTime - a.mediaTime || b.mediaId - a.mediaId,
  );
  return `${JSON.stringify({ version: VERSION, camera, items }, null, 1)}\n`;
}

/** Identifies one picture: numbers repeat after a card was formatted, but not together with time and id. */
export function entryKey({ fileType, dirNum, mediaNum, mediaId, mediaTime }: MediaItem): string {
  return `${fileType}/${dirNum}/${mediaNum}/${mediaId}/${mediaTime}`;
}
