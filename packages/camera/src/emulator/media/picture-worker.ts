import { parentPort } from 'node:worker_threads';
import { encodePhoto, encodeThumbnail, type PictureSubject } from './photos.ts';

/** One picture to draw. */
export interface DrawRequest {
  readonly id: number;
  readonly kind: 'thumbnail' | 'photo';
  readonly subject: PictureSubject;
}

/** The JPEG. */
export interface DrawResult {
  readonly id: number;
  readonly jpeg: Uint8Array;
}

// The body of a worker thread of `WorkerPictures`.
parentPort?.on('message', ({ id, kind, subject }: DrawRequest) => {
  const jpeg = kind === 'photo' ? encodePhoto(subject) : encodeThumbnail(subject);
  parentPort?.postMessage({ id, jpeg } satisfies DrawResult);
});
