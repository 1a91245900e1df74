import { encodeFileRecord, encodeThumbnailRecord } from '../../artemis/record.ts';
import { padJpeg } from './padded-photos.ts';
import { encodePhoto, encodeStamp, encodeThumbnail, type PictureSubject, subjectSeed } from './photos.ts';

/** Names a picture and what stands in the head of its record. */
export interface RecordSubject extends PictureSubject {
  readonly deviceId: string;
  readonly mediaId: number;
}

/** Where emulated cameras get their pictures from. One source may serve many cameras. */
export interface PictureSource {
  /** Body of the thumbnail's frame: record header and JPEG. The same subject always gives the same bytes. */
  thumbnailRecord(subject: RecordSubject): Uint8Array;
  /** Body of the file's frame: record header and JPEG. The same subject always gives the same bytes. */
  fileRecord(subject: RecordSubject): Uint8Array;
}

/** Room for a page of thumbnails and some fifty photos; a picture that fell out is drawn again. */
const DEFAULT_CACHE_BYTES = 16 * 1024 * 1024;

type Draw = (subject: RecordSubject) => Uint8Array;

function cachedSource(drawThumbnail: Draw, drawPhoto: Draw, cacheBytes: number): PictureSource {
  const cache = new Map<string, Uint8Array>();
  let held = 0;
  const cached = (kind: string, subject: RecordSubject, make: () => Uint8Array): Uint8Array => {
    const { seed, deviceId, dirNum, mediaNum, mediaId, mediaTime } = subject;
    const key = [kind, seed, deviceId, dirNum, mediaNum, mediaId, mediaTime].join('/');
    const known = cache.get(key);
    const record = known ?? make();
    if (known === undefined) held += record.length;
    else cache.delete(key);
    cache.set(key, record); // the most recently used stands last
    for (const [oldest, bytes] of cache) {
      if (held <= cacheBytes) break;
      cache.delete(oldest);
      held -= bytes.length;
    }
    return record;
  };
  return {
    thumbnailRecord: (subject) =>
      cached('thumbnail', subject, () => encodeThumbnailRecord({ ...subject, data: drawThumbnail(subject) })),
    fileRecord: (subject) => cached('file', subject, () => encodeFileRecord({ ...subject, data: drawPhoto(subject) })),
  };
}

/**
 * Pictures worth looking at, drawn and encoded when they are asked for (some 100 ms for a photo, 10 ms for a thumbnail).
 * @param options.cacheBytes how much is kept; 16 MiB unless said otherwise
 */
export function drawnPictures(options: { cacheBytes?: number } = {}): PictureSource {
  return cachedSource(encodeThumbnail, encodePhoto, options.cacheBytes ?? DEFAULT_CACHE_BYTES);
}

/** Sizes for {@link paddedPictures}. */
export interface PaddedPictureOptions {
  /** Size of each JPEG file, bytes. @default 262144 */
  photoBytes?: number;
  /** Size of each thumbnail, bytes. @default 24576 */
  thumbnailBytes?: number;
  /** How much is kept, bytes. @default 16 MiB */
  cacheBytes?: number;
}

const PADDED_SUBJECT: PictureSubject = {
  seed: 0,
  cameraName: 'PADDED',
  dirNum: 0,
  mediaNum: 0,
  mediaTime: 1_767_268_800,
  isVideo: false,
};

/**
 * One small picture for all subjects, brought to the wanted size by comment segments that differ from subject to subject.
 * For measurements and for many cameras at once: nothing has to be drawn.
 */
export function paddedPictures(options: PaddedPictureOptions = {}): PictureSource {
  const { photoBytes = 256 * 1024, thumbnailBytes = 24 * 1024, cacheBytes = DEFAULT_CACHE_BYTES } = options;
  let picture: Uint8Array | undefined;
  const padded = (subject: RecordSubject, sizeBytes: number) => {
    picture ??= encodeStamp(PADDED_SUBJECT);
    const label = `${subject.deviceId} ${subject.dirNum}-${subject.mediaNum} `;
    return padJpeg(picture, sizeBytes, subjectSeed(subject), label);
  };
  return cachedSource(
    (subject) => padded(subject, thumbnailBytes),
    (subject) => padded(subject, photoBytes),
    cacheBytes,
  );
}
