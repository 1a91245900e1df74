import { type DownloadProgress, downloadMedia } from '@towpath/camera';
import { AbortedError, errorCode, errorMessage, isAbort, type Random, TowpathError } from '@towpath/core';
import type { DaemonEvent, Download } from '@towpath/dashboard/api';
import type { Runtime } from '../../cli/runtime.ts';
import { lostText } from '../../commands/camera/media.ts';
import type { CameraHolder } from './camera-holder.ts';
import { mediaId } from './media-catalog.ts';

/** Ended downloads that are still listed. */
const MAX_ENDED = 20;
/** More would only wait for each other. */
const MAX_RUNNING = 16;

/** Downloads that a person asked for. */
export class Downloads implements AsyncDisposable {
  readonly #runtime: Pick<Runtime, 'clock' | 'random' | 'log'>;
  readonly #publish: (event: DaemonEvent) => void;
  readonly #all = new Map<string, { download: Download; abort: AbortController; done: Promise<void> }>();

  constructor(runtime: Pick<Runtime, 'clock' | 'random' | 'log'>, publish: (event: DaemonEvent) => void) {
    this.#runtime = runtime;
    this.#publish = publish;
  }

  /** Newest last. */
  list(): Download[] {
    return [...this.#all.values()].map(({ download }) => ({ ...download }));
  }

  /**
   * Begins a download. @param ids without them, everything that is on the card and not here
   * @throws TowpathError `not-found`, `limit-exceeded`, `not-connected`.
   */
  start(holder: CameraHolder, ids: readonly string[] | undefined): Download {
    const running = [...this.#all.values()].filter(({ download }) => download.state === 'running').length;
    if (running >= MAX_RUNNING) {
      throw new TowpathError('limit-exceeded', `${running} downloads are running. Next: wait for one to end.`);
    }
    holder.requireAwake();
    const among = ids === undefined ? holder.catalog.missing : ids.map((id) => cardItem(holder, id));
    const { clock, random } = this.#runtime;
    const download: Download = {
      id: idOf(random),
      camera: holder.config.name,
      state: 'running',
      startedAt: new Date(clock.wallTime()).toISOString(),
      done: 0,
      wanted: among.length,
      bytes: 0,
      bytesPerSecond: 0,
      failed: [],
      problem: null,
    };
    const abort = new AbortController();
    const done = this.#run(holder, among, download, abort.signal);
    this.#all.set(download.id, { download, abort, done });
    this.#forget();
    this.#tell(download);
    return { ...download };
  }

  /** @returns false when there is none with this id */
  cancel(id: string): boolean {
    const found = this.#all.get(id);
    found?.abort.abort(new AbortedError('The download was cancelled.'));
    return found !== undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { abort } of this.#all.values()) abort.abort(new AbortedError('The daemon ends.'));
    await Promise.all([...this.#all.values()].map(({ done }) => done));
  }

  async #run(
    holder: CameraHolder,
    among: Parameters<typeof downloadMedia>[0]['among'],
    download: Download,
    signal: AbortSignal,
  ): Promise<void> {
    try {
      using _turn = await holder.pictures.work.acquire(signal);
      await holder.pictures.requireSpace();
      const { client, catalog } = holder;
      const { clock } = this.#runtime;
      const summary = await downloadMedia({
        client,
        library: catalog.library,
        clock,
        signal,
        ...(among === undefined ? {} : { among }),
        onEvent: (event) => {
          if (event.type === 'listed') return;
          take(download, event.progress);
          if (event.type === 'saved') {
            catalog.saved(event.path, event.item);
            holder.itemChanged(mediaId(event.item));
          } else if (event.type === 'failed') download.failed.push(mediaId(event.item));
          this.#tell(download);
        },
      });
      download.done = summary.saved + summary.present + summary.failed.length;
      const [first] = summary.failed;
      download.state = first === undefined ? 'done' : 'failed';
      const [damaged] = summary.damaged;
      if (damaged !== undefined) {
        download.state = 'failed';
        download.problem = { code: 'item-damaged', message: lostText(damaged.item, damaged.lostFrames) };
      }
      if (first !== undefined) download.problem = { code: first.error.code, message: first.error.message };
    } catch (error) {
      download.state = isAbort(error) ? 'cancelled' : 'failed';
      if (!isAbort(error)) download.problem = { code: errorCode(error), message: errorMessage(error) };
    }
    this.#tell(download);
  }

  #tell(download: Download): void {
    this.#publish({ type: 'download', download: { ...download, failed: [...download.failed] } });
  }

  #forget(): void {
    const ended = [...this.#all.values()].filter(({ download }) => download.state !== 'running');
    for (const { download } of ended.slice(0, Math.max(0, ended.length - MAX_ENDED))) this.#all.delete(download.id);
  }
}

function take(download: Download, { done, wanted, bytes, bytesPerSecond }: DownloadProgress): void {
  Object.assign(download, { done, wanted, bytes, bytesPerSecond });
}

function cardItem({ catalog, config }: CameraHolder, id: string): NonNullable<ReturnType<typeof catalog.cardItem>> {
  const item = catalog.cardItem(id);
  if (item !== undefined) return item;
  throw new TowpathError('not-found', `${id} is not on the card of ${config.name}.`, { kind: 'refused' });
}

function idOf(random: Random): string {
  return Buffer.from(random.bytes(8)).toString('hex');
}
