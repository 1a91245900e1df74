import { SharedWork } from '@towpath/core';
import { FileType, type MediaItem } from '../artemis/media-item.ts';
import { entryKey } from '../media/media-index.ts';
import type { MediaSource } from '../media/media-source.ts';

/** The newest photo on the card. It is downloaded once, whoever asks. */
export class NewestPicture {
  readonly #client: Pick<MediaSource, 'mediaList' | 'download'>;
  readonly #looking: SharedWork<Uint8Array | undefined>;
  #last: { key: string; jpeg: Uint8Array } | undefined;

  constructor({ client }: { client: Pick<MediaSource, 'mediaList' | 'download'> }) {
    this.#client = client;
    this.#looking = new SharedWork((signal) => this.#look(signal));
  }

  /** Returns the photo; undefined when the card has none. @throws CameraError as `CameraClient.mediaList` */
  read(signal?: AbortSignal): Promise<Uint8Array | undefined> {
    return this.#looking.join(signal);
  }

  /** Returns one photo, from memory when it is the newest; undefined when it could not be downloaded. */
  async fetch(item: MediaItem, signal: AbortSignal): Promise<Uint8Array | undefined> {
    const key = entryKey(item);
    if (this.#last?.key === key) return this.#last.jpeg;
    for await (const { data } of this.#client.download([item], { signal })) {
      if (data !== undefined) this.#last = { key, jpeg: data };
      return data;
    }
    return undefined;
  }

  async #look(signal: AbortSignal): Promise<Uint8Array | undefined> {
    for await (const item of this.#client.mediaList({ signal })) {
      if (item.fileType === FileType.photo) return this.fetch(item, signal);
    }
    return undefined;
  }
}
