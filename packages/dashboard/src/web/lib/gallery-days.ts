import type { MediaDay, MediaItem } from '../../api/cameras.ts';

/** A row of the gallery. Its height follows from its type, so the whole list has its length before a picture is known. */
export type GalleryRow =
  | { readonly type: 'day'; readonly key: string; readonly day: MediaDay }
  | {
      readonly type: 'pictures';
      readonly key: string;
      readonly day: string;
      /** Index of the first picture within its day. */
      readonly from: number;
      readonly count: number;
    };

/**
 * Cuts the days of a camera, newest first, into rows: a heading for each day, then rows of at most `columns` pictures.
 * Only rows that can be seen are drawn and only their days are read, so 5,000 pictures cost what 50 do.
 */
export function galleryRows(days: readonly MediaDay[], columns: number): GalleryRow[] {
  const width = Math.max(1, Math.floor(columns));
  const rows: GalleryRow[] = [];
  for (const day of days) {
    const total = day.photos + day.videos;
    if (total === 0) continue;
    rows.push({ type: 'day', key: day.day, day });
    for (let from = 0; from < total; from += width) {
      rows.push({
        type: 'pictures',
        key: `${day.day}/${from}`,
        day: day.day,
        from,
        count: Math.min(width, total - from),
      });
    }
  }
  return rows;
}

/** How many pictures fit beside each other, and how wide each is. */
export function galleryColumns(widthPx: number, gapPx: number, idealPx: number): { columns: number; tilePx: number } {
  const columns = Math.max(2, Math.round((widthPx + gapPx) / (idealPx + gapPx)));
  return { columns, tilePx: Math.max(1, (widthPx - gapPx * (columns - 1)) / columns) };
}

/** Items that are held at most; beyond it the days that were not looked at for longest are forgotten. */
export const MAX_HELD_ITEMS = 20_000;

/** The pictures of the days that were read so far. Immutable: each change makes a new one. */
export class GalleryDays {
  readonly #days: ReadonlyMap<string, readonly MediaItem[]>;
  readonly #limit: number;

  constructor(days: ReadonlyMap<string, readonly MediaItem[]> = new Map(), limit: number = MAX_HELD_ITEMS) {
    this.#days = days;
    this.#limit = limit;
  }

  get(day: string): readonly MediaItem[] | undefined {
    return this.#days.get(day);
  }

  /** How many items are held. */
  get size(): number {
    let size = 0;
    for (const items of this.#days.values()) size += items.length;
    return size;
  }

  /** With all pictures of a day. */
  with(day: string, items: readonly MediaItem[]): GalleryDays {
    const days = new Map(this.#days);
    days.delete(day);
    days.set(day, items);
    let size = 0;
    for (const held of days.values()) size += held.length;
    for (const [oldest, held] of days) {
      if (size <= this.#limit || oldest === day) break;
      days.delete(oldest);
      size -= held.length;
    }
    return new GalleryDays(days, this.#limit);
  }

  /** With a picture that is new or has changed; days that were not read stay unread. */
  withItem(item: MediaItem): GalleryDays {
    const items = this.#days.get(item.day);
    if (items === undefined) return this;
    const index = items.findIndex(({ id }) => id === item.id);
    const next = index < 0 ? [...items, item].sort(newestFirst) : items.with(index, item);
    return new GalleryDays(new Map(this.#days).set(item.day, next), this.#limit);
  }

  /** Without these pictures. */
  without(ids: ReadonlySet<string>): GalleryDays {
    const days = new Map([...this.#days].map(([day, items]) => [day, items.filter(({ id }) => !ids.has(id))]));
    return new GalleryDays(days, this.#limit);
  }

  /** Those of the pictures that are held. */
  pick(ids: ReadonlySet<string>): MediaItem[] {
    return [...this.#days.values()].flatMap((items) => items.filter(({ id }) => ids.has(id)));
  }
}

function newestFirst(a: MediaItem, b: MediaItem): number {
  return (b.takenAt ?? '').localeCompare(a.takenAt ?? '') || (a.id < b.id ? 1 : -1);
}

/** Counts a new picture in its day. */
export function countItem(days: readonly MediaDay[], { day, kind }: Pick<MediaItem, 'day' | 'kind'>): MediaDay[] {
  const one = kind === 'photo' ? { photos: 1, videos: 0 } : { photos: 0, videos: 1 };
  const known = days.find((candidate) => candidate.day === day);
  if (known !== undefined) {
    const counted = { day, photos: known.photos + one.photos, videos: known.videos + one.videos };
    return days.map((candidate) => (candidate === known ? counted : candidate));
  }
  return [...days, { day, ...one }].sort((a, b) => dayOrder(a.day, b.day));
}

/** Takes pictures out of the counts of their days. */
export function uncountItems(days: readonly MediaDay[], items: readonly Pick<MediaItem, 'day' | 'kind'>[]): MediaDay[] {
  return days.flatMap((day) => {
    const gone = items.filter((item) => item.day === day.day);
    if (gone.length === 0) return [day];
    const videos = gone.filter(({ kind }) => kind === 'video').length;
    const left = { ...day, photos: day.photos - (gone.length - videos), videos: day.videos - videos };
    return left.photos + left.videos > 0 ? [left] : [];
  });
}

/** Newest first; what has no day comes last. */
function dayOrder(a: string, b: string): number {
  if (a === b) return 0;
  if (a === 'unknown') return 1;
  if (b === 'unknown') return -1;
  return a < b ? 1 : -1;
}
