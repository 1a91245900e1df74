import {
  backoff,
  type Clock,
  type ConnectContext,
  deadline,
  errorMessage,
  type Events,
  Link,
  type Log,
  type PathDescription,
  type Random,
  type TowpathError,
} from '@towpath/core';
import { formatEndpoint } from '@towpath/net';
import { CameraError } from '../artemis/camera-error.ts';
import { deviceInfo } from '../artemis/commands.ts';
import type { CameraEvent } from '../artemis/event.ts';
import { ArtemisSession } from './artemis-session.ts';
import { CameraPath } from './camera-path.ts';
import { type CameraPhase, type CameraState, type CameraStateEvent, initialPhase, stepPhase } from './camera-state.ts';
import type { CameraConnector, ConnectedCamera } from './connector.ts';
import type { HeartbeatReport } from './heartbeat.ts';
import { againPolicy, type ConnectRetryOptions, firstPolicy } from './retry.ts';

/** Events of a {@link CameraClient}. */
export interface CameraEvents {
  state: { state: CameraState; previous: CameraState };
  /** Commands can be sent: after the first connect, a loss (`reconnect`), or on a better path (`replaced`). */
  connected: { path: CameraPath; reconnect: boolean; replaced: boolean };
  /** The connection is lost; reconnecting begins. */
  lost: TowpathError;
  /** An attempt has failed; the next one begins in `nextMs`, or never. */
  tryFailed: { error: TowpathError; tries: number; nextMs: number | undefined };
  /** The first connect has failed finally. */
  gaveUp: TowpathError;
  /** An unsolicited message of the camera. */
  event: CameraEvent;
  heartbeat: HeartbeatReport;
}

/** Session options of a {@link CameraClient}. */
export interface SessionTuning {
  /** Offset of local wall time from UTC, ms. @default the system's time zone */
  utcOffsetMs?: ((wallTimeMs: number) => number) | undefined;
  /** @default 1000 */
  greetingLimitMs?: number | undefined;
  /** @default 3000 */
  heartbeatIntervalMs?: number | undefined;
  /** Do not set the camera's clock at login. @default false */
  keepClock?: boolean | undefined;
}

/** What a {@link CameraLink} has of its client. */
export interface CameraLinkComponents {
  connector: CameraConnector;
  clock: Clock;
  random: Random;
  log: Log;
  events: Events<CameraEvents>;
  /** Whether new sessions send heartbeats. */
  heartbeat(): boolean;
  /** Device id of the camera, once it is known. */
  deviceId(): string | undefined;
}

export interface CameraLinkOptions extends SessionTuning {
  retry: Required<ConnectRetryOptions>;
}

/** The connector ends this much before its attempt, ms, so that it can report what it has tried. */
const DISCOVERY_GRACE_MS = 100;

/** Transfers on a replaced path may finish their item within this time, ms. */
const DRAIN_LIMIT_MS = 5000;

/** Sessions shorter than this after their login, ms, count as failures: after two in a row the waits grow. */
const SHORT_LIFE_MS = 5000;
const SHORT_LIFE_DELAY_MS = 250;
const SHORT_LIFE_MAX_DELAY_MS = 2000;

/** Waits before a direct path is searched again while a relay is in use: 5, 10, 20, 40, 60, 60, … s. */
const DIRECT_RETRY = { baseMs: 5_000, maxMs: 60_000 } as const;

/** Keeps one camera logged in: a link whose paths are ARTEMIS sessions. */
export class CameraLink {
  readonly link: Link<CameraPath>;
  readonly #components: CameraLinkComponents;
  readonly #options: CameraLinkOptions;
  readonly #log: Log;
  readonly #target: string;
  #phase: CameraPhase = initialPhase;
  #upAt = 0;
  #shortLives = 0;
  #sessions = 0;
  /** Address of the camera in the last session that was not relayed. */
  #address: string | undefined;

  constructor(components: CameraLinkComponents, options: CameraLinkOptions) {
    const { clock, log, connector, random } = components;
    const { retry } = options;
    this.#components = components;
    this.#options = options;
    this.#log = log;
    this.#target = connector.target ?? 'the camera';
    const canBeDirect = connector.canBeDirect ?? true;
    this.link = new Link(
      { clock, log },
      {
        target: this.#target,
        connect: (context) => this.#connect(context),
        describe: describePath,
        watch: ({ artemis }, { signal }) => ended(artemis, signal),
        health: ({ artemis }, report, signal) => {
          const stop = artemis.events.on('health', report);
          signal.addEventListener('abort', stop, { once: true });
        },
        drain: (path) => path.supersede(),
        drainLimitMs: DRAIN_LIMIT_MS,
        release: ({ artemis }) => artemis.close(),
        improve: {
          wanted: ({ kind }) => canBeDirect && kind === 'relay',
          delaysMs: () => backoff({ ...DIRECT_RETRY, random }),
        },
        first: firstPolicy(retry, random),
        again: againPolicy(random),
        // A host without a camera, or a rendezvous server, stays one for a while; one that was connected may be restarting.
        fatal: (error) => !this.#phase.wasUp && isHopeless(error),
      },
    );
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
    const { clock } = this.#components;
    this.link.events.on('up', ({ path, replaced }) => {
      this.#upAt = clock.now();
      const reconnect = this.#phase.wasUp && !replaced;
      this.#step('up');
      this.#emit('connected', { path, reconnect, replaced });
    });
    this.link.events.on('down', ({ error }) => {
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

  #emit<Name extends keyof CameraEvents>(name: Name, value: CameraEvents[Name]): void {
    this.#components.events.emit(name, value);
  }

  async #connect(context: ConnectContext<CameraPath>): Promise<CameraPath> {
    // Searches for a better path, or a second one, do not change the client's state.
    const step = (event: CameraStateEvent) => context.purpose === 'connect' && this.#step(event);
    step('try');
    if (this.#shortLives > 1 && context.purpose === 'connect') {
      await this.#components.clock.sleep(this.#shortLifeDelayMs(), context.signal);
    }
    const login = Promise.withResolvers<void>();
    try {
      const connected = await this.#discover(context, (further) => {
        // A direct path may arrive a millisecond after the relay, while the login there is still running.
        context.goesOn(login.promise.then(() => this.#offer(further, context)));
      });
      step('found');
      step('login');
      return await this.#login(connected, context.signal);
    } finally {
      login.resolve();
    }
  }

  #shortLifeDelayMs(): number {
    return Math.min(SHORT_LIFE_MAX_DELAY_MS, SHORT_LIFE_DELAY_MS * 2 ** (this.#shortLives - 2));
  }

  async #discover(
    { signal, reconnect, purpose, goesOn }: ConnectContext<CameraPath>,
    offer: (further: ConnectedCamera) => void,
  ): Promise<ConnectedCamera> {
    const { connector, clock } = this.#components;
    const { retry } = this.#options;
    using limit = deadline(clock, retry.discoveryTimeoutMs, undefined, () => this.#notFoundError());
    try {
      return await connector.connect({
        signal: AbortSignal.any([signal, limit.signal]),
        limitMs: Math.max(1, retry.discoveryTimeoutMs - DISCOVERY_GRACE_MS),
        reconnect,
        purpose,
        knownDevice: this.#components.deviceId() !== undefined,
        offer,
        goesOn,
      });
    } catch (error) {
      // The search's own error has more details than the time limit, unless the time limit ended the search.
      throw limit.expired && !signal.aborted ? this.#notFoundError(error) : error;
    }
  }

  #notFoundError(cause?: unknown): CameraError {
    const seconds = this.#options.retry.discoveryTimeoutMs / 1000;
    const message = `${this.#target} did not answer within ${seconds} s.`;
    return new CameraError('connect-failed', message, { target: this.#target, cause });
  }

  async #login(connected: ConnectedCamera, signal: AbortSignal): Promise<CameraPath> {
    const { clock, heartbeat } = this.#components;
    const { session, report } = connected;
    const { utcOffsetMs, greetingLimitMs, heartbeatIntervalMs, keepClock } = this.#options;
    const artemis = new ArtemisSession(
      { session, clock, log: this.#log },
      { utcOffsetMs, greetingLimitMs, heartbeatIntervalMs, keepClock, heartbeat: heartbeat() },
    );
    artemis.events.on('event', (event) => this.#emit('event', event));
    artemis.events.on('heartbeat', (beat) => this.#emit('heartbeat', beat));
    try {
      await artemis.login(signal);
      await this.#checkMoved(artemis, signal);
      return new CameraPath(`session ${++this.#sessions}`, artemis, report);
    } catch (error) {
      await artemis.close();
      throw error;
    }
  }

  /** A session at another address than before may be with another camera: cameras of one family share their UID. */
  async #checkMoved(artemis: ArtemisSession, signal: AbortSignal): Promise<void> {
    const { address } = artemis.carrier.peer;
    const expected = this.#components.deviceId();
    if (artemis.carrier.pathKind === 'relay') return;
    if (this.#address !== undefined && this.#address !== address && expected !== undefined) {
      const { devId } = await artemis.request(deviceInfo, {}, { signal });
      if (devId !== expected) {
        const message = `The camera at ${address} is ${devId}, not ${expected}.`;
        throw new CameraError('other-camera', message, { target: this.#target, details: { expected, found: devId } });
      }
      this.#log.info(`The camera has moved from ${this.#address} to ${address}`);
    }
    this.#address = address;
  }

  /** Make before break: logs in on the further transport, and lets the link choose. */
  async #offer(further: ConnectedCamera, { signal, offer }: ConnectContext<CameraPath>): Promise<void> {
    if (signal.aborted) {
      await further.session.close();
      return;
    }
    try {
      offer(await this.#login(further, signal));
    } catch (error) {
      this.#log.info(`A further session was not used: ${errorMessage(error)}`);
    }
  }
}

function isHopeless(error: TowpathError): boolean {
  return error instanceof CameraError && (error.details.closedHost === true || error.details.withoutServers === true);
}

function describePath({ id, pathKind, artemis }: CameraPath): PathDescription {
  const { peer, stats } = artemis.carrier;
  return {
    id,
    kind: pathKind,
    label: formatEndpoint(peer),
    family: peer.address.includes(':') ? 6 : 4,
    rttMs: stats.rttMs,
  };
}

/** Resolves with the reason when the session is over; stays pending when `signal` aborts first. */
function ended(artemis: ArtemisSession, signal: AbortSignal): Promise<CameraError> {
  return artemis.closed ? Promise.resolve(artemis.closed) : artemis.events.once('closed', { signal });
}
