import type { MediaItem } from '../src/artemis/media-item.ts';

/** Returns the entry of a picture in folder 100; those with higher numbers were taken later. */
export function item(mediaNum: number): MediaItem {
  return {
    fileType: 0,
    dirNum: 100,
    mediaNum,
    durationMs: 0,
    mediaId: 1000 + mediaNum,
    mediaTime: 1_700_000_000 + mediaNum,
  };
}
