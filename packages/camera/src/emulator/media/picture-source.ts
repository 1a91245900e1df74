import { encodeFileRecord, encodeThumbnailRecord } from '../../artemis/record.ts';
import { padJpeg } from './padded-photos.ts';
import { encodePhoto, encodeStamp, encodeThumbnail, type PictureSubject, subjectSeed } from './photos.ts';

/** Identifies a picture and the head of its record. */
export interface RecordSubject extends PictureSubject {
  readonly deviceId: string;
  readonly mediaId: number;
}

/** Source of the pictures of emulated cameras. One source may serve many cameras. */
export interface PictureSource {
  /** Body of the thumbnail's frame: record header and JPEG. The same subject always gives the same bytes. */
  thumbnailRecord(subject: RecordSubject): Uint8Array | Promise<Uint8Array>;
  /** Body of the file's frame: record header and JPEG. The same subject always gives the same bytes. */
  fileRecord(subject: RecordSubject): Uint8Array | Promise<Uint8Array>;
}

/** A source that has its pictures at once. */
export interface ImmediatePictureSource extends PictureSource {
  thumbnailRecord(subject: RecordSubject): Uint8Array;
  fileRecord(subject: RecordSubject): Uint8Array;
}

/** Enough for a page of thumbnails and about fifty photos; an evicted picture is drawn again. */
const DEFAULT_CACHE_BYTES = 16 * 1024 * 1024;

type Draw = (subject: RecordSubject) => Uint8Array;

function cachedSource(drawThumbnail: Draw, drawPhoto: Draw, cacheBytes: number): ImmediatePictureSource {
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
 * Realistic pictures, drawn and encoded on request (about 100 ms for a photo, 10 ms for a thumbnail).
 * @param options.cacheBytes size of the cache, 16 MiB by default
 */
export function drawnPictures(options: { cacheBytes?: number } = {}): ImmediatePictureSource {
  return cachedSource(encodeThumbnail, encodePhoto, options.cacheBytes ?? DEFAULT_CACHE_BYTES);
}

/** Sizes for {@link paddedPictures}. */
export interface PaddedPictureOptions {
  /** Size of each JPEG file, bytes. @default 262144 */
  photoBytes?: number;
  /** Size of each thumbnail, bytes. @default 24576 */
  thumbnailBytes?: number;
  /** Size of the cache, bytes. @default 16 MiB */
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
 * One small picture for all subjects, padded to the wanted size by comment segments that differ by subject.
 * For measurements and for many cameras: nothing is drawn.
 */
export function paddedPictures(options: PaddedPictureOptions = {}): ImmediatePictureSource {
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
