import { FileType, type ItemId } from '../artemis/media-item.ts';

const EXTENSIONS: ReadonlyMap<number, string> = new Map<number, string>([
  [FileType.photo, 'jpg'],
  [FileType.mp4, 'mp4'],
  [FileType.avi, 'avi'],
]);

/** Matches every name that {@link fileName} can return; other names in an index are ignored. */
export const FILE_NAME: RegExp =
  /^(\d{8}T\d{6}[+-]\d{4}_)?\d{3,5}_\d{4,5}(-[0-9a-f]{1,8})?\.(jpg|mp4|avi|h264|h265|mjpeg|aac|pcm|adpcm|g711|g726|bin)$/;

/**
 * Returns the name of an item on disk, `20260501T183012+0200_100_0318.jpg`, or `100_0318.jpg` without a time. It consists of numbers only, so that camera data cannot name
 * another folder.
 * @param options `mediaId` distinguishes items with the same number before and after a format of the card;
 *   `extension` if it is not the usual one of the item's kind; `taken` is the compact form of its capture time
 */
export function fileName(
  { fileType, dirNum, mediaNum }: ItemId,
  options: { mediaId?: number | undefined; extension?: string | undefined; taken?: string | undefined } = {},
): string {
  const { mediaId, extension = EXTENSIONS.get(fileType) ?? 'bin', taken } = options;
  const date = taken === undefined ? '' : `${taken}_`;
  const suffix = mediaId === undefined ? '' : `-${(mediaId >>> 0).toString(16)}`;
  return `${date}${String(dirNum).padStart(3, '0')}_${String(mediaNum).padStart(4, '0')}${suffix}.${extension}`;
}
