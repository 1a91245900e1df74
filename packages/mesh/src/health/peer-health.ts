import {
  AbortedError,
  backoff,
  type Clock,
  deadline,
  errorMessage,
  Events,
  evenSchedule,
  type Log,
  Monitor,
  type MonitorOptions,
  type MonitorTimes,
  monitorTimes,
  type PathHealth,
  type Random,
  retransmit,
  silentLog,
  Wakeup,
} from '@towpath/core';
import { MeshReason, type Reason } from '../reason.ts';
import type { EchoOptions } from './echo-service.ts';

/** `connecting` until the first echo is answered; then the three of C6. */
export type PeerStatus = 'connecting' | 'connected' | 'degraded' | 'failed';

/** docs/protocol/mesh.md, "Health". */
export const HEALTH = {
  slowMs: 200,
  fastAgainMs: 180,
  tries: 3,
  tryMs: 5_000,
  /** Between two echoes of one try. */
  echoSpacingMs: 500,
  /** How long a peer that said goodbye may take to end. */
  leavingMs: 3_000,
  slowRetry: { baseMs: 10_000, maxMs: 60_000 },
} as const;

const MONITOR_TIMES: MonitorTimes = monitorTimes({
  minProbeLimitMs: 500,
  maxProbeLimitMs: 1_000,
  suspectAfter: 2,
  deadAfter: 4,
});

export interface PeerHealthComponents {
  clock: Clock;
  random: Random;
  /** Sends one echo through the tunnel; see {@link EchoService.ping}. */
  echo: { ping(address: string, options?: EchoOptions): Promise<number> };
  log?: Log | undefined;
}

export interface PeerHealthOptions {
  /** Virtual address of the peer. */
  address: string;
  /** The peer's name, for log lines. */
  target: string;
  /** Called before each try to reconnect: paths are refreshed and WireGuard begins anew. `attempt` is 1 for the first. */
  onReconnect(attempt: number): void;
}

export interface PeerHealthEvents {
  status: { status: PeerStatus; reason: Reason; previous: PeerStatus };
  /** A round trip was measured, ms. */
  measured: { rttMs: number };
  /** An echo to a peer that is reached, which left at `sinceMs` (`Clock.now`), was answered after `rttMs`. */
  answered: { rttMs: number; sinceMs: number };
  /** An echo was lost: the so many in a row, of which the first left at `sinceMs` (`Clock.now`). */
  missed: { count: number; sinceMs: number };
}

/**
 * Decides by echoes through the tunnel whether a peer is reached (C6), and asks for a reconnect when it is not (C7): three
 * tries, then `failed`, then slow tries without end. It is also what the monitor of a peer that is reached is told.
 */
export class PeerHealth implements MonitorOptions {
  readonly events: Events<PeerHealthEvents> = new Events();
  readonly #components: PeerHealthComponents;
  readonly #options: PeerHealthOptions;
  readonly #wakeup: Wakeup;
  /** Ends the search for a peer that is not reached. While it is reached there is the monitor and nothing else: there may be thousands. */
  #reaching: AbortController | undefined;
  #running: Promise<void>;
  #monitor: Monitor | undefined;
  #isStopped = false;
  #status: PeerStatus = 'connecting';
  #reason: Reason = MeshReason.pathNew;
  #rttMs: number | undefined;
  /** The peer said that it leaves: it is not failing, and is tried slowly. */
  #left = false;
  #leftAtMs = 0;

  /** Starts at once: the first echo leaves before this returns. */
  constructor(components: PeerHealthComponents, options: PeerHealthOptions) {
    this.#components = components;
    this.#options = options;
    this.#wakeup = new Wakeup(components);
    this.#running = this.#reach(true);
  }

  get status(): PeerStatus {
    return this.#status;
  }

  get reason(): Reason {
    return this.#reason;
  }

  /** Smoothed round trip through the tunnel, ms. */
  get rttMs(): number | undefined {
    return this.#monitor?.state.rttMs ?? this.#rttMs;
  }

  /** Share of lost echoes, 0 to 1. */
  get lossRatio(): number {
    return this.#monitor?.state.lossRatio ?? 0;
  }

  /** True while echoes are answered. */
  get isReached(): boolean {
    return this.#monitor !== undefined;
  }

  /** Says that the peer's packets carry data, so that it is watched more closely than an idle peer. */
  active(): void {
    this.#monitor?.heard(true);
  }

  /** The path has changed: looks at once, and measures the round trip anew. */
  moved(): void {
    this.#monitor?.moved();
    this.wake();
  }

  /** Looks at once: something has changed, or the peer is online again. */
  wake(): void {
    // A peer that leaves answers for some moments more.
    if (this.#left && this.#components.clock.now() - this.#leftAtMs < HEALTH.leavingMs) return;
    this.#monitor?.wake();
    this.#wakeup.wake();
  }

  /** The peer said that it leaves. */
  left(): void {
    this.#left = true;
    this.#leftAtMs = this.#components.clock.now();
    if (this.#monitor !== undefined) this.#lose(this.#monitor);
    this.#become('failed', MeshReason.peerLeft);
  }

  /** Resolves when the peer's echo is answered; at once when it is reached already. @throws the signal's reason. */
  async reached(signal?: AbortSignal): Promise<void> {
    if (!this.isReached) await this.events.once('measured', { signal });
  }

  /** Ends every echo and timer. Idempotent. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#reaching?.abort(new AbortedError('The peer is no longer monitored.'));
    this.#unwatch();
    await this.#running;
  }

  /** Sends echoes until one is answered, and watches the peer from then on. */
  async #reach(isNew: boolean): Promise<void> {
    const { log = silentLog } = this.#components;
    const reaching = new AbortController();
    this.#reaching = reaching;
    try {
      const rttMs = await this.#echoes(isNew, reaching.signal);
      reaching.signal.throwIfAborted();
      this.#reaching = undefined;
      this.#left = false;
      this.#watch(rttMs);
    } catch (error) {
      if (!this.#isStopped) log.error(`The monitor of ${this.#options.target} failed: ${errorMessage(error)}`);
    }
  }

  /** Resolves with the round trip of the first echo that is answered, ms. */
  async #echoes(isNew: boolean, signal: AbortSignal): Promise<number> {
    const { random, clock } = this.#components;
    const waits = backoff({ ...HEALTH.slowRetry, random });
    // An echo before the peer has ended would take it for back.
    if (this.#left) await clock.sleep(HEALTH.leavingMs, signal);
    for (let attempt = 1; ; attempt++) {
      const slowly = this.#left || attempt > HEALTH.tries;
      if (slowly) await this.#wakeup.wait(waits.next().value ?? HEALTH.slowRetry.maxMs, signal);
      // A new peer's paths and WireGuard have just begun.
      if (!isNew || attempt > 1) this.#options.onReconnect(attempt);
      const rttMs = await this.#try(signal);
      if (rttMs !== undefined) return rttMs;
      if (attempt >= HEALTH.tries && !this.#left) this.#become('failed', MeshReason.reconnectFailed);
    }
  }

  /** Echoes for five seconds; undefined when none was answered. */
  async #try(signal: AbortSignal): Promise<number | undefined> {
    const { clock, echo } = this.#components;
    using limit = deadline(clock, HEALTH.tryMs, signal);
    const done = new AbortController();
    limit.signal.addEventListener('abort', () => done.abort(limit.signal.reason), { once: true });
    const { promise, resolve } = Promise.withResolvers<number>();
    try {
      return await retransmit({
        clock,
        schedule: evenSchedule(HEALTH.echoSpacingMs),
        send: () => {
          void echo.ping(this.#options.address, { signal: done.signal }).then(resolve, () => {});
        },
        answer: promise,
        signal: limit.signal,
      });
    } catch (error) {
      signal.throwIfAborted();
      if (limit.expired) return undefined;
      throw error;
    } finally {
      // Echoes that were not answered are not awaited any longer.
      done.abort(new AbortedError('Another echo was answered.'));
    }
  }

  get times(): MonitorTimes {
    return MONITOR_TIMES;
  }

  /** Called by the monitor: one echo. */
  async probe(signal: AbortSignal): Promise<number> {
    const { clock, echo } = this.#components;
    const sinceMs = clock.now();
    const rttMs = await echo.ping(this.#options.address, { signal });
    this.events.emit('answered', { rttMs, sinceMs });
    return rttMs;
  }

  /** Called by the monitor. */
  onHealth(health: PathHealth): void {
    if (health === 'dead' && this.#monitor !== undefined) this.#lose(this.#monitor);
    if (health === 'dead' || health === 'suspect') this.#become('degraded', MeshReason.echoLost);
    else if (health === 'good') this.#answered();
  }

  /** Called by the monitor. */
  onMeasured(): void {
    this.#answered();
  }

  /** Called by the monitor. */
  onMissed(): void {
    const { missed: count = 0, missedSinceMs: sinceMs = this.#components.clock.now() } = this.#monitor?.state ?? {};
    this.events.emit('missed', { count, sinceMs });
  }

  /** Watches a peer that answers, until it does not. */
  #watch(rttMs: number): void {
    // This echo may have waited for the path and WireGuard's handshake; the monitor's first one, which leaves now, shows the round trip.
    this.#rttMs = rttMs;
    this.#monitor = new Monitor(this.#components, this);
    this.#become('connected', MeshReason.echoAnswered);
    this.events.emit('measured', { rttMs });
  }

  /** The peer does not answer any more, or has left: listeners are told before it is looked for. */
  #lose(monitor: Monitor): void {
    queueMicrotask(() => {
      if (this.#monitor !== monitor) return;
      this.#unwatch();
      this.#running = this.#reach(false);
    });
  }

  #unwatch(): void {
    this.#rttMs = this.rttMs;
    this.#monitor?.stop();
    this.#monitor = undefined;
  }

  #answered(): void {
    const { rttMs } = this;
    if (rttMs === undefined) return;
    const limitMs = this.#reason === MeshReason.echoSlow ? HEALTH.fastAgainMs : HEALTH.slowMs;
    if (rttMs < limitMs) this.#become('connected', MeshReason.echoAnswered);
    else this.#become('degraded', MeshReason.echoSlow);
    this.events.emit('measured', { rttMs });
  }

  #become(status: PeerStatus, reason: Reason): void {
    const previous = this.#status;
    if (status === previous && reason === this.#reason) return;
    this.#status = status;
    this.#reason = reason;
    this.events.emit('status', { status, reason, previous });
  }
}
