import { join } from 'node:path';
import {
  type AvFrame,
  type CameraClient,
  type CameraRaceResult,
  type MediaItem as CardItem,
  watchChecks,
} from '@towpath/camera';
import { runVisits } from '@towpath/camera/outputs';
import {
  AbortedError,
  backoff,
  errorCode,
  errorMessage,
  isAbort,
  type Timer,
  TowpathError,
  Wakeup,
} from '@towpath/core';
import type { Camera, DaemonEvent, MediaItem, Problem } from '@towpath/dashboard/api';
import { formatEndpoint } from '@towpath/net';
import { visitCamera } from '../../commands/camera/hotspot.ts';
import { unreadableText } from '../../commands/camera/media.ts';
import { type CameraRuntime, contestedText, openCamera, type RaceWatch } from '../../commands/camera/target.ts';
import type { CameraConfig, DaemonConfig, WakeConfig } from '../config/config.ts';
import type { CameraMemo } from '../state/state-folder.ts';
import { raceOf } from './camera-race.ts';
import type { HeldDevices } from './held-devices.ts';
import { HeldOutputs } from './held-outputs.ts';
import { HeldPictures } from './held-pictures.ts';
import { MediaCatalog, mediaId } from './media-catalog.ts';
import { infoOf, memoOf, targetOptions } from './target-options.ts';

/** A camera may sleep for days: it is tried without end, in the end every five minutes. */
const FIRST_WAITS_MS = [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 60_000, 120_000, 300_000];
/** Waits after the client has given up: nothing at the address is a camera. */
const GIVEN_UP = { baseMs: 5_000, maxMs: 300_000 } as const;
/** The device information changes slowly, and asking costs battery. */
const DEVICE_INFO_MS = 5 * 60_000;
/** The whole card is listed again this often; between, only what is new. */
const WHOLE_CARD_MS = 6 * 3_600_000;
/** A page that shows live video keeps a camera awake for so long. */
const WATCHED_MS = 10 * 60_000;
/** Changes within this time are told together; longer where there are very many items to count, ms for each of them. */
const TELL_MS = 100;
const TELL_MS_PER_ITEM = 0.01;

export interface CameraHolderComponents {
  readonly runtime: CameraRuntime;
  readonly publish: (event: DaemonEvent) => void;
  readonly remember: (name: string, memo: CameraMemo) => void;
  /** Remembers when a camera that is woken was visited. */
  readonly visited: (name: string, at: string) => void;
  /** Waits for the Wi-Fi adapter. */
  readonly turn: (adapter: string | undefined, signal?: AbortSignal) => Promise<Disposable>;
  /** Which entry has which device. */
  readonly devices: HeldDevices;
  /** Free space of the folder, bytes. @default what the system says */
  readonly freeBytes?: ((folder: string) => Promise<number>) | undefined;
}

/** Holds one camera: connected, watched, its pictures fetched and kept as long as wanted. */
export class CameraHolder implements AsyncDisposable {
  readonly catalog: MediaCatalog;
  readonly pictures: HeldPictures;
  readonly #components: CameraHolderComponents;
  readonly #checkEveryMs: number;
  readonly #closing = new AbortController();
  #running: Promise<void> = Promise.resolve();
  #round = new AbortController();
  #memo: CameraMemo | undefined;
  #race: CameraRaceResult | undefined;
  #raceAtMs = 0;
  #problem: Problem | undefined;
  #unreadable = 0;
  #contested = false;
  #sinceMs: number;
  #nextTryMs: number | undefined;
  #checkedMs: number | undefined;
  #infoMs = Number.NEGATIVE_INFINITY;
  #telling: Timer | undefined;
  #config: CameraConfig;
  #client: CameraClient;
  /** When the next visit is due, wall time; undefined while one runs or none is planned. */
  #visitAtMs: number | undefined;
  readonly #visitNow: Wakeup;
  /** Pages that show live video. */
  #watching = 0;
  readonly #unwatched: Wakeup;
  #outputs: HeldOutputs;

  private constructor(
    components: CameraHolderComponents,
    config: CameraConfig,
    options: { pictures: DaemonConfig['pictures']; memo: CameraMemo | undefined; catalog: MediaCatalog },
  ) {
    const { runtime } = components;
    this.#config = config;
    this.catalog = options.catalog;
    this.#components = components;
    this.#checkEveryMs = options.pictures.checkEveryMs;
    this.#memo = options.memo;
    this.#sinceMs = runtime.clock.wallTime();
    this.#visitNow = new Wakeup(runtime);
    this.#unwatched = new Wakeup(runtime);
    // For a camera that is woken each visit has its own; this one says until then that it is not connected.
    this.#client = openCamera(runtime, config.target, targetOptions(config), this.#raceWatch());
    if (config.wake === undefined) this.#listen(this.#client);
    this.#outputs = this.#makeOutputs(config);
    this.pictures = new HeldPictures({
      clock: runtime.clock,
      log: runtime.log,
      catalog: options.catalog,
      pictures: options.pictures,
      config,
      client: () => this.#client,
      itemChanged: (id) => this.itemChanged(id),
      tellNew: () => this.#outputs.tellNew(),
      freeBytes: components.freeBytes,
    });
  }

  get config(): CameraConfig {
    return this.#config;
  }

  get client(): CameraClient {
    return this.#client;
  }

  /** Begins to hold a camera. @throws CameraError `disk-full`, `permission-denied`, `disk-failed`. */
  static async open(
    components: CameraHolderComponents,
    config: CameraConfig,
    options: { pictures: DaemonConfig['pictures']; memo: CameraMemo | undefined; visitedAt?: string | undefined },
  ): Promise<CameraHolder> {
    const { clock, log } = components.runtime;
    const { name, timeZone } = config;
    const folder = join(options.pictures.folder, name);
    const catalog = await MediaCatalog.open({ clock, log }, { name, folder, timeZone });
    const holder = new CameraHolder(components, config, { ...options, catalog });
    if (options.memo !== undefined) await holder.#outputs.identify(infoOf(options.memo));
    const run = config.wake === undefined ? holder.#run() : holder.#visitOnSchedule(config.wake, options.visitedAt);
    holder.#running = run.catch((error: unknown) => {
      if (!holder.#closing.signal.aborted) log.error(`Camera ${name} is not held any more: ${errorMessage(error)}`);
    });
    return holder;
  }

  describe(): Camera {
    const { name, target, via, keep, deleteFromCard } = this.config;
    const { path } = this.client;
    const kept = this.catalog.kept();
    const listed = this.catalog.onCard !== undefined;
    const nextMs = this.#nextTryMs ?? this.#visitAtMs;
    return {
      name,
      target,
      via: via ?? null,
      state: this.#state(),
      since: iso(this.#sinceMs),
      problem: this.#problem ?? this.#outputs.problem ?? null,
      outputProblems: this.#outputs.receiverProblems,
      nextTryAt: nextMs === undefined ? null : iso(nextMs),
      path:
        path === undefined
          ? null
          : {
              kind: path.pathKind,
              endpoint: formatEndpoint(path.artemis.carrier.peer),
              rttMs: path.artemis.carrier.stats.rttMs ?? null,
            },
      race: this.#race === undefined ? null : raceOf(this.#race, this.#raceAtMs),
      device: this.#device(),
      pictures: {
        onCard: this.catalog.onCard ?? null,
        saved: kept.count,
        missing: listed ? this.catalog.missing.length : null,
        bytes: kept.bytes,
        newestAt: this.catalog.newestAt() ?? null,
        checkedAt: this.#checkedMs === undefined ? null : iso(this.#checkedMs),
      },
      retention: { keepDays: keep.days, keepBytes: keep.bytes, deleteFromCard },
    };
  }

  /** Lists the whole card now and fetches what is missing; a camera that sleeps is woken for it. */
  check(): void {
    if (this.config.wake !== undefined) {
      if (this.#visitAtMs !== undefined) this.#visitNow.wake();
      return;
    }
    this.client.refresh();
    this.#infoMs = Number.NEGATIVE_INFINITY;
    this.#round.abort(new AbortedError('Another check was asked for.'));
  }

  /** Tells pages what has become of the camera, soon. */
  changed(): void {
    const delayMs = TELL_MS + TELL_MS_PER_ITEM * this.catalog.size;
    this.#telling ??= this.#components.runtime.clock.timer(delayMs, () => {
      this.#telling = undefined;
      this.#components.publish({ type: 'camera', camera: this.describe() });
      this.#tellOutputs();
    });
  }

  /** Live video for outputs. @throws TowpathError `not-connected` while the camera sleeps; as `CameraClient.live` */
  async *live(options: Parameters<CameraClient['live']>[0] = {}): AsyncGenerator<AvFrame, void, undefined> {
    this.requireAwake();
    yield* this.client.live(options);
  }

  /** Live video for a page: a camera that sleeps otherwise stays awake for it, for some minutes. Throws as {@link live}. */
  async *watch(options: Parameters<CameraClient['live']>[0] = {}): AsyncGenerator<AvFrame, void, undefined> {
    this.#watching++;
    try {
      yield* this.live(options);
    } finally {
      this.#watching--;
      if (this.#watching === 0) this.#unwatched.wake();
    }
  }

  /** @throws TowpathError `not-connected` while the camera sleeps. */
  requireAwake(): void {
    if (this.config.wake === undefined || this.client.state === 'CONNECTED') return;
    const at = this.#visitAtMs === undefined ? 'soon' : `at ${iso(this.#visitAtMs)}`;
    throw new TowpathError(
      'not-connected',
      `${this.config.name} sleeps, and is visited next ${at}. Next: check it now, which wakes it.`,
      { target: this.config.name, kind: 'unreachable' },
    );
  }

  /** Applies other outputs without a new connection to the camera. */
  async setOutputs(config: CameraConfig): Promise<void> {
    this.#config = config;
    await this.#outputs[Symbol.asyncDispose]();
    if (config.outputs === undefined) await this.#outputs.forget();
    this.#outputs = this.#makeOutputs(config);
    if (this.#memo !== undefined) await this.#outputs.identify(infoOf(this.#memo));
    // New is what is not known now.
    if (this.catalog.onCard !== undefined) {
      await this.#outputs.begin().catch((error: unknown) => this.#failed(error));
    }
    this.changed();
  }

  /** Drops what waits for outputs of a camera that is no longer configured; when it is not held any more. */
  async forgetOutputs(): Promise<void> {
    if (this.#config.outputs !== undefined) await this.#outputs.forget();
  }

  /** Tells pages of one item. */
  itemChanged(id: string): void {
    const item: MediaItem | undefined = this.catalog.item(id);
    if (item !== undefined) this.#components.publish({ type: 'media', camera: this.config.name, item });
    else this.#components.publish({ type: 'media-removed', camera: this.config.name, items: [id] });
    this.changed();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new AbortedError('The camera is not held any more.'));
    this.#telling?.cancel();
    // The client of a visit is closed by the visit, before the hotspot is left.
    if (this.config.wake === undefined) await this.client.close();
    await this.#running;
    await this.client.close();
    this.#telling?.cancel();
    await this.#outputs[Symbol.asyncDispose]();
    await this.catalog[Symbol.asyncDispose]();
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    const { clock } = this.#components.runtime;
    await this.#connect(signal);
    while (!signal.aborted) {
      this.#round = new AbortController();
      using _whole = clock.timer(WHOLE_CARD_MS, () => this.#round.abort(new AbortedError('The card is listed anew.')));
      try {
        await this.#watch(AbortSignal.any([signal, this.#round.signal]));
      } catch (error) {
        if (signal.aborted) return;
        if (isAbort(error)) continue;
        this.#failed(error);
        await clock.sleep(this.#checkEveryMs, AbortSignal.any([signal, this.#round.signal])).catch(() => {});
      }
    }
  }

  /** Connects, however long it takes; also when the client has given up for good, as for an address without a camera. */
  async #connect(signal: AbortSignal): Promise<void> {
    const { clock, random } = this.#components.runtime;
    for (const waitMs of backoff({ ...GIVEN_UP, random })) {
      try {
        await this.client.connectWithRetries({
          tries: Number.POSITIVE_INFINITY,
          limitMs: Number.MAX_SAFE_INTEGER,
          backoffMs: FIRST_WAITS_MS,
          signal,
        });
        return;
      } catch (error) {
        if (signal.aborted) throw error;
        this.#notConnected(errorMessage(error), waitMs);
        await clock.sleep(waitMs, AbortSignal.any([signal, this.#round.signal])).catch(() => signal.throwIfAborted());
        if (this.#round.signal.aborted) this.#round = new AbortController();
      }
    }
  }

  #notConnected(message: string, nextMs: number | undefined): void {
    const { clock } = this.#components.runtime;
    this.#nextTryMs = nextMs === undefined ? undefined : clock.wallTime() + nextMs;
    this.#problem = { code: 'not-connected', message, at: iso(clock.wallTime()) };
    this.changed();
  }

  async #watch(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#components.runtime;
    let first = true;
    const checks = watchChecks({ client: this.client, clock, log, everyMs: this.#checkEveryMs, signal });
    for await (const { items, unreadable } of checks) {
      this.#tellUnreadable(unreadable);
      await this.#listed(items, first, signal);
      first = false;
      try {
        await this.pictures.keepUp(signal);
        this.#problem = undefined;
      } catch (error) {
        if (isAbort(error) || signal.aborted) throw error;
        // It is noted; the next check tries again.
        this.#failed(error);
      }
      this.changed();
    }
  }

  async #listed(items: Iterable<CardItem>, whole: boolean, signal: AbortSignal): Promise<void> {
    const fresh = this.catalog.listed(items, whole);
    this.#checkedMs = this.#components.runtime.clock.wallTime();
    await this.#readDevice(signal);
    // What is on the card when the outputs are new is not told of; a failure is noted by what follows.
    await this.#outputs.begin();
    // The first listing is fetched by pages; what comes later is told.
    if (!whole) for (const item of fresh) this.itemChanged(mediaId(item));
  }

  /** Visits a camera that sleeps in between, until it is not held any more. @param visitedAt of the last visit */
  async #visitOnSchedule({ times, wifi }: WakeConfig, visitedAt: string | undefined): Promise<void> {
    const { runtime, turn, visited } = this.#components;
    const { clock } = runtime;
    const { name } = this.config;
    const sinceMs = clock.wallTime() - Date.parse(visitedAt ?? '');
    const leftMs = 'everyMs' in times && sinceMs >= 0 ? Math.max(0, times.everyMs - sinceMs) : 0;
    await runVisits(runtime, {
      times: 'everyMs' in times ? { ...times, firstInMs: leftMs } : times,
      now: this.#visitNow,
      signal: this.#closing.signal,
      turn: (signal) => turn(wifi, signal),
      visit: async (signal) => {
        const startedAt = iso(clock.wallTime());
        this.#visitAtMs = undefined;
        this.#nextTryMs = undefined;
        this.changed();
        await this.#visit(signal);
        this.#problem = undefined;
        visited(name, startedAt);
      },
      onFailed: (error, againInMs) => {
        this.#failed(error);
        this.#visitAtMs = againInMs === undefined ? undefined : clock.wallTime() + againInMs;
        this.#nextTryMs = this.#visitAtMs;
        this.changed();
      },
      onIdle: (leftInMs) => {
        this.#nextTryMs = undefined;
        this.#visitAtMs = clock.wallTime() + leftInMs;
        this.#sinceMs = clock.wallTime();
        this.changed();
      },
    });
  }

  async #visit(signal: AbortSignal): Promise<void> {
    const { runtime } = this.#components;
    const { wake, target, name } = this.config;
    const options = {
      ...targetOptions(this.config),
      ...(wake?.bluetooth !== undefined && { bluetooth: wake.bluetooth }),
      ...(wake?.bluetoothAdapter !== undefined && { bluetoothAdapter: wake.bluetoothAdapter }),
      ...(wake?.wifi !== undefined && { wifiDevice: wake.wifi }),
    };
    const hooks = {
      tell: (step: string, phase: string, text: string) => runtime.log.debug(`${name}: ${text}`, { step, phase }),
      onClient: (client: CameraClient) => {
        this.#client = client;
        this.#listen(client);
      },
      race: this.#raceWatch(),
      signal,
    };
    await visitCamera({ ...runtime, signal }, target, options, hooks, async (client, until) => {
      this.#infoMs = Number.NEGATIVE_INFINITY;
      const onUnreadable = (count: number) => this.#tellUnreadable(count);
      const items = await Array.fromAsync(client.mediaList({ signal: until, onUnreadable }));
      await this.#listed(items.reverse(), true, until);
      await this.pictures.keepUp(until);
      this.#problem = undefined;
      await this.#whileWatched(until);
      // Downloads that a person asked for.
      using _turn = await this.pictures.work.acquire(until);
    });
  }

  /** Waits while a page shows live video, for some minutes at most: it empties the camera's batteries. */
  async #whileWatched(signal: AbortSignal): Promise<void> {
    const { clock } = this.#components.runtime;
    const endMs = clock.now() + WATCHED_MS;
    while (this.#watching > 0 && clock.now() < endMs) await this.#unwatched.wait(endMs - clock.now(), signal);
  }

  #makeOutputs({ name, timeZone, outputs }: CameraConfig): HeldOutputs {
    const { runtime, devices } = this.#components;
    const changed = () => this.changed();
    const parts = { runtime, live: this, catalog: this.catalog, devices, name, timeZone, changed };
    return new HeldOutputs(parts, outputs);
  }

  #tellOutputs(): void {
    const { path } = this.client;
    this.#outputs.update({
      connected: path !== undefined,
      roundTripMs: path?.artemis.carrier.stats.rttMs,
      lastPictureAt: this.catalog.newestAt(),
    });
  }

  #raceWatch(): RaceWatch {
    const { clock } = this.#components.runtime;
    return {
      onResult: (result) => {
        this.#race = result;
        this.#raceAtMs = clock.wallTime() - result.report.elapsedMs;
      },
      onContested: (contest) => this.#tellContested(contestedText(contest)),
    };
  }

  async #readDevice(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#components.runtime;
    if (clock.now() - this.#infoMs < DEVICE_INFO_MS) return;
    try {
      const info = await this.client.deviceInfo({ signal });
      this.#infoMs = clock.now();
      this.#memo = memoOf(info, iso(clock.wallTime()));
      this.#components.remember(this.config.name, this.#memo);
      await this.#outputs.identify(info);
    } catch (error) {
      if (isAbort(error)) throw error;
      log.debug(`${this.config.name} did not tell about itself: ${errorMessage(error)}`);
    }
  }

  /** Entries of the card's list that are not fetched because nobody can read them; each number is said once. */
  #tellUnreadable(count: number): void {
    if (count === 0 || count === this.#unreadable) return;
    this.#unreadable = count;
    this.#components.runtime.log.warn(`${this.config.name}: ${unreadableText(count)}`, { code: 'bad-response' });
  }

  /** Once: each visit of a camera that is woken begins with a race. */
  #tellContested(message: string): void {
    if (this.#contested) return;
    this.#contested = true;
    const { runtime, publish } = this.#components;
    const notice = {
      code: 'uid-contested',
      message: `${this.config.name}: ${message}`,
      at: iso(runtime.clock.wallTime()),
    };
    runtime.log.warn(notice.message, { code: notice.code });
    publish({ type: 'notice', level: 'warning', notice });
  }

  #failed(error: unknown): void {
    const { runtime } = this.#components;
    const problem = { code: errorCode(error), message: errorMessage(error), at: iso(runtime.clock.wallTime()) };
    const isNew = problem.code !== this.#problem?.code;
    this.#problem = problem;
    this.changed();
    if (!isNew) return;
    runtime.log.warn(`${this.config.name}: ${problem.message}`, { code: problem.code });
    if (problem.code === 'disk-full') this.#components.publish({ type: 'notice', level: 'warning', notice: problem });
  }

  #state(): Camera['state'] {
    if (this.#closing.signal.aborted) return 'stopped';
    if (this.#visitAtMs !== undefined) return this.#nextTryMs === undefined ? 'asleep' : 'waiting';
    switch (this.client.state) {
      case 'CONNECTED':
        return 'connected';
      case 'RECONNECTING':
        return 'reconnecting';
      case 'DISCONNECTED':
        return this.#nextTryMs === undefined ? 'connecting' : 'waiting';
      default:
        return 'connecting';
    }
  }

  #device(): Camera['device'] {
    if (this.#memo === undefined) return null;
    const { deviceId, ...memo } = this.#memo;
    return { id: deviceId, ...memo, signalDbm: null };
  }

  #listen({ events }: CameraClient): void {
    const { clock, log } = this.#components.runtime;
    events.on('state', ({ state }) => {
      this.#sinceMs = clock.wallTime();
      if (state !== 'DISCONNECTED') this.#nextTryMs = undefined;
      this.changed();
    });
    events.on('connected', ({ path, reconnect }) => {
      if (this.#problem?.code === 'not-connected') this.#problem = undefined;
      log.info(`${this.config.name} is ${reconnect ? 'connected again' : 'connected'}`, { path: path.pathKind });
      this.changed();
    });
    events.on('lost', ({ code, message }) => {
      log.info(`${this.config.name} was lost: ${message}`, { code });
      this.changed();
    });
    events.on('tryFailed', ({ error, nextMs }) => this.#notConnected(error.message, nextMs));
  }
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}
