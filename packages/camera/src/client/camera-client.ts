import {
  type Clock,
  Events,
  errorMessage,
  type Log,
  type Random,
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
import { AvStreams, MAX_QUEUED_FRAMES } from './av-streams.ts';
import { type CameraEvents, CameraLink, type SessionTuning } from './camera-link.ts';
import type { CameraPath } from './camera-path.ts';
import { CameraState } from './camera-state.ts';
import type { CameraConnector } from './connector.ts';
import { listMedia, PAGE_ITEMS } from './media-list.ts';
import { isSessionClosed } from './path-source.ts';
import { type ConnectRetryOptions, DEFAULT_RETRY } from './retry.ts';
import { FILES, THUMBNAILS, type TransferOptions, type TransferResult } from './transfer.ts';
import { Transfers } from './transfers.ts';

export interface CameraClientOptions extends SessionTuning {
  /** Finds the camera; called again for every try and every reconnect. */
  connector: CameraConnector;
  clock?: Clock;
  random?: Random;
  log?: Log;
  /** Defaults of {@link CameraClient.connectWithRetries}. */
  retry?: ConnectRetryOptions;
}

interface Cancellable {
  signal?: AbortSignal;
}

/** A reading that was cut off by the end of its session is repeated on the next this often. */
const MAX_REPEATS = 3;

/**
 * A camera that stays connected: logs in, sends the heartbeat, reconnects when the connection is lost, and lets what was
 * being read go on where it was.
 *
 * Methods wait while it is reconnecting; they throw CameraError `not-logged-in` when it was never connected and
 * `client-closed` after `close`.
 */
export class CameraClient implements AsyncDisposable {
  readonly events: Events<CameraEvents> = new Events();
  readonly #options: CameraClientOptions;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #log: Log;
  readonly #transfers: Transfers;
  readonly #streams: AvStreams;
  #link: CameraLink | undefined;
  #closed = false;

  constructor(options: CameraClientOptions) {
    this.#options = options;
    this.#clock = options.clock ?? new SystemClock();
    this.#random = options.random ?? new SystemRandom();
    this.#log = options.log ?? silentLog;
    const ready = (signal?: AbortSignal) => this.#ready(signal);
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
   * Connects and logs in, with several tries. From then on the client reconnects by itself until it is closed.
   * Does nothing when it is connected; joins in when it is connecting.
   * @throws CameraError `connect-failed` with the last try's error as cause, `client-closed`; the signal's reason, after
   *   everything that was opened has been closed.
   */
  async connectWithRetries(options: ConnectRetryOptions & Cancellable = {}): Promise<void> {
    const { signal, ...retry } = options;
    if (this.#closed) throw this.#closedError();
    signal?.throwIfAborted();
    const startedAt = this.#clock.now();
    const joined = this.#link;
    const link = joined ?? this.#newLink({ ...DEFAULT_RETRY, ...this.#options.retry, ...retry });
    try {
      await link.link.ready(signal);
    } catch (error) {
      if (joined === undefined) await this.#discard(link);
      if (signal?.aborted) throw signal.reason;
      if (this.#closed) throw this.#closedError();
      throw this.#connectError(error, this.#clock.now() - startedAt);
    }
  }

  /** What the camera says of itself. @throws CameraError as {@link ArtemisSession.request}. */
  deviceInfo({ signal }: Cancellable = {}): Promise<DeviceInfo> {
    return this.#read((session) => session.request(commands.deviceInfo, {}, { signal }), signal);
  }

  /**
   * Everything on the card, newest number first, each item once, page by page as it is read.
   * @param options `pageItems` below 50, 45 by default
   * @throws CameraError as {@link ArtemisSession.request}, `bad-argument`
   */
  mediaList({
    pageItems = PAGE_ITEMS,
    signal,
  }: Cancellable & { pageItems?: number } = {}): AsyncGenerator<MediaItem, void, undefined> {
    if (!Number.isInteger(pageItems) || pageItems < 1) {
      throw new CameraError('bad-argument', `A page has at least one item, not ${pageItems}.`);
    }
    return listMedia((command, fields) => this.#read((s) => s.request(command, fields, { signal }), signal), pageItems);
  }

  /**
   * The small pictures of some items, as they arrive, each once: data or the reason why there is none.
   * One such transfer runs at a time, a second one waits for its turn.
   * @throws CameraError `transfer-stalled`, `client-closed`; the signal's reason.
   */
  thumbnails<Item extends ItemId>(
    items: Iterable<Item>,
    options: TransferOptions = {},
  ): AsyncGenerator<TransferResult<Item>, void, undefined> {
    return this.#transfers.run(THUMBNAILS, items, options);
  }

  /** The files of some items, checked against their end checks; otherwise as {@link thumbnails}. */
  download<Item extends ItemId>(
    items: Iterable<Item>,
    options: TransferOptions = {},
  ): AsyncGenerator<TransferResult<Item>, void, undefined> {
    return this.#transfers.run(FILES, items, options);
  }

  /**
   * Live video and audio until the reader stops: H.264 in Annex-B form, from a key frame on, AAC in ADTS. After a
   * reconnect it goes on with the next key frame. Several readers share one stream.
   * @param options `maxQueuedFrames`: a reader that is slower than that loses frames up to a key frame; 120 by default
   * @throws CameraError as {@link ArtemisSession.request}; the signal's reason.
   */
  live(options: Cancellable & { maxQueuedFrames?: number } = {}): AsyncGenerator<AvFrame, void, undefined> {
    return this.#streams.live(options.maxQueuedFrames ?? MAX_QUEUED_FRAMES, options.signal);
  }

  /**
   * A recorded video, frame by frame, to its end. Does not survive the loss of its session. One runs at a time, a second
   * one waits for its turn.
   * @throws CameraError `command-refused`, `session-closed` and others as {@link ArtemisSession.request}; the signal's reason.
   */
  playback(item: ItemId, { signal }: Cancellable = {}): AsyncGenerator<AvFrame, void, undefined> {
    return this.#streams.playback(item, signal);
  }

  /** Deletes one item from the card. @throws CameraError as {@link ArtemisSession.request}. */
  async deleteItem(item: ItemId, { signal }: Cancellable = {}): Promise<void> {
    const { artemis } = await this.#ready(signal);
    await artemis.request(commands.deleteItem, itemFields(item), { signal });
  }

  /**
   * Formats the card: everything on it is lost.
   * @throws CameraError `confirmation-required` without `confirm: true`; as {@link ArtemisSession.request}.
   */
  async formatSdCard({ confirm, signal }: Cancellable & { confirm?: boolean } = {}): Promise<commands.CardSpace> {
    if (confirm !== true) {
      throw new CameraError('confirmation-required', 'Formatting erases every picture on the card: say confirm: true.');
    }
    const { artemis } = await this.#ready(signal);
    return artemis.request(commands.formatSdCard, {}, { signal });
  }

  /**
   * Any command by its number, with its fields besides `cmdId` and `token`; resolves with the answer's fields.
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

  /** The network is back, or the camera was woken: a waiting reconnect tries at once. */
  poke(why: string): void {
    this.#link?.link.poke(why);
  }

  /** Ends everything; running calls reject with `client-closed`. Idempotent. */
  async close(): Promise<void> {
    if (this.#closed) return;
    const previous = this.state;
    this.#closed = true;
    if (this.#link) await this.#link.close();
    else this.events.emit('state', { state: CameraState.CLOSED, previous });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #newLink(retry: Required<ConnectRetryOptions>): CameraLink {
    const { connector, utcOffsetMs, greetingLimitMs, heartbeatIntervalMs } = this.#options;
    this.#link = new CameraLink({
      connector,
      clock: this.#clock,
      random: this.#random,
      log: this.#log,
      retry,
      events: this.events,
      utcOffsetMs,
      greetingLimitMs,
      heartbeatIntervalMs,
    });
    return this.#link;
  }

  async #discard(link: CameraLink): Promise<void> {
    if (this.#link === link && !this.#closed) this.#link = undefined;
    await link.abandon();
  }

  /** A path that can be used now, or after the reconnect that is under way. */
  async #ready(signal?: AbortSignal): Promise<CameraPath> {
    for (;;) {
      if (this.#closed) throw this.#closedError();
      signal?.throwIfAborted();
      const link = this.#link?.link;
      if (link === undefined) {
        throw new CameraError('not-logged-in', 'The camera is not connected. Call connectWithRetries first.');
      }
      try {
        const path = await link.ready(signal);
        if (path.artemis.closed === undefined) return path;
        link.reportLoss(path, path.artemis.closed);
      } catch (error) {
        if (this.#closed) throw this.#closedError();
        throw error;
      }
    }
  }

  /** For commands that change nothing: repeated when the session ends under them. */
  async #read<Result>(use: (session: ArtemisSession) => Promise<Result>, signal?: AbortSignal): Promise<Result> {
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
    const target = this.#options.connector.target ?? 'The camera';
    // Out of time in the middle of a try, which has had no chance to say anything.
    const overtime = error instanceof TowpathError && error.code === 'retries-timed-out';
    const last = overtime ? error.cause : error;
    const said =
      last === undefined
        ? 'Next: wake it, join its network, or allow more time.'
        : `The last try said: ${errorMessage(last)}`;
    const message = `${target} was not reached in ${(elapsedMs / 1000).toFixed(1)} s. ${said}`;
    return new CameraError('connect-failed', message, { target, cause: error });
  }

  #closedError(): CameraError {
    return new CameraError('client-closed', 'The camera client was closed. Make a new one.');
  }
}
