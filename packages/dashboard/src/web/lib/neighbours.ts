import type { MediaDay, MediaItem } from '../../api/cameras.ts';
import type { GalleryDays } from './gallery-days.ts';

export interface Neighbours {
  readonly item: MediaItem | undefined;
  /** The newer one. */
  readonly before: MediaItem | undefined;
  /** The older one. */
  readonly after: MediaItem | undefined;
  /** The day was read: an item that is not in it does not exist. */
  readonly read: boolean;
  /** Days that have to be read to know all of this. */
  readonly missing: readonly string[];
}

/** An item and those beside it, also across days. Days are newest first, as their items are. */
export function neighbours(days: readonly MediaDay[], items: GalleryDays, day: string, media: string): Neighbours {
  const filled = days.filter(({ photos, videos }) => photos + videos > 0).map((one) => one.day);
  const here = items.get(day);
  const index = here?.findIndex(({ id }) => id === media) ?? -1;
  if (here === undefined || index < 0) {
    return {
      item: undefined,
      before: undefined,
      after: undefined,
      read: here !== undefined,
      missing: here ? [] : [day],
    };
  }
  const at = filled.indexOf(day);
  const newerDay = index === 0 && at > 0 ? filled[at - 1] : undefined;
  const olderDay = index === here.length - 1 ? filled[at + 1] : undefined;
  return {
    item: here[index],
    before: newerDay === undefined ? here[index - 1] : items.get(newerDay)?.at(-1),
    after: olderDay === undefined ? here[index + 1] : items.get(olderDay)?.[0],
    read: true,
    missing: [newerDay, olderDay].filter((one): one is string => one !== undefined && items.get(one) === undefined),
  };
}
