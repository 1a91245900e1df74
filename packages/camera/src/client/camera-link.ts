import { type Clock, errorMessage, type Events, Link, type Log, type Random, type TowpathError } from '@towpath/core';
import { CameraError } from '../artemis/camera-error.ts';
import type { CameraEvent } from '../artemis/event.ts';
import { ArtemisSession } from './artemis-session.ts';
import { CameraPath } from './camera-path.ts';
import { type CameraPhase, type CameraState, type CameraStateEvent, initialPhase, stepPhase } from './camera-state.ts';
import type { CameraConnector, ConnectedCamera } from './connector.ts';
import type { HeartbeatReport } from './heartbeat.ts';
import { againPolicy, type ConnectRetryOptions, firstPolicy } from './retry.ts';

/** What happens to a {@link CameraClient}. */
export interface CameraEvents {
  state: { state: CameraState; previous: CameraState };
  /** Commands can be sent: the first time, after a loss (`reconnect`), or over a better path (`replaced`). */
  connected: { path: CameraPath; reconnect: boolean; replaced: boolean };
  /** The camera is lost and is being looked for. */
  lost: TowpathError;
  /** A try has failed; the next comes in `nextMs`, or never. */
  tryFailed: { error: TowpathError; tries: number; nextMs: number | undefined };
  /** The first connect has failed for good. */
  gaveUp: TowpathError;
  /** An unsolicited message of the camera. */
  event: CameraEvent;
  heartbeat: HeartbeatReport;
}

/** What a {@link CameraClient} may be told about its sessions. */
export interface SessionTuning {
  /** How far local wall time is ahead of UTC at a moment, ms. @default the system's time zone */
  utcOffsetMs?(wallTimeMs: number): number;
  /** @default 1000 */
  greetingLimitMs?: number;
  /** @default 3000 */
  heartbeatIntervalMs?: number;
}

export interface CameraLinkOptions extends SessionTuning {
  connector: CameraConnector;
  clock: Clock;
  random: Random;
  log: Log;
  retry: Required<ConnectRetryOptions>;
  events: Events<CameraEvents>;
}

/** The connector ends so much before its try does: by itself it knows more to say than when it is aborted, ms. */
const DISCOVERY_GRACE_MS = 100;

/** Transfers on a path that was replaced get this long to finish their item, ms. */
const DRAIN_LIMIT_MS = 5000;

/** Sessions that end sooner than this after their login, ms, are no success: after two in a row each try waits longer. */
const SHORT_LIFE_MS = 5000;
const SHORT_LIFE_DELAY_MS = 250;
const SHORT_LIFE_MAX_DELAY_MS = 2000;

/** Keeps one camera logged in: a core link whose paths are ARTEMIS sessions. */
export class CameraLink {
  readonly link: Link<CameraPath>;
  readonly #options: CameraLinkOptions;
  readonly #log: Log;
  readonly #target: string;
  #phase: CameraPhase = initialPhase;
  #upAt = 0;
  #shortLives = 0;

  constructor(options: CameraLinkOptions) {
    const { clock, log, connector, retry, random } = options;
    this.#options = options;
    this.#log = log;
    this.#target = connector.target ?? 'the camera';
    this.link = new Link({
      target: this.#target,
      clock,
      log,
      connect: ({ signal, reconnect }) => this.#connect(signal, reconnect),
      watch: (path, { signal }) => ended(path.artemis, signal),
      release: (path) => this.#release(path),
      first: firstPolicy(retry, random),
      again: againPolicy(random),
    });
    this.#follow();
  }

  get state(): CameraState {
    return this.#phase.state;
  }

  async close(): Promise<void> {
    await this.link.close();
    this.#step('close');
  }

  /** Closes the link of a client that may connect again. */
  async abandon(): Promise<void> {
    await this.link.close();
    this.#step('gave-up');
  }

  #follow(): void {
    const { clock } = this.#options;
    this.link.events.on('up', ({ path, replaced }) => {
      this.#upAt = clock.now();
      const reconnect = this.#phase.wasUp && !replaced;
      this.#step('up');
      this.#emit('connected', { path, reconnect, replaced });
    });
    this.link.events.on('down', (error) => {
      this.#shortLives = clock.now() - this.#upAt < SHORT_LIFE_MS ? this.#shortLives + 1 : 0;
      this.#step('lost');
      this.#emit('lost', error);
    });
    this.link.events.on('tryFailed', (failure) => {
      this.#step('try-failed');
      this.#emit('tryFailed', failure);
    });
    this.link.events.on('gaveUp', (error) => {
      this.#step('gave-up');
      this.#emit('gaveUp', error);
    });
  }

  #step(event: CameraStateEvent): void {
    const previous = this.#phase.state;
    this.#phase = stepPhase(this.#phase, event);
    const { state } = this.#phase;
    if (state === previous) return;
    this.#log.debug(`${previous} → ${state}`);
    this.#emit('state', { state, previous });
  }

  /** A listener's error is the listener's: it must not end the session from whose timers and datagrams it was called. */
  #emit<Name extends keyof CameraEvents>(name: Name, value: CameraEvents[Name]): void {
    try {
      this.#options.events.emit(name, value);
    } catch (error) {
      this.#log.error(`A listener of ${name} failed: ${errorMessage(error)}`);
    }
  }

  async #connect(signal: AbortSignal, reconnect: boolean): Promise<CameraPath> {
    this.#step('try');
    if (this.#shortLives > 1) await this.#options.clock.sleep(this.#shortLifeDelayMs(), signal);
    const lineage = new AbortController();
    try {
      const connected = await this.#discover(signal, reconnect, lineage);
      this.#step('found');
      this.#step('login');
      return await this.#login(connected, lineage, signal);
    } catch (error) {
      lineage.abort(error);
      throw error;
    }
  }

  #shortLifeDelayMs(): number {
    return Math.min(SHORT_LIFE_MAX_DELAY_MS, SHORT_LIFE_DELAY_MS * 2 ** (this.#shortLives - 2));
  }

  async #discover(signal: AbortSignal, reconnect: boolean, lineage: AbortController): Promise<ConnectedCamera> {
    const { connector, clock, retry } = this.#options;
    const late = new AbortController();
    const timer = clock.timer(retry.discoveryTimeoutMs, () => late.abort(this.#notFoundError()));
    try {
      return await connector.connect({
        signal: AbortSignal.any([signal, late.signal]),
        limitMs: Math.max(1, retry.discoveryTimeoutMs - DISCOVERY_GRACE_MS),
        reconnect,
        lifetime: lineage.signal,
        onBetter: (better) => this.#consider(better, lineage),
      });
    } catch (error) {
      // The search's own report says more than the time limit that ended it, unless it only repeats it.
      throw late.signal.aborted && !signal.aborted ? this.#notFoundError(error) : error;
    } finally {
      timer.cancel();
    }
  }

  #notFoundError(cause?: unknown): CameraError {
    const seconds = this.#options.retry.discoveryTimeoutMs / 1000;
    const message = `${this.#target} was not found within ${seconds} s. Is it awake, and is this machine in its network?`;
    return new CameraError('connect-failed', message, { target: this.#target, cause });
  }

  async #login(connected: ConnectedCamera, lineage: AbortController, signal: AbortSignal): Promise<CameraPath> {
    const { clock, utcOffsetMs, greetingLimitMs, heartbeatIntervalMs } = this.#options;
    const { session, report } = connected;
    const log = this.#log;
    const artemis = new ArtemisSession({ session, clock, log, utcOffsetMs, greetingLimitMs, heartbeatIntervalMs });
    artemis.events.on('event', (event) => this.#emit('event', event));
    artemis.events.on('heartbeat', (beat) => this.#emit('heartbeat', beat));
    try {
      await artemis.login(signal);
      return new CameraPath(artemis, report, lineage);
    } catch (error) {
      await artemis.close();
      throw error;
    }
  }

  /** Make before break: log in on the better transport first, then move. */
  #consider(better: ConnectedCamera, lineage: AbortController): void {
    this.#moveTo(better, lineage).catch((error: unknown) => {
      this.#log.info(`Staying on the present path: ${errorMessage(error)}`);
    });
  }

  async #moveTo(better: ConnectedCamera, lineage: AbortController): Promise<void> {
    // A direct path may come a millisecond after the relay's, while the login there is still under way.
    if (!(await this.#isUp(lineage))) {
      await better.session.close();
      return;
    }
    const path = await this.#login(better, lineage, lineage.signal);
    const old = this.link.path;
    if (old?.lineage !== lineage || path.artemis.closed) {
      await path.artemis.close();
      return;
    }
    this.link.replace(path, this.#drained(old));
  }

  /** Waits until the first path of a lineage is in use; false when it never will be. */
  async #isUp(lineage: AbortController): Promise<boolean> {
    if (this.link.path?.lineage === lineage) return true;
    try {
      await this.link.events.once('up', { accept: ({ path }) => path.lineage === lineage, signal: lineage.signal });
      return true;
    } catch {
      // The lineage ended: its login failed, or the client was closed.
      return false;
    }
  }

  async #drained(old: CameraPath): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = this.#options.clock.timer(DRAIN_LIMIT_MS, resolve);
    // One turn later, so that those who are told to move on find the new path in place.
    await Promise.resolve();
    await Promise.race([old.supersede(), promise]);
    timer.cancel();
  }

  async #release(path: CameraPath): Promise<void> {
    if (this.link.path?.lineage !== path.lineage) path.lineage.abort();
    await path.artemis.close();
  }
}

/** Resolves with the reason when the session is over; never when `signal` aborts first. */
function ended(artemis: ArtemisSession, signal: AbortSignal): Promise<CameraError> {
  return artemis.closed ? Promise.resolve(artemis.closed) : artemis.events.once('closed', { signal });
}
