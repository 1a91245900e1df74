import { type Clock, type PathKind, Repeat, RoundTripEstimator } from '@towpath/core';
import type { Endpoint } from '@towpath/net';
import { MessageType } from '../../codec/message-type.ts';
import type { SessionCarrier } from '../../session/carrier.ts';
import type { Session } from '../../session/session.ts';

/** Silence after something was sent, in round trips and within bounds, after which the relay is probed. */
const SUSPICION_ROUND_TRIPS = 3;
const SUSPICION_MS = { min: 250, max: 1000 } as const;

/** Interval of probes: by the relay's measured round trip, within bounds. */
const PROBE_MS = { initialMs: 250, minMs: 100, maxMs: 400 } as const;

/** When the relay is probed first, to measure it: answers to the introductions have arrived by then. */
const FIRST_PROBE_MS = 500;

/** After this many probes in a row without an answer the relay is dead. Each is two datagrams, for lossy paths. */
const MAX_SILENT_PROBES = 5;

/** After this many in a row that only its base port answers, it has lost the session. */
const MAX_PROBES = 10;

/** Probes of a relay. */
export interface RelayProbes {
  /** Introduces this side again: the session port answers RLY_RDY as long as it has the session. */
  introduce(): void;
  /** Probes the base port: it answers RLY_HELLO_ACK. */
  hello?(): void;
}

export interface RelayCarrierOptions {
  probes: RelayProbes;
  /** Round trip to the relay, ms, where it is known. */
  rttMs?: number | undefined;
  /** Takes a RLY_RDY that answers no probe; false when it is about this session. @default it is */
  onUnasked?(): boolean;
}

/**
 * A session's path over a relay. When nothing is received after something was sent, the relay itself is probed, so that
 * a dead one is detected within a second and not only by the session's keep-alives.
 */
export class RelayCarrier implements SessionCarrier {
  readonly #inner: SessionCarrier;
  readonly #clock: Clock;
  readonly #probes: RelayProbes;
  readonly #onUnasked: RelayCarrierOptions['onUnasked'];
  readonly #rtt = new RoundTripEstimator(PROBE_MS);
  #session: Session | undefined;
  readonly #checks: Repeat;
  #sentAt = Number.NEGATIVE_INFINITY;
  /** When the first datagram left that awaits an answer; undefined while no check is due. */
  #unansweredSince: number | undefined;
  #answeredAt = Number.NEGATIVE_INFINITY;
  #probedAt = 0;
  #probesSent = 0;
  #silentProbes = 0;
  /** It has answered a probe before: only then its silence has a meaning. */
  #answers: boolean;
  #watchedSince = 0;
  /** The first probe was sent. */
  #measured = false;
  /** It answers RLY_RDY again: then silence means that it has lost the session, even when its base port answers. */
  #repeatsReady = false;

  constructor({ inner, clock }: { inner: SessionCarrier; clock: Clock }, options: RelayCarrierOptions) {
    const { probes, rttMs } = options;
    this.#inner = inner;
    this.#clock = clock;
    this.#probes = probes;
    this.#onUnasked = options.onUnasked;
    this.#answers = rttMs !== undefined;
    if (rttMs !== undefined) this.#rtt.sample(rttMs);
    this.#checks = new Repeat({ clock }, { run: () => this.#check() });
  }

  get pathKind(): PathKind {
    return this.#inner.pathKind;
  }

  get local(): Endpoint {
    return this.#inner.local;
  }

  get peer(): Endpoint {
    return this.#inner.peer;
  }

  /** Sets its session; from now on the relay is monitored. */
  watch(session: Session): void {
    this.#session = session;
    this.#watchedSince = this.#clock.now();
    this.#unansweredSince = this.#watchedSince;
    this.#checks.wake();
  }

  send(datagram: Uint8Array): void {
    this.#sentAt = this.#clock.now();
    this.#inner.send(datagram);
    if (this.#unansweredSince !== undefined || this.#session === undefined) return;
    this.#unansweredSince = this.#sentAt;
    this.#checks.wake();
  }

  intercepts(type: number): boolean {
    if (type === MessageType.RLY_RDY) this.#onReady();
    else if (type === MessageType.RLY_HELLO_ACK) this.onHello();
    else return false;
    return true;
  }

  /** The relay's base port answered RLY_HELLO_ACK. */
  onHello(): void {
    this.#answers = true;
    this.#silentProbes = 0;
    if (!this.#repeatsReady) this.#onAnswer();
  }

  close(): Promise<void> {
    this.#checks.stop();
    this.#session = undefined;
    return this.#inner.close();
  }

  /** The relay's session port answered RLY_RDY. */
  #onReady(): void {
    if (this.#probesSent === 0 && this.#onUnasked?.() === true) return;
    this.#repeatsReady = true;
    this.#onAnswer();
  }

  get #suspicionMs(): number {
    // The path to the peer and back is longer than that to the relay.
    const rttMs = this.#rtt.smoothedMs ?? this.#session?.stats.rttMs;
    const wanted = rttMs === undefined ? SUSPICION_MS.max : SUSPICION_ROUND_TRIPS * rttMs;
    return Math.min(SUSPICION_MS.max, Math.max(SUSPICION_MS.min, wanted));
  }

  #onAnswer(): void {
    const now = this.#clock.now();
    this.#answers = true;
    this.#answeredAt = now;
    if (this.#probesSent === 1) this.#rtt.sample(now - this.#probedAt);
    this.#calm();
  }

  #calm(): void {
    this.#probesSent = 0;
    this.#silentProbes = 0;
  }

  /** Probes when it is time to. Returns when to check again, ms; `Infinity`: at the next datagram sent. */
  #check(): number {
    const session = this.#session;
    if (session === undefined || session.closed !== undefined) return Number.POSITIVE_INFINITY;
    const now = this.#clock.now();
    const heardAt = Math.max(session.lastReceivedAt, this.#answeredAt);
    if (!this.#measured) {
      const waitMs = this.#watchedSince + FIRST_PROBE_MS - now;
      if (waitMs > 0) return waitMs;
      this.#measured = true;
      return this.#probe(now);
    }
    if (heardAt >= this.#sentAt || heardAt >= this.#probedAt) this.#calm();
    if (heardAt >= this.#sentAt) return this.#rest();
    const silentSince = Math.max(heardAt, this.#unansweredSince ?? this.#sentAt);
    const waitMs = this.#probesSent === 0 ? silentSince + this.#suspicionMs - now : 0;
    if (waitMs > 0) return waitMs;
    if (this.#probesSent < MAX_PROBES && this.#silentProbes < MAX_SILENT_PROBES) return this.#probe(now);
    if (this.#answers) {
      session.abandon('carrier-failed', true);
      return Number.POSITIVE_INFINITY;
    }
    // The session's keep-alives decide; the next packet sent starts another probe.
    this.#calm();
    return this.#rest();
  }

  #rest(): number {
    this.#unansweredSince = undefined;
    return Number.POSITIVE_INFINITY;
  }

  #probe(now: number): number {
    this.#probesSent++;
    this.#silentProbes++;
    this.#probedAt = now;
    this.#probes.introduce();
    if (this.#probes.hello === undefined) this.#probes.introduce();
    else this.#probes.hello();
    return this.#rtt.timeoutMs;
  }
}
