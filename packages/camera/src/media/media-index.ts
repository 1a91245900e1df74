import { z } from 'zod';
import type { MediaItem } from '../artemis/media-item.ts';
import { FILE_NAME } from './file-name.ts';

/** The index of a media folder: what the camera said of each item, and what became of it. */

export const INDEX_NAME = 'index.json';

const VERSION = 1;

/** One item in the index. */
export interface IndexEntry extends MediaItem {
  /** Name in the folder; absent when only its thumbnail was fetched. */
  readonly file?: string;
  /** Name of a video's sound in the folder. */
  readonly audio?: string;
  /** Size of the file. */
  readonly bytes?: number;
  /** When it was completed, ISO 8601. */
  readonly savedAt?: string;
  /** Name in the folder's `thumbnails`. */
  readonly thumbnail?: string;
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
  thumbnail: name.optional(),
});

const indexSchema = z.object({ version: z.literal(VERSION), items: z.array(z.unknown()) });

/** Entries of an index text, unusable ones left out; undefined when the text is no index. */
export function parseIndex(text: string): IndexEntry[] | undefined {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    // A damaged index is one of the two outcomes that callers handle.
    return undefined;
  }
  const index = indexSchema.safeParse(json);
  if (!index.success) return undefined;
  return index.data.items.flatMap((item) => {
    const entry = entrySchema.safeParse(item);
    return entry.success ? [entry.data] : [];
  });
}

/** Newest number first, as the camera lists them. */
export function formatIndex(entries: Iterable<IndexEntry>): string {
  const items = [...entries].sort(
    (a, b) => b.dirNum - a.dirNum || b.mediaNum - a.mediaNum || b.mediaTime - a.mediaTime || b.mediaId - a.mediaId,
  );
  return `${JSON.stringify({ version: VERSION, items }, null, 1)}\n`;
}

/** Names one picture for good: numbers come again after a card was formatted, together with time and id they do not. */
export function entryKey({ fileType, dirNum, mediaNum, mediaId, mediaTime }: MediaItem): string {
  return `${fileType}/${dirNum}/${mediaNum}/${mediaId}/${mediaTime}`;
}
