import type { Clock, Timer } from '../clock.ts';
import { AbortedError } from '../errors.ts';
import { SparseMap } from '../sparse.ts';
import {
  DEFAULT_MONITOR_TIMES,
  initialMonitor,
  isReplaceable,
  type MonitorEvent,
  type MonitorState,
  type MonitorTimes,
  monitorTimes,
  type PathHealth,
  type PathRole,
  stepMonitor,
} from './monitor.ts';

export interface MonitorOptions {
  /**
   * Sends one probe and resolves when it is answered; a number is the round trip in ms, where the caller measures it
   * better. Releases everything when `signal` aborts. Without it a path is judged by what is heard alone: it must be
   * heard once in the time in which a probe would have to be answered.
   */
  probe?(signal: AbortSignal): Promise<number | undefined>;
  /** When the path was last heard, `Clock.now` ms, where its transport keeps count; instead of {@link Monitor.heard}. */
  lastHeardAtMs?(): number;
  /** Called with each change; never from inside {@link Monitor.sent} of a healthy path. */
  onHealth(health: PathHealth): void;
  /** Called after each answered probe. */
  onMeasured?(): void;
  /** Called after each probe that was missed while nothing else was heard. */
  onMissed?(): void;
  /** @default 'current' */
  role?: PathRole;
  /** Round trip of the handshake, ms. */
  handshakeRttMs?: number | undefined;
  /** Its getters are asked each time: how long a NAT keeps a mapping is learnt later. See {@link monitorTimes}. */
  times?: Partial<MonitorTimes> | undefined;
}

/** Probes that may be awaited at once, late ones included. */
const MAX_OPEN_PROBES = 8;

/** What is sent and heard reaches the machine at most this often, ms: it may be every packet of a fast transfer. */
const NOTE_INTERVAL_MS = 50;

/**
 * Watches one path: sends the probes that {@link stepMonitor} asks for and reports its health. Used for PPPP sessions,
 * relay transports, STUN consent (RFC 7675) and echoes through a tunnel.
 */
export class Monitor implements Disposable {
  readonly #clock: Clock;
  readonly #options: MonitorOptions;
  readonly #times: MonitorTimes;
  /** Those that are awaited. Undefined while there are none: there may be thousands of monitors, and most are idle. */
  #probes: SparseMap<number, AbortController> | undefined;
  #stopped = false;
  #state: MonitorState;
  #timer: Timer | undefined;
  #noteTimer: Timer | undefined;
  #heardAtMs: number | undefined;
  /** More than keep-alives was heard or sent. */
  #carriedData = false;
  #sentAtMs: number | undefined;

  /** Starts to watch at once. */
  constructor({ clock }: { clock: Clock }, options: MonitorOptions) {
    this.#clock = clock;
    this.#options = options;
    this.#times = options.times === undefined ? DEFAULT_MONITOR_TIMES : monitorTimes(options.times);
    this.#state = initialMonitor(clock.now(), options.role ?? 'current', options.handshakeRttMs);
    this.#dispatch({ type: 'tick', atMs: clock.now() });
  }

  /** Health, round trip and loss at this moment. */
  get state(): MonitorState {
    return this.#state;
  }

  /**
   * Reports that something authenticated arrived which shows that the remote end receives this one.
   * @param data true when it was more than a keep-alive
   */
  heard(data = true): void {
    if (this.#stopped) return;
    this.#heardAtMs = this.#clock.now();
    this.#carriedData ||= data;
    // What was sent before is answered by it.
    this.#sentAtMs = undefined;
    this.#note(this.#state.health !== 'good' || this.#state.missed > 0);
  }

  /** True when a standby that answers should take over; see {@link isReplaceable}. */
  get isReplaceable(): boolean {
    return isReplaceable(this.#state, this.#times);
  }

  /**
   * Reports that something was sent that the remote end will answer.
   * @param sinceMs since when nothing was heard although data was sent, `Clock.now` ms. @default now
   * @param data true when it was more than a keep-alive
   */
  sent(sinceMs?: number, data = true): void {
    if (this.#stopped) return;
    const isFirstData = data && !this.#carriedData;
    this.#carriedData ||= data;
    if (this.#sentAtMs !== undefined && !isFirstData) return;
    const now = this.#clock.now();
    this.#sentAtMs ??= sinceMs ?? now;
    const wakes = data && now - this.#state.lastDataAtMs >= this.#times.idleAfterMs;
    this.#note(wakes || sinceMs !== undefined);
  }

  /** Changes what the path is used for. */
  setRole(role: PathRole): void {
    if (role === this.#state.role) return;
    this.#dispatch({ type: 'role', role, atMs: this.#clock.now() });
  }

  /** Probes at once: the network has changed, or the current path is suspect. */
  wake(): void {
    this.#dispatch({ type: 'wake', atMs: this.#clock.now() });
  }

  /** Probes at once: the packets take another way from now on, whose round trip replaces the one of before. */
  moved(): void {
    this.#dispatch({ type: 'moved', atMs: this.#clock.now() });
  }

  /** The remote end suspects the path: it is suspect here as well, unless the probe that is sent now is answered. */
  doubt(): void {
    this.#dispatch({ type: 'doubt', atMs: this.#clock.now() });
  }

  /** Ends every timer and probe. Idempotent. */
  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#noteTimer?.cancel();
    const probes = [...(this.#probes?.values() ?? [])];
    this.#probes = undefined;
    for (const probe of probes) probe.abort(new AbortedError('The path is no longer watched.'));
  }

  [Symbol.dispose](): void {
    this.stop();
  }

  #note(atOnce: boolean): void {
    if (atOnce) this.#flush();
    else this.#noteTimer ??= this.#clock.timer(NOTE_INTERVAL_MS, () => this.#flush());
  }

  #flush(): void {
    this.#noteTimer?.cancel();
    this.#noteTimer = undefined;
    const [sentAtMs, data] = [this.#sentAtMs, this.#carriedData];
    const heardAtMs = this.#heardAtMs ?? this.#heardByTransport();
    this.#heardAtMs = undefined;
    this.#carriedData = false;
    this.#sentAtMs = undefined;
    if (heardAtMs !== undefined) this.#dispatch({ type: 'heard', data, atMs: heardAtMs });
    if (sentAtMs !== undefined) this.#dispatch({ type: 'sent', data, atMs: sentAtMs });
  }

  #heardByTransport(): number | undefined {
    const atMs = this.#options.lastHeardAtMs?.();
    return atMs !== undefined && atMs > this.#state.lastHeardAtMs ? atMs : undefined;
  }

  #dispatch(event: MonitorEvent): void {
    if (this.#stopped) return;
    const { state, effects } = stepMonitor(this.#state, event, this.#times);
    const isMissed = state.missed > this.#state.missed;
    this.#state = state;
    this.#timer?.cancel();
    this.#timer = undefined;
    let changed: PathHealth | undefined;
    for (const effect of effects) {
      if (effect.type === 'wake') this.#wakeAt(effect.atMs);
      else if (effect.type === 'probe') void this.#probe(effect.probeId);
      else changed = effect.health;
    }
    if (changed !== undefined) this.#options.onHealth(changed);
    if (event.type === 'answered') this.#options.onMeasured?.();
    if (isMissed) this.#options.onMissed?.();
  }

  #wakeAt(atMs: number): void {
    this.#timer = this.#clock.timer(atMs - this.#clock.now(), () => {
      this.#flush();
      // A platform timer may fire a fraction of a millisecond early; the deadline itself is what has come.
      this.#dispatch({ type: 'tick', atMs: Math.max(atMs, this.#clock.now()) });
    });
  }

  async #probe(probeId: number): Promise<void> {
    if (this.#options.probe === undefined) return;
    const abort = new AbortController();
    this.#probes ??= new SparseMap();
    this.#probes.set(probeId, abort);
    this.#probes.get(probeId - MAX_OPEN_PROBES)?.abort(new AbortedError('The probe was not answered.'));
    const sentAtMs = this.#clock.now();
    try {
      const measuredMs = await this.#options.probe(abort.signal);
      const now = this.#clock.now();
      this.#dispatch({ type: 'answered', probeId, rttMs: measuredMs ?? now - sentAtMs, atMs: now });
    } catch {
      this.#dispatch({ type: 'failed', probeId, atMs: this.#clock.now() });
    } finally {
      this.#probes?.delete(probeId);
      if (this.#probes?.size === 0) this.#probes = undefined;
    }
  }
}
