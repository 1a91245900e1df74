import { Worker } from 'node:worker_threads';
import { AbortedError } from '@towpath/core';
import { encodeFileRecord, encodeThumbnailRecord } from '../../artemis/record.ts';
import type { PictureSource, RecordSubject } from './picture-source.ts';
import type { DrawRequest, DrawResult } from './picture-worker.ts';

/** Room for a page of thumbnails and some fifty photos; a picture that fell out is drawn again. */
const CACHE_BYTES = 16 * 1024 * 1024;

/** Draws pictures in a worker thread, so that the emulator's sessions are not blocked. */
export class WorkerPictures implements PictureSource, AsyncDisposable {
  readonly #worker: Worker;
  readonly #waiting: Map<number, PromiseWithResolvers<Uint8Array>> = new Map();
  readonly #records: Map<string, Promise<Uint8Array>> = new Map();
  readonly #sizes: Map<string, number> = new Map();
  #heldBytes = 0;
  #nextId = 0;

  /** Starts the thread. It does not keep the process alive. */
  constructor() {
    this.#worker = new Worker(new URL('./picture-worker.ts', import.meta.url));
    this.#worker.unref();
    this.#worker.on('message', ({ id, jpeg }: DrawResult) => {
      this.#waiting.get(id)?.resolve(jpeg);
      this.#waiting.delete(id);
    });
    this.#worker.on('error', (error) => this.#fail(error));
    this.#worker.on('exit', () => this.#fail(new AbortedError('The thread that draws pictures has ended.')));
  }

  thumbnailRecord(subject: RecordSubject): Promise<Uint8Array> {
    return this.#record('thumbnail', subject, encodeThumbnailRecord);
  }

  fileRecord(subject: RecordSubject): Promise<Uint8Array> {
    return this.#record('photo', subject, encodeFileRecord);
  }

  /** Ends the thread; pictures that are still wanted fail. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#worker.terminate();
  }

  #record(
    kind: DrawRequest['kind'],
    subject: RecordSubject,
    encode: (record: RecordSubject & { data: Uint8Array }) => Uint8Array,
  ): Promise<Uint8Array> {
    const { seed, deviceId, dirNum, mediaNum, mediaId, mediaTime } = subject;
    const key = [kind, seed, deviceId, dirNum, mediaNum, mediaId, mediaTime].join('/');
    const known = this.#records.get(key);
    const record = known ?? this.#draw(kind, subject).then((data) => encode({ ...subject, data }));
    // The most recently used entry is last.
    this.#records.delete(key);
    this.#records.set(key, record);
    if (known === undefined) {
      record.then(
        ({ length }) => this.#keep(key, length),
        () => this.#records.delete(key),
      );
    }
    return record;
  }

  #draw(kind: DrawRequest['kind'], { seed, cameraName, dirNum, mediaNum, mediaTime, isVideo }: RecordSubject) {
    const id = this.#nextId++;
    const waiting = Promise.withResolvers<Uint8Array>();
    this.#waiting.set(id, waiting);
    const subject = { seed, cameraName, dirNum, mediaNum, mediaTime, isVideo };
    this.#worker.postMessage({ id, kind, subject } satisfies DrawRequest);
    return waiting.promise;
  }

  #keep(key: string, bytes: number): void {
    this.#sizes.set(key, bytes);
    this.#heldBytes += bytes;
    for (const oldest of this.#records.keys()) {
      if (this.#heldBytes <= CACHE_BYTES) break;
      const size = this.#sizes.get(oldest);
      if (size === undefined) continue;
      this.#records.delete(oldest);
      this.#sizes.delete(oldest);
      this.#heldBytes -= size;
    }
  }

  #fail(error: Error): void {
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}
