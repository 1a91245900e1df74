import { type Clock, deadlineInterval, type Timer } from '@towpath/core';

/** Interval of the vendor's app. spec/artemis.md §5, §7. */
export const HEARTBEAT_INTERVAL_MS = 3000;

/** Heartbeats count in a range of their own. spec/artemis.md §4.2. */
const FIRST_SEQ = 65_537;

/** So many unacknowledged heartbeats in a row mean that nobody listens any more. */
const MAX_FAILURES = 5;

/** One heartbeat, as it left. */
export interface HeartbeatReport {
  readonly seq: number;
  /** How late it left, ms. */
  readonly lateMs: number;
  /** Heartbeats in a row that were not acknowledged in time. */
  readonly failures: number;
}

export interface HeartbeatOptions {
  clock: Clock;
  intervalMs: number;
  /** Sends one; returns the total of bytes ever written on its channel, this heartbeat included. */
  send(seq: number): number;
  /** The total of bytes ever written on its channel that were acknowledged. */
  acknowledgedBytes(): number;
  onBeat(report: HeartbeatReport): void;
  /** Too many in a row failed. */
  onDead(failures: number): void;
}

/**
 * Sends 525 on a grid of deadlines. The camera never answers it, so a heartbeat has failed when the transport has not
 * had it acknowledged by the time the next one is due.
 */
export class Heartbeat {
  readonly #options: HeartbeatOptions;
  #timer: Timer | undefined;
  #seq = FIRST_SEQ;
  #sentUpTo = 0;
  #failures = 0;

  constructor(options: HeartbeatOptions) {
    this.#options = options;
  }

  start(): void {
    const { clock, intervalMs } = this.#options;
    this.#timer = deadlineInterval({ clock, intervalMs, onTick: ({ lateMs }) => this.#beat(lateMs) });
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
