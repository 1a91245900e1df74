import { useCallback, useEffect, useRef, useState } from 'react';
import type { MediaDay, MediaItem, MediaList } from '../../api/cameras.ts';
import { countItem, GalleryDays, uncountItems } from './gallery-days.ts';
import { type Loaded, useLoaded, usePage } from './hooks.ts';

const PAGE_ITEMS = 100;
/** A day with more pages than this is cut: a camera does not take so many pictures on one day. */
const MAX_PAGES = 200;
/** Days that are read side by side. */
const MAX_READING = 3;

export interface Gallery {
  readonly days: Loaded<readonly MediaDay[]>;
  readonly items: GalleryDays;
  /** Reads these days, if they were not read yet; others that still wait are given up. */
  want(days: readonly string[]): void;
  again(): void;
}

/** The pictures of a camera: the days at once, the pictures of a day when it is looked at, changes as they happen. */
export function useGallery(camera: string): Gallery {
  const { session } = usePage();
  const { loaded, again } = useLoaded(`days/${camera}`, (signal) =>
    session.api.call<MediaDay[]>('days', { parts: { camera }, signal }),
  );
  const [items, setItems] = useState(() => new GalleryDays());
  const [changed, setChanged] = useState<readonly MediaDay[] | undefined>(undefined);
  const held = useRef(items);
  held.current = items;
  const waiting = useRef<string[]>([]);
  const reading = useRef(new Set<string>());
  const stop = useRef<AbortController | undefined>(undefined);

  useEffect(() => {
    const controller = new AbortController();
    stop.current = controller;
    return () => controller.abort();
  }, []);

  const read = useCallback(
    async (day: string): Promise<void> => {
      const signal = stop.current?.signal;
      const found: MediaItem[] = [];
      let after: string | undefined;
      for (let page = 0; page < MAX_PAGES; page++) {
        const query = { day, after, limit: PAGE_ITEMS };
        const list = await session.api.call<MediaList>('media', {
          parts: { camera },
          query,
          ...(signal ? { signal } : {}),
        });
        found.push(...list.items);
        if (list.next === null) break;
        after = list.next;
      }
      if (signal?.aborted !== true) setItems((known) => known.with(day, found));
    },
    [camera, session],
  );

  const pump = useCallback((): void => {
    while (reading.current.size < MAX_READING) {
      const day = waiting.current.shift();
      if (day === undefined) return;
      if (held.current.get(day) !== undefined || reading.current.has(day)) continue;
      reading.current.add(day);
      read(day)
        .catch(() => undefined)
        .finally(() => {
          reading.current.delete(day);
          pump();
        });
    }
  }, [read]);

  const want = useCallback(
    (days: readonly string[]): void => {
      waiting.current = days.filter((day) => held.current.get(day) === undefined);
      pump();
    },
    [pump],
  );

  const known = changed ?? (loaded.state === 'ready' ? loaded.value : undefined);
  const knownDays = useRef(known);
  knownDays.current = known;
  // Read again: what was counted from events is in the answer.
  useEffect(() => {
    if (loaded.state !== 'ready') return;
    setChanged(undefined);
    setItems(new GalleryDays());
  }, [loaded]);

  useEffect(
    () =>
      session.onMedia((changes) => {
        for (const change of changes) {
          if (change.camera !== camera) continue;
          if (change.type === 'media') {
            const { item } = change;
            // A day that was counted but not read is counted again when its pictures are looked at.
            const read = held.current.get(item.day);
            if (read === undefined && !knownDays.current?.some(({ day }) => day === item.day)) {
              setChanged((before) => countItem(before ?? knownDays.current ?? [], item));
              setItems((now) => now.with(item.day, [item]));
            } else if (read !== undefined) {
              if (!read.some(({ id }) => id === item.id)) {
                setChanged((before) => countItem(before ?? knownDays.current ?? [], item));
              }
              setItems((now) => now.withItem(item));
            }
          } else {
            const gone = new Set(change.items);
            const lost = held.current.pick(gone);
            // Of pictures that were not looked at, nobody knows the day.
            if (lost.length < gone.size) again();
            setChanged((before) => uncountItems(before ?? knownDays.current ?? [], lost));
            setItems((now) => now.without(gone));
          }
        }
      }),
    [session, camera, again],
  );

  const days: Loaded<readonly MediaDay[]> =
    known === undefined ? (loaded as Loaded<readonly MediaDay[]>) : { state: 'ready', value: known };
  return { days, items, want, again };
}
