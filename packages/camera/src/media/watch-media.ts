import { type Clock, errorMessage, type Log, silentLog, SystemClock } from '@towpath/core';
import { CameraError } from '../artemis/camera-error.ts';
import type { MediaItem } from '../artemis/media-item.ts';
import { PAGE_ITEMS } from '../client/media-list.ts';
import { entryKey } from './media-index.ts';
import type { MediaSource } from './media-source.ts';

export interface WatchMediaOptions {
  client: Pick<MediaSource, 'mediaList'>;
  clock?: Clock;
  log?: Log;
  /** How often to look, ms. The camera does not tell of new pictures. @default 10000 */
  everyMs?: number;
  /** Yield what is on the card at the start too. @default false */
  includeExisting?: boolean;
  signal?: AbortSignal;
}

const EVERY_MS = 10_000;

/**
 * New pictures and videos as they appear on the card, the oldest of each look first. Ends only by its signal, by its reader
 * stopping, or with the client; a look that fails is made up for by the next.
 * @throws CameraError `client-closed`, `not-logged-in`, `command-refused`, `bad-response`; the signal's reason.
 */
export async function* watchMedia(options: WatchMediaOptions): AsyncGenerator<MediaItem, void, undefined> {
  const { client, everyMs = EVERY_MS, includeExisting = false, signal } = options;
  const clock = options.clock ?? new SystemClock();
  const log = options.log ?? silentLog;
  const seen = new Set<string>();
  for (let first = true; ; ) {
    const lookedAt = clock.now();
    try {
      const fresh = await look(client, seen, first, signal);
      const isNews = !first || includeExisting;
      first = false;
      if (isNews) yield* fresh;
    } catch (error) {
      if (!isPassing(error)) throw error;
      log.info(`Could not look for new pictures: ${errorMessage(error)}`);
    }
    await clock.sleep(lookedAt + everyMs - clock.now(), signal);
  }
}

/** Items that were not seen before, oldest first. */
async function look(
  client: Pick<MediaSource, 'mediaList'>,
  seen: Set<string>,
  first: boolean,
  signal: AbortSignal | undefined,
): Promise<MediaItem[]> {
  const fresh: MediaItem[] = [];
  let known = 0;
  for await (const item of client.mediaList({ signal })) {
    const key = entryKey(item);
    if (!seen.has(key)) {
      fresh.push(item);
      known = 0;
    } else if (++known >= PAGE_ITEMS && !first) {
      // New ones stand first; behind a page of known ones there are only more of them.
      break;
    }
  }
  for (const item of fresh) seen.add(entryKey(item));
  return fresh.reverse();
}

function isPassing(error: unknown): boolean {
  return error instanceof CameraError && (error.code === 'command-timeout' || error.code === 'session-closed');
}
