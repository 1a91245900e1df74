import { type Clock, RoundTripEstimator, type Timer } from '@towpath/core';
import type { Endpoint } from '@towpath/net';
import type { SessionCarrier } from '../session/carrier.ts';
import type { Session } from '../session/session.ts';
import type { SessionMode } from '../session-types.ts';

/** Silence on something that was sent, in round trips and within bounds, after which the relay is asked. */
const SUSPICION_ROUND_TRIPS = 3;
const SUSPICION_MS = { min: 250, max: 1000 } as const;

/** Time between two questions: by the relay's round trip as measured, within bounds. */
const PROBE_MS = { initialMs: 250, minMs: 100, maxMs: 400 } as const;

/** When the relay is asked for the first time, to measure it: answers to the introductions have come by then. */
const FIRST_PROBE_MS = 500;

/** So many questions in a row without any answer: the relay is dead. Each is two datagrams, for paths that lose much. */
const MAX_SILENT_PROBES = 5;

/** So many in a row to which only its base port answers: it has lost the session. */
const MAX_PROBES = 10;

/** Ways to ask whether a relay is alive. */
export interface RelayProbes {
  /** Introduces this side again: the relay's session port says RLY_RDY as long as it holds the session. */
  introduce(): void;
  /** Asks the base port: it says RLY_HELLO_ACK. */
  hello?(): void;
}

/**
 * A session's path over a relay. When nothing comes back on what was sent, the relay itself is asked, so that a dead one is
 * noticed within a second and not only when the session's keep-alives have run out.
 */
export class RelayCarrier implements SessionCarrier {
  readonly #inner: SessionCarrier;
  readonly #clock: Clock;
  readonly #probes: RelayProbes;
  readonly #rtt = new RoundTripEstimator(PROBE_MS);
  #session: Session | undefined;
  #timer: Timer | undefined;
  #sentAt = Number.NEGATIVE_INFINITY;
  #answeredAt = Number.NEGATIVE_INFINITY;
  #probedAt = 0;
  #probesSent = 0;
  #silentProbes = 0;
  /** It has answered a question before: only then its silence means anything. */
  #answers: boolean;
  /** The first question was asked. */
  #measured = false;
  /** It says RLY_RDY again: then its silence means that it has lost the session, even when its base port answers. */
  #repeatsReady = false;

  /** @param rttMs round trip to the relay in ms, where it is known */
  constructor(inner: SessionCarrier, clock: Clock, probes: RelayProbes, rttMs: number | undefined) {
    this.#inner = inner;
    this.#clock = clock;
    this.#probes = probes;
    this.#answers = rttMs !== undefined;
    if (rttMs !== undefined) this.#rtt.sample(rttMs);
  }

  get mode(): SessionMode {
    return this.#inner.mode;
  }

  get local(): Endpoint {
    return this.#inner.local;
  }

  get peer(): Endpoint {
    return this.#inner.peer;
  }

  /** A question is open: the next RLY_RDY is its answer. */
  get isAsking(): boolean {
    return this.#probesSent > 0;
  }

  /** The session that it carries; from now on the relay is watched. */
  watch(session: Session): void {
    this.#session = session;
    this.#arm(FIRST_PROBE_MS);
  }

  send(datagram: Uint8Array): void {
    this.#sentAt = this.#clock.now();
    this.#inner.send(datagram);
    if (this.#timer === undefined && this.#session !== undefined) this.#arm(this.#suspicionMs);
  }

  /** The relay's session port said RLY_RDY again. */
  onReady(): void {
    this.#repeatsReady = true;
    this.#onAnswer();
  }

  /** The relay's base port said RLY_HELLO_ACK. */
  onHello(): void {
    this.#answers = true;
    this.#silentProbes = 0;
    if (!this.#repeatsReady) this.#onAnswer();
  }

  close(): Promise<void> {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#session = undefined;
    return this.#inner.close();
  }

  get #suspicionMs(): number {
    // The way to the peer and back is longer than that to the relay.
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

  #arm(delayMs: number): void {
    this.#timer = this.#clock.timer(delayMs, () => this.#onTime());
  }

  #onTime(): void {
    this.#timer = undefined;
    const session = this.#session;
    if (session === undefined || session.closed !== undefined) return;
    const now = this.#clock.now();
    const heardAt = Math.max(session.lastReceivedAt, this.#answeredAt);
    if (!this.#measured) {
      this.#measured = true;
      this.#probe(now);
      return;
    }
    if (heardAt >= this.#sentAt || heardAt >= this.#probedAt) this.#calm();
    // Nothing is owed: the next thing sent sets the timer again.
    if (heardAt >= this.#sentAt) return;
    const waitMs = this.#probesSent === 0 ? heardAt + this.#suspicionMs - now : 0;
    if (waitMs > 0) {
      this.#arm(waitMs);
    } else if (this.#probesSent < MAX_PROBES && this.#silentProbes < MAX_SILENT_PROBES) {
      this.#probe(now);
    } else if (this.#answers) {
      session.abandon('carrier-failed', true);
    } else {
      // The session's keep-alives decide; the next thing sent has it asked again.
      this.#calm();
    }
  }

  #probe(now: number): void {
    this.#probesSent++;
    this.#silentProbes++;
    this.#probedAt = now;
    this.#probes.introduce();
    if (this.#probes.hello === undefined) this.#probes.introduce();
    else this.#probes.hello();
    this.#arm(this.#rtt.timeoutMs);
  }
}
