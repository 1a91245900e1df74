import { statfs } from 'node:fs/promises';
import { type CameraClient, downloadMedia } from '@towpath/camera';
import { type Clock, type Log, Mutex, TowpathError } from '@towpath/core';
import { lostText } from '../../commands/camera/media.ts';
import type { CameraConfig, DaemonConfig } from '../config/config.ts';
import { type MediaCatalog, mediaId } from './media-catalog.ts';
import { surplusFiles } from './retention.ts';

export interface HeldPicturesComponents {
  readonly clock: Clock;
  readonly log: Log;
  readonly catalog: MediaCatalog;
  readonly pictures: DaemonConfig['pictures'];
  readonly config: Pick<CameraConfig, 'name' | 'keep' | 'deleteFromCard'>;
  /** The client of now: each visit of a camera that is woken has its own. */
  client(): CameraClient;
  /** Called when an item was saved or removed. */
  itemChanged(id: string): void;
  /** Hands on what is here and was not handed on. */
  tellNew(): Promise<void>;
  /** Free space of the folder, bytes. @default what the system says */
  readonly freeBytes?: ((folder: string) => Promise<number>) | undefined;
}

/** The pictures of a held camera: fetched, handed on, kept as long as wanted, and deleted from the card as configured. */
export class HeldPictures {
  /** One transfer at a time: cameras serve one. */
  readonly work: Mutex = new Mutex();
  readonly #components: HeldPicturesComponents;

  constructor(components: HeldPicturesComponents) {
    this.#components = components;
  }

  /** @throws TowpathError `disk-full` when less than the reserve is free. */
  async requireSpace(): Promise<void> {
    const { folder, reserveBytes } = this.#components.pictures;
    const free = await (this.#components.freeBytes ?? freeBytes)(folder);
    if (free >= reserveBytes) return;
    throw new TowpathError(
      'disk-full',
      `${folder} has ${Math.round(free / 1e6)} MB left, and ${Math.round(reserveBytes / 1e6)} MB are to stay free: nothing is fetched. Next: free space, or set "keep".`,
      { target: folder, kind: 'local' },
    );
  }

  /**
   * Fetches what the folder lacks of the last listing, hands it on, and deletes as configured.
   * @throws as {@link requireSpace}, `downloadMedia`, `CameraClient.deleteItem`; the signal's reason
   */
  async keepUp(signal: AbortSignal): Promise<void> {
    using _turn = await this.work.acquire(signal);
    await this.#tidy();
    try {
      await this.#fetch(signal);
    } finally {
      // Also of those that came before a failure.
      await this.#components.tellNew();
    }
    await this.#clearCard(signal);
  }

  async #fetch(signal: AbortSignal): Promise<void> {
    const { clock, log, catalog, client, config, itemChanged } = this.#components;
    const among = catalog.missing;
    if (among.length === 0) return;
    await this.requireSpace();
    const common = { client: client(), library: catalog.library, clock, among, signal };
    for (const what of ['thumbnails', 'files'] as const) {
      const summary = await downloadMedia({
        ...common,
        what,
        newOnly: what === 'files',
        onEvent: (event) => {
          if (event.type !== 'saved') return;
          if (event.lostFrames) log.warn(`${config.name}: ${lostText(event.item, event.lostFrames)}`);
          catalog.saved(event.path, event.item);
          itemChanged(mediaId(event.item));
        },
      });
      // What was not saved because the camera is let go is no failure.
      signal.throwIfAborted();
      if (what === 'files' && summary.saved > 0) log.info(`${config.name}: ${summary.saved} saved`);
      for (const { item, error } of what === 'files' ? summary.failed : []) {
        log.warn(`${config.name}: ${item.dirNum}/${item.mediaNum} was not saved: ${error.message}`);
      }
    }
  }

  /** Removes what is over the limits from this machine. */
  async #tidy(): Promise<void> {
    const { clock, log, catalog, config, itemChanged } = this.#components;
    const surplus = surplusFiles(catalog.keptFiles(), config.keep, clock.wallTime());
    for (const { id } of surplus) {
      await catalog.removeFiles(id);
      itemChanged(id);
    }
    if (surplus.length > 0) log.info(`${config.name}: ${surplus.length} over the limits were removed`);
  }

  /** Deletes from the card what is safe here. */
  async #clearCard(signal: AbortSignal): Promise<void> {
    const { catalog, client, config, itemChanged } = this.#components;
    if (config.deleteFromCard !== 'when-safe') return;
    await catalog.library.flush();
    for (const item of await catalog.safeOnDisk()) {
      await client().deleteItem(item, { signal });
      catalog.deletedFromCard(mediaId(item));
      itemChanged(mediaId(item));
    }
  }
}

async function freeBytes(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize;
}
