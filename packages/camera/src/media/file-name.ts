import { FileType, type ItemId } from '../artemis/media-item.ts';

const EXTENSIONS: ReadonlyMap<number, string> = new Map<number, string>([
  [FileType.photo, 'jpg'],
  [FileType.mp4, 'mp4'],
  [FileType.avi, 'avi'],
]);

/** Every name that {@link fileName} can give; whatever else stands in an index is not ours. */
export const FILE_NAME: RegExp = /^\d{3,5}_\d{4,5}(-[0-9a-f]{1,8})?\.(jpg|mp4|avi|h264|h265|mjpeg|aac|bin)$/;

/**
 * The name of an item on disk, `100_0318.jpg`. Made of numbers only, so nothing that a camera says can leave the folder.
 * @param options `mediaId` tells apart items that had the same number on a card before and after it was formatted;
 *   `extension` if it is not the usual one of the item's kind
 */
export function fileName(
  { fileType, dirNum, mediaNum }: ItemId,
  options: { mediaId?: number; extension?: string } = {},
): string {
  const { mediaId, extension = EXTENSIONS.get(fileType) ?? 'bin' } = options;
  const suffix = mediaId === undefined ? '' : `-${(mediaId >>> 0).toString(16)}`;
  return `${String(dirNum).padStart(3, '0')}_${String(mediaNum).padStart(4, '0')}${suffix}.${extension}`;
}
