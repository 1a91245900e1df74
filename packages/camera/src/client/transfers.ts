import { Mutex } from '@towpath/core';
import type { ItemId } from '../artemis/media-item.ts';
import type { CameraPath } from './camera-path.ts';
import { isSessionClosed, type PathSource } from './path-source.ts';
import { THUMBNAILS, Transfer, type TransferKind, type TransferOptions, type TransferResult } from './transfer.ts';

/** After this many sessions in a row without an item, a transfer ends. */
const MAX_FRUITLESS_SESSIONS = 10;

/**
 * Transfers that continue after their session: what is missing when it ends, or when a better path is used, is
 * requested on the next one.
 */
export class Transfers {
  readonly #ready: PathSource;
  readonly #thumbnailTurn = new Mutex();
  readonly #fileTurn = new Mutex();

  constructor(ready: PathSource) {
    this.#ready = ready;
  }

  /** Yields each item once; transfers of one kind run one after the other. Throws as `CameraClient.thumbnails`. */
  async *run<Item extends ItemId>(
    kind: TransferKind,
    items: Iterable<Item>,
    options: TransferOptions,
  ): AsyncGenerator<TransferResult<Item>, void, undefined> {
    const pending = new Set(unique(items));
    const turn = kind === THUMBNAILS ? this.#thumbnailTurn : this.#fileTurn;
    using _turn = await turn.acquire(options.signal);
    for (let fruitless = 0; pending.size > 0; ) {
      const path = await this.#ready(options.signal);
      const before = pending.size;
      try {
        yield* runOn(path, kind, pending, options);
      } catch (error) {
        if (!isSessionClosed(error)) throw error;
        fruitless = pending.size < before ? 0 : fruitless + 1;
        if (fruitless >= MAX_FRUITLESS_SESSIONS) throw error;
      }
    }
  }
}

/** Takes what it delivers out of `pending`. */
async function* runOn<Item extends ItemId>(
  path: CameraPath,
  kind: TransferKind,
  pending: Set<Item>,
  options: TransferOptions,
): AsyncGenerator<TransferResult<Item>, void, undefined> {
  const stopping = () => path.superseded && !path.artemis.isMidFrame(kind.channel);
  const transfer = new Transfer(path.artemis, kind, pending, { ...options, stopping });
  using _use = path.use(() => transfer.wake());
  for await (const result of transfer.run()) {
    pending.delete(result.item);
    yield result;
  }
}

function unique<Item extends ItemId>(items: Iterable<Item>): Iterable<Item> {
  const byName = new Map<string, Item>();
  for (const item of items) byName.set(`${item.fileType}/${item.dirNum}/${item.mediaNum}`, item);
  return byName.values();
}
