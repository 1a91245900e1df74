import type { ItemId } from '../artemis/media-item.ts';
import type { CameraPath } from './camera-path.ts';
import { isSessionClosed, type PathSource } from './path-source.ts';
import {
  FILES,
  THUMBNAILS,
  Transfer,
  type TransferKind,
  type TransferOptions,
  type TransferResult,
} from './transfer.ts';
import { Turnstile } from './turnstile.ts';

/** So many sessions in a row that brought no item end a transfer. */
const MAX_FRUITLESS_SESSIONS = 10;

/** Transfers that outlive their session: what is missing when it ends, or when a better path appears, comes over the next. */
export class Transfers {
  readonly #ready: PathSource;
  readonly #turns = new Map<TransferKind, Turnstile>([
    [THUMBNAILS, new Turnstile()],
    [FILES, new Turnstile()],
  ]);

  constructor(ready: PathSource) {
    this.#ready = ready;
  }

  /** Each item once; transfers of one kind wait for each other. Throws as `CameraClient.thumbnails`. */
  async *run<Item extends ItemId>(
    kind: TransferKind,
    items: Iterable<Item>,
    options: TransferOptions,
  ): AsyncGenerator<TransferResult<Item>, void, undefined> {
    const pending = new Set(unique(items));
    const leave = await this.#turns.get(kind)!.enter(options.signal);
    try {
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
    } finally {
      leave();
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
  using _use = path.use(() => transfer.nudge());
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
