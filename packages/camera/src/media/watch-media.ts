import { type Clock, errorMessage, type Log, silentLog, SystemClock } from '@towpath/core';
import { CameraError } from '../artemis/camera-error.ts';
import type { MediaItem } from '../artemis/media-item.ts';
import { PAGE_ITEMS } from '../client/media-list.ts';
import { entryKey } from './media-index.ts';
import type { MediaSource } from './media-source.ts';

export interface WatchMediaOptions {
  client: Pick<MediaSource, 'mediaList'>;
  clock?: Clock;
  log?: Log | undefined;
  /** Interval of checks, ms. The camera does not report new pictures. @default 10000 */
  everyMs?: number;
  /** Also yield the items that are on the card at the start. @default false */
  includeExisting?: boolean;
  signal?: AbortSignal | undefined;
}

const EVERY_MS = 10_000;

/**
 * Yields new pictures and videos, the oldest of each check first. Ends only by its signal, by its reader,
 * or with the client; after a failed check the next one includes its items.
 * @throws CameraError `client-closed`, `not-logged-in`, `command-refused`, `bad-response`; the signal's reason.
 */
export async function* watchMedia(options: WatchMediaOptions): AsyncGenerator<MediaItem, void, undefined> {
  let first = true;
  for await (const { items } of watchChecks(options)) {
    if (!first || options.includeExisting) yield* items;
    first = false;
  }
}

/** One successful check of the card. */
export interface MediaCheck {
  /** Items that no check before has seen, oldest first; at the first check all of the card. */
  readonly items: readonly MediaItem[];
  /** Entries of the list that could not be read. */
  readonly unreadable: number;
}

/** Yields every successful check, those without new items too. Ends and throws as {@link watchMedia}. */
export async function* watchChecks(
  options: Omit<WatchMediaOptions, 'includeExisting'>,
): AsyncGenerator<MediaCheck, void, undefined> {
  const { client, everyMs = EVERY_MS, signal } = options;
  const clock = options.clock ?? new SystemClock();
  const log = options.log ?? silentLog;
  const seen = new Set<string>();
  for (let first = true; ; ) {
    const lookedAt = clock.now();
    try {
      const check = await look(client, seen, first, signal);
      first = false;
      yield check;
    } catch (error) {
      if (!isPassing(error)) throw error;
      log.info(`Check for new pictures failed: ${errorMessage(error)}`);
    }
    await clock.sleep(lookedAt + everyMs - clock.now(), signal);
  }
}

/** Returns items that were not seen before, oldest first. */
async function look(
  client: Pick<MediaSource, 'mediaList'>,
  seen: Set<string>,
  first: boolean,
  signal: AbortSignal | undefined,
): Promise<MediaCheck> {
  const fresh: MediaItem[] = [];
  let known = 0;
  let unreadable = 0;
  const onUnreadable = (count: number) => {
    unreadable = count;
  };
  for await (const item of client.mediaList({ signal, onUnreadable })) {
    const key = entryKey(item);
    if (!seen.has(key)) {
      fresh.push(item);
      known = 0;
    } else if (++known >= PAGE_ITEMS && !first) {
      // New items come first; after a page of known ones there are no new ones.
      break;
    }
  }
  for (const item of fresh) seen.add(entryKey(item));
  return { items: fresh.reverse(), unreadable };
}

function isPassing(error: unknown): boolean {
  return error instanceof CameraError && (error.code === 'command-timeout' || error.code === 'session-closed');
}
