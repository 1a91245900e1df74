import {
  type Clock,
  Events,
  errorMessage,
  type Log,
  PathReason,
  type Random,
  SharedWork,
  silentLog,
  SystemClock,
  SystemRandom,
  TowpathError,
} from '@towpath/core';
import type { AvFrame } from '../artemis/av.ts';
import { CameraError } from '../artemis/camera-error.ts';
import * as commands from '../artemis/commands.ts';
import type { DeviceInfo } from '../artemis/device-info.ts';
import type { JsonObject } from '../artemis/json.ts';
import { type ItemId, itemFields, type MediaItem } from '../artemis/media-item.ts';
import type { ArtemisSession } from './artemis-session.ts';
import { AvStreams, type FramesOptions, MAX_QUEUED_FRAMES } from './av-streams.ts';
import { type CameraEvents, CameraLink, type SessionTuning } from './camera-link.ts';
import type { CameraPath } from './camera-path.ts';
import { CameraState } from './camera-state.ts';
import type { CameraConnector } from './connector.ts';
import { type ListMediaOptions, listMedia, PAGE_ITEMS, type PageRequest } from './media-list.ts';
import { isSessionClosed } from './path-source.ts';
import { type ConnectRetryOptions, DEFAULT_RETRY } from './retry.ts';
import { type CameraStatus, statusStream } from './status-stream.ts';
import { FILES, THUMBNAILS, type TransferOptions, type TransferResult } from './transfer.ts';
import { Transfers } from './transfers.ts';

/** Components of a {@link CameraClient}. */
export interface CameraClientComponents {
  /** Finds the camera; called for every attempt and every reconnect. */
  connector: CameraConnector;
  /** @default the system's */
  clock?: Clock | undefined;
  /** @default the system's */
  random?: Random | undefined;
  /** @default none */
  log?: Log | undefined;
}

export interface CameraClientOptions extends SessionTuning {
  /** Defaults of {@link CameraClient.connectWithRetries}. */
  retry?: ConnectRetryOptions | undefined;
}

interface Cancellable {
  signal?: AbortSignal | undefined;
}

/** An interrupted read is repeated on the next session this often. */
const MAX_REPEATS = 3;

/**
 * A client that stays connected to one camera: logs in, sends the heartbeat, reconnects after a loss, and continues
 * interrupted downloads and streams.
 *
 * Methods wait while it is reconnecting. They throw CameraError `not-logged-in` before the first connect and
 * `client-closed` after `close`.
 */
export class CameraClient implements AsyncDisposable {
  readonly events: Events<CameraEvents>;
  readonly #connector: CameraConnector;
  readonly #options: CameraClientOptions;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #log: Log;
  readonly #transfers: Transfers;
  readonly #streams: AvStreams;
  /** The first connect: it is given up when the last of those that wait for it has left. */
  readonly #connecting: SharedWork<void>;
  #retry: Required<ConnectRetryOptions> = DEFAULT_RETRY;
  #link: CameraLink | undefined;
  #closed = false;
  /** Made for the first who waits for the end. */
  #whenClosed: PromiseWithResolvers<void> | undefined;
  #released = false;
  #heartbeat = true;
  #deviceId: string | undefined;

  constructor(components: CameraClientComponents, options: CameraClientOptions = {}) {
    this.#connector = components.connector;
    this.#options = options;
    this.#clock = components.clock ?? new SystemClock();
    this.#random = components.random ?? new SystemRandom();
    this.#log = components.log ?? silentLog;
    this.events = new Events(this.#log);
    this.#connecting = new SharedWork((signal) => this.#connect(signal));
    const ready = (signal?: AbortSignal | undefined) => this.#ready(signal);
    this.#transfers = new Transfers(ready);
    this.#streams = new AvStreams(ready, this.#log);
  }

  get state(): CameraState {
    if (this.#closed) return CameraState.CLOSED;
    return this.#link?.state ?? CameraState.DISCONNECTED;
  }

  /** The path in use; undefined while there is none. */
  get path(): CameraPath | undefined {
    return this.#link?.link.path;
  }

  /**
   * Connects and logs in, with several attempts. From then on the client reconnects automatically until it is closed.
   * Does nothing when connected; waits for the running attempt when connecting.
   * @throws CameraError `connect-failed` with the last attempt's error as cause, `client-closed`; the signal's reason,
   * after everything that was opened has been closed.
   */
  async connectWithRetries(options: ConnectRetryOptions & Cancellable = {}): Promise<void> {
    const { signal, ...retry } = options;
    if (this.#closed) throw this.#closedError();
    signal?.throwIfAborted();
    if (this.#link !== undefined && !this.#connecting.running) {
      await this.#ready(signal);
      return;
    }
    if (!this.#connecting.running) this.#retry = { ...DEFAULT_RETRY, ...this.#options.retry, ...retry };
    await this.#connecting.join(signal);
  }

  /** Returns the device information. @throws CameraError as {@link ArtemisSession.request}. */
  async deviceInfo({ signal }: Cancellable = {}): Promise<DeviceInfo> {
    const info = await this.#read((session) => session.request(commands.deviceInfo, {}, { signal }), signal);
    this.#deviceId ??= info.devId;
    return info;
  }

  /**
   * Lists all items on the card, newest number first, each once, page by page.
   * @param options `pageItems` below 50, 45 by default; `onUnreadable` is called after the last item with the number of
   * entries that could not be read
   * @throws CameraError as {@link ArtemisSession.request}, `bad-argument`
   */
  mediaList({
    pageItems = PAGE_ITEMS,
    onUnreadable,
    signal,
  }: Cancellable & Partial<ListMediaOptions> = {}): AsyncGenerator<MediaItem, void, undefined> {
    if (!Number.isInteger(pageItems) || pageItems < 1) {
      throw new CameraError('bad-argument', `pageItems must be at least 1, not ${pageItems}.`);
    }
    const request: PageRequest = (command, fields) => this.#read((s) => s.request(command, fields, { signal }), signal);
    return listMedia(request, { pageItems, ...(onUnreadable && { onUnreadable }) });
  }

  /**
   * Downloads thumbnails and yields each item once as it arrives: its data, or the reason why there is none.
   * Such transfers run one after the other.
   * @throws CameraError `transfer-stalled`, `client-closed`; the signal's reason.
   */
  thumbnails<Item extends ItemId>(
    items: Iterable<Item>,
    options: TransferOptions = {},
  ): AsyncGenerator<TransferResult<Item>, void, undefined> {
    return this.#transfers.run(THUMBNAILS, items, options);
  }

  /** Downloads files and verifies their end checks; otherwise as {@link thumbnails}. */
  download<Item extends ItemId>(
    items: Iterable<Item>,
    options: TransferOptions = {},
  ): AsyncGenerator<TransferResult<Item>, void, undefined> {
    return this.#transfers.run(FILES, items, options);
  }

  /**
   * Streams live video and audio until the reader stops: H.264 in Annex-B form, from a key frame on, AAC in ADTS. After
   * a reconnect it continues with the next key frame. Several readers share one stream.
   * @param options `maxQueuedFrames`: a reader that is slower than that loses frames up to a key frame; 120 by default.
   *   `onLost`: called with the number of frames that are missing, once for each session that lost some
   * @throws CameraError as {@link ArtemisSession.request}; the signal's reason.
   */
  live(options: FramesOptions & { maxQueuedFrames?: number } = {}): AsyncGenerator<AvFrame, void, undefined> {
    return this.#streams.live(options.maxQueuedFrames ?? MAX_QUEUED_FRAMES, options);
  }

  /**
   * Plays a recorded video, frame by frame, to its end. Ends with an error when its session ends. Playbacks run one
   * after the other.
   * @param options `onLost`: called at the end with the number of frames that are missing, if any
   * @throws CameraError `command-refused`, `session-closed` and others as {@link ArtemisSession.request}; the signal's
   * reason.
   */
  playback(item: ItemId, options: FramesOptions = {}): AsyncGenerator<AvFrame, void, undefined> {
    return this.#streams.playback(item, options);
  }

  /** Deletes one item from the card. @throws CameraError as {@link ArtemisSession.request}. */
  async deleteItem(item: ItemId, { signal }: Cancellable = {}): Promise<void> {
    const { artemis } = await this.#ready(signal);
    await artemis.request(commands.deleteItem, itemFields(item), { signal });
  }

  /**
   * Formats the card; all data on it is lost.
   * @throws CameraError `confirmation-required` without `confirm: true`; as {@link ArtemisSession.request}.
   */
  async formatSdCard({ confirm, signal }: Cancellable & { confirm?: boolean } = {}): Promise<commands.CardSpace> {
    if (confirm !== true) {
      throw new CameraError(
        'confirmation-required',
        'Formatting erases every picture on the card. Next: pass confirm: true.',
      );
    }
    const { artemis } = await this.#ready(signal);
    return artemis.request(commands.formatSdCard, {}, { signal });
  }

  /**
   * Sends any command by its number, with its fields besides `cmdId` and `token`; resolves with the response's fields.
   * @throws CameraError as {@link ArtemisSession.request}.
   */
  async command(
    id: number,
    fields: object = {},
    options: Cancellable & { timeLimitMs?: number } = {},
  ): Promise<JsonObject> {
    const { artemis } = await this.#ready(options.signal);
    return artemis.command(id, fields, options);
  }

  /** Starts a waiting reconnect at once, because the network is back or the camera was woken. */
  refresh(reason: PathReason = PathReason.requested): void {
    this.#link?.link.refresh(reason);
  }

  /**
   * Yields the current state and then every change of the connection, until the client is closed.
   * @throws the signal's reason when it aborts.
   */
  status({ signal }: Cancellable = {}): AsyncGenerator<CameraStatus, void, undefined> {
    return statusStream(this.events, () => this.state, signal);
  }

  /** Switches the heartbeat off or on again, for this session and later ones. It is on by default. */
  setHeartbeat(enabled: boolean): void {
    this.#heartbeat = enabled;
    this.path?.artemis.setHeartbeat(enabled);
  }

  /** Closes the connection; the client may connect again. Pending calls reject with `not-logged-in`. */
  async disconnect(): Promise<void> {
    if (this.#link && !this.#closed) await this.#discard(this.#link);
  }

  /** Resolves when the client is closed and everything is released. */
  closed(): Promise<void> {
    this.#whenClosed ??= Promise.withResolvers();
    if (this.#released) this.#whenClosed.resolve();
    return this.#whenClosed.promise;
  }

  /** Closes the client; pending calls reject with `client-closed`. Idempotent. */
  async close(): Promise<void> {
    if (this.#closed) return this.closed();
    const previous = this.state;
    this.#closed = true;
    if (this.#link) await this.#link.close();
    else this.events.emit('state', { state: CameraState.CLOSED, previous });
    this.#released = true;
    this.#whenClosed?.resolve();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #connect(signal: AbortSignal): Promise<void> {
    const startedAt = this.#clock.now();
    const link = this.#newLink(this.#retry);
    try {
      await link.link.ready(signal);
    } catch (error) {
      await this.#discard(link);
      if (this.#closed) throw this.#closedError();
      throw signal.aborted ? error : this.#connectError(error, this.#clock.now() - startedAt);
    }
  }

  #newLink(retry: Required<ConnectRetryOptions>): CameraLink {
    this.#link = new CameraLink(
      {
        connector: this.#connector,
        clock: this.#clock,
        random: this.#random,
        log: this.#log,
        events: this.events,
        heartbeat: () => this.#heartbeat,
        deviceId: () => this.#deviceId,
      },
      { ...this.#options, retry },
    );
    return this.#link;
  }

  async #discard(link: CameraLink): Promise<void> {
    if (this.#link === link && !this.#closed) this.#link = undefined;
    await link.abandon();
  }

  /** Returns the current path, or the next one while reconnecting. */
  async #ready(signal?: AbortSignal): Promise<CameraPath> {
    for (;;) {
      if (this.#closed) throw this.#closedError();
      signal?.throwIfAborted();
      const link = this.#link?.link;
      if (link === undefined) throw this.#notConnectedError();
      try {
        const path = await link.ready(signal);
        if (path.artemis.closed === undefined) return path;
        link.reportLoss(path, path.artemis.closed);
      } catch (error) {
        if (this.#closed) throw this.#closedError();
        if (this.#link?.link !== link) throw this.#notConnectedError();
        throw error;
      }
    }
  }

  /** For commands that change nothing: repeated when their session ends. */
  async #read<Result>(
    use: (session: ArtemisSession) => Promise<Result>,
    signal?: AbortSignal | undefined,
  ): Promise<Result> {
    for (let repeats = 0; ; repeats++) {
      const { artemis } = await this.#ready(signal);
      try {
        return await use(artemis);
      } catch (error) {
        if (!isSessionClosed(error) || repeats >= MAX_REPEATS) throw error;
      }
    }
  }

  #connectError(error: unknown, elapsedMs: number): CameraError {
    const target = this.#connector.target ?? 'The camera';
    // The time limit was reached during an attempt, which has not failed yet.
    const overtime = error instanceof TowpathError && error.code === 'retries-timed-out';
    const last = overtime ? error.cause : error;
    const said =
      last === undefined
        ? 'Next: wake the camera, join its network, or increase the time limit.'
        : `Last attempt: ${errorMessage(last)}`;
    const message = `${target} was not reached in ${(elapsedMs / 1000).toFixed(1)} s. ${said}`;
    const report =
      error instanceof TowpathError ? (error.report ?? (last instanceof TowpathError && last.report)) : undefined;
    return new CameraError('connect-failed', message, { target, cause: error, report: report || undefined });
  }

  #notConnectedError(): CameraError {
    return new CameraError('not-logged-in', 'The camera is not connected. Next: call connectWithRetries.');
  }

  #closedError(): CameraError {
    return new CameraError('client-closed', 'The camera client is closed. Next: create a new one.');
  }
}
