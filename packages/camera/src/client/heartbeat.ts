import { type Clock, deadlineInterval, type Timer } from '@towpath/core';

/** Interval of the vendor's application. docs/protocol/artemis.md, "Session", "Commands". */
export const HEARTBEAT_INTERVAL_MS = 3000;

/** Heartbeats count in a range of their own. docs/protocol/artemis.md, "Sequence numbers". */
const FIRST_SEQ = 65_537;

/** After this many unacknowledged heartbeats in a row the camera counts as lost. */
const MAX_FAILURES = 5;

/** One heartbeat that was sent. */
export interface HeartbeatReport {
  readonly seq: number;
  /** Delay after its planned time, ms. */
  readonly lateMs: number;
  /** Heartbeats in a row that were not acknowledged in time. */
  readonly failures: number;
}

export interface HeartbeatOptions {
  intervalMs: number;
  /** Sends one; returns the total of bytes ever written on its channel, this heartbeat included. */
  send(seq: number): number;
  /** The total of bytes ever written on its channel that were acknowledged. */
  acknowledgedBytes(): number;
  onBeat(report: HeartbeatReport): void;
  /** The limit of failed heartbeats is reached. */
  onDead(failures: number): void;
}

/**
 * Sends command 525 at fixed times. The camera does not respond to it, so a heartbeat has failed when the transport has
 * not had it acknowledged by the time the next one is due.
 */
export class Heartbeat {
  readonly #clock: Clock;
  readonly #options: HeartbeatOptions;
  #timer: Timer | undefined;
  #seq = FIRST_SEQ;
  #sentUpTo = 0;
  #failures = 0;

  constructor({ clock }: { clock: Clock }, options: HeartbeatOptions) {
    this.#clock = clock;
    this.#options = options;
  }

  /** Does nothing when it runs already. */
  start(): void {
    if (this.#timer !== undefined) return;
    this.#failures = 0;
    this.#sentUpTo = 0;
    const { intervalMs } = this.#options;
    this.#timer = deadlineInterval({ clock: this.#clock, intervalMs, onTick: ({ lateMs }) => this.#beat(lateMs) });
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #beat(lateMs: number): void {
    this.#failures = this.#options.acknowledgedBytes() >= this.#sentUpTo ? 0 : this.#failures + 1;
    if (this.#failures >= MAX_FAILURES) {
      this.stop();
      this.#options.onDead(this.#failures);
      return;
    }
    const seq = this.#seq++;
    this.#sentUpTo = this.#options.send(seq);
    this.#options.onBeat({ seq, lateMs, failures: this.#failures });
  }
}
