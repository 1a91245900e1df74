import { encode } from 'jpeg-js';
import { createCanvas } from './canvas.ts';
import { paintScene } from './scene.ts';

/** Content of a picture. */
export interface PictureSubject {
  readonly seed: number;
  readonly cameraName: string;
  readonly dirNum: number;
  readonly mediaNum: number;
  /** Seconds since 1970 on the camera's clock (local wall time read as UTC). */
  readonly mediaTime: number;
  readonly isVideo: boolean;
}

interface PictureSize {
  readonly width: number;
  readonly height: number;
  readonly quality: number;
  readonly noise: number;
  /** How much more noise the noisiest picture has; it spreads the file sizes. */
  readonly noiseSpread: number;
}

// With these, files come out at 200–330 kB and thumbnails at 13–38 kB, as the real camera's do
// (docs/protocol/artemis.md, "Items").
const PHOTO: PictureSize = { width: 1280, height: 720, quality: 87, noise: 12, noiseSpread: 7 };
const THUMBNAIL: PictureSize = { width: 320, height: 180, quality: 85, noise: 9, noiseSpread: 26 };

// The picture that is padded: a few kB.
const STAMP: PictureSize = { width: 160, height: 90, quality: 40, noise: 0, noiseSpread: 0 };

/** A full-size picture: baseline JPEG, 1280×720. */
export function encodePhoto(subject: PictureSubject): Uint8Array {
  return encodePicture(subject, PHOTO);
}

/** The same scene as a 320×180 baseline JPEG. */
export function encodeThumbnail(subject: PictureSubject): Uint8Array {
  return encodePicture(subject, THUMBNAIL);
}

/** The same scene as a 160×90 baseline JPEG of a few kB. */
export function encodeStamp(subject: PictureSubject): Uint8Array {
  return encodePicture(subject, STAMP);
}

function encodePicture(subject: PictureSubject, size: PictureSize): Uint8Array {
  const { width, height } = size;
  const seed = subjectSeed(subject);
  const when = new Date(subject.mediaTime * 1000).toISOString();
  const canvas = createCanvas(width, height);
  paintScene(canvas, {
    seed,
    title: `${subject.dirNum}-${String(subject.mediaNum).padStart(4, '0')}${subject.isVideo ? ' VIDEO' : ''}`,
    caption: [`${subject.cameraName}  ${(seed % 27) - 4}°C`, `${when.slice(0, 10)} ${when.slice(11, 19)}`],
    hour: Number(when.slice(11, 13)),
    noise: size.noise + (size.noiseSpread * (seed % 97)) / 97,
  });
  const { data } = encode({ width, height, data: canvas.data }, size.quality);
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/** A number that is different for every picture of every camera (FNV-1a over the three numbers). */
export function subjectSeed({ seed, dirNum, mediaNum }: PictureSubject): number {
  let hash = 0x811c9dc5;
  for (const word of [seed, dirNum, mediaNum]) {
    for (let shift = 0; shift < 32; shift += 8) hash = Math.imul(hash ^ ((word >>> shift) & 0xff), 0x01000193);
  }
  return hash >>> 1;
}
