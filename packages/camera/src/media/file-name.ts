import { FileType, type ItemId } from '../artemis/media-item.ts';

const EXTENSIONS: ReadonlyMap<number, string> = new Map<number, string>([
  [FileType.photo, 'jpg'],
  [FileType.mp4, 'mp4'],
  [FileType.avi, 'avi'],
]);

/** Every name that {@link fileName} can give; whatever else stands in an index is not ours. */
export const FILE_NAME: RegExp = /^\d{3,5}_\d{4,5}(-[0-9a-f]{1,8})?\.(jpg|mp4|avi|bin)$/;

/**
 * The name of an item on disk, `100_0318.jpg`. Made of numbers only, so nothing that a camera says can leave the folder.
 * @param mediaId tells apart items that had the same number on a card before and after it was formatted
 */
export function fileName({ fileType, dirNum, mediaNum }: ItemId, mediaId?: number): string {
  const suffix = mediaId === undefined ? '' : `-${(mediaId >>> 0).toString(16)}`;
  const number = String(mediaNum).padStart(4, '0');
  return `${String(dirNum).padStart(3, '0')}_${number}${suffix}.${EXTENSIONS.get(fileType) ?? 'bin'}`;
}
