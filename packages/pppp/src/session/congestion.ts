/** Packets in flight before anything is known of the path (docs/protocol/pppp.md, "Sending": start 32). */
const FIRST_WINDOW = 32;
const MIN_WINDOW = 4;

/** Two full acknowledgement batches of 17: the receiver may hold back one while another is on its way. */
const ACK_SLACK = 34;

/** But on a slow path no more than it carries in this time, or the slack alone would fill its queue for seconds. */
const MAX_QUEUE_MS = 200;

/** Nor is a queue allowed that brings the round trip near the 1 s beyond which packets are repeated needlessly. */
const MAX_RTT_MS = 700;
const MIN_QUEUE_GAIN = 1.25;

/**
 * The window is this many times what the path has shown to deliver in one round trip; above 1.6 it survives 20 % loss
 * each way.
 */
const WINDOW_GAIN = 2;

/** Packets are spread over the round trip, this much faster than the window alone would let them go. */
const PACING_GAIN = 1.25;

/** The longest burst: a default socket buffer holds about 90 full datagrams. */
const MAX_BURST = 48;

/** Rounds over which the best delivery rate is remembered. */
const RATE_ROUNDS = 10;

/** A round trip is remembered as the smallest one for so long, so that a change of route is noticed. */
const MIN_RTT_MEMORY_MS = 10_000;

/** More loss than this within a round means congestion, not a bad path. */
const FLOOD_RATIO = 0.5;
const FLOOD_PACKETS = 64;

/**
 * How many packets may be in flight, from the best delivery rate and the smallest round trip that the path has shown.
 *
 * Loss alone does not shrink the window, since these cameras sit on Wi-Fi that loses packets without being full; a
 * window of twice the measured rate keeps the queue in the path short instead.
 */
export class Congestion {
  readonly #maxWindow: number;
  readonly #rates: number[] = [];
  #rateAt = 0;
  #window: number;
  #minRttMs: number | undefined;
  #previousMinRttMs: number | undefined;
  #minRttSince = 0;
  #shrunkAt = Number.NEGATIVE_INFINITY;
  #pacedRttMs: number | undefined;
  #tokens = MAX_BURST;
  #tokensAt = 0;
  #roundStartedAt = 0;
  #roundEndsWith = -1;
  #roundAcked = 0;
  #roundLost = 0;
  #roundStarved = false;

  constructor(maxWindow: number) {
    this.#maxWindow = maxWindow;
    this.#window = Math.min(FIRST_WINDOW, maxWindow);
  }

  /** Packets that may be in flight. */
  get window(): number {
    return this.#window;
  }

  /** The smallest round trip of late, in ms. */
  get minRttMs(): number | undefined {
    if (this.#previousMinRttMs === undefined || this.#minRttMs === undefined) return this.#minRttMs;
    return Math.min(this.#minRttMs, this.#previousMinRttMs);
  }

  /** How many packets may leave now. */
  burst(now: number): number {
    const perMs = this.#perMs;
    if (perMs === undefined) return MAX_BURST;
    this.#tokens = Math.min(MAX_BURST, this.#tokens + (now - this.#tokensAt) * perMs);
    this.#tokensAt = now;
    return Math.floor(this.#tokens);
  }

  onSent(packets: number): void {
    this.#tokens -= packets;
  }

  /** The sender had no more data: the delivery rate of this round does not measure the path. */
  onStarved(): void {
    this.#roundStarved = true;
  }

  /** How long until a few packets may leave again, in ms; timers are not finer than one. */
  get pauseMs(): number {
    const perMs = this.#perMs;
    return perMs === undefined ? 1 : Math.max(1, (MAX_BURST / 4 - this.#tokens) / perMs);
  }

  onRoundTrip(now: number, rttMs: number, smoothedMs: number): void {
    this.#pacedRttMs = smoothedMs;
    if (this.#minRttMs === undefined || now - this.#minRttSince > MIN_RTT_MEMORY_MS) {
      this.#previousMinRttMs = this.#minRttMs;
      this.#minRttMs = rttMs;
      this.#minRttSince = now;
    } else if (rttMs < this.#minRttMs) {
      this.#minRttMs = rttMs;
    }
    this.#limitQueue(now, rttMs);
  }

  /** A round on a slow path is long: its queue is not left to grow until the round ends. */
  #limitQueue(now: number, rttMs: number): void {
    const limitMs = rttLimitMs(this.minRttMs ?? rttMs);
    if (rttMs <= limitMs || now - this.#shrunkAt < limitMs) return;
    this.#shrunkAt = now;
    this.#window = Math.max(MIN_WINDOW, Math.floor((this.#window * limitMs) / rttMs));
  }

  onLost(packets: number): void {
    this.#roundLost += packets;
  }

  /** Packets are being repeated needlessly: the queue in the path has outgrown the timer. */
  onNeedlessRepeats(): void {
    this.#window = Math.max(MIN_WINDOW, this.#window >> 1);
  }

  /**
   * Takes newly acknowledged packets.
   * @param order transmission number of the latest of them
   * @param lastOrder transmission number of the last packet sent so far
   */
  onAcknowledged(now: number, packets: number, order: number, lastOrder: number): void {
    this.#roundAcked += packets;
    if (order <= this.#roundEndsWith) return;
    if (this.#roundEndsWith >= 0) this.#endRound(now);
    this.#roundEndsWith = lastOrder;
    this.#roundStartedAt = now;
    this.#roundAcked = 0;
    this.#roundLost = 0;
    this.#roundStarved = false;
  }

  get #perMs(): number | undefined {
    if (this.#pacedRttMs === undefined) return undefined;
    return (PACING_GAIN * this.#window) / Math.max(0.1, this.#pacedRttMs);
  }

  #endRound(now: number): void {
    const minRttMs = this.minRttMs;
    if (minRttMs === undefined) return;
    const rate = this.#roundAcked / Math.max(0.05, now - this.#roundStartedAt);
    const best = this.#rates.length === 0 ? 0 : Math.max(...this.#rates);
    if (this.#roundStarved && rate <= best) return;
    if (this.#roundLost > FLOOD_PACKETS && this.#roundLost > FLOOD_RATIO * (this.#roundLost + this.#roundAcked)) {
      this.#rates.length = 0;
    }
    if (this.#rates.length < RATE_ROUNDS) this.#rates.push(rate);
    else this.#rates[this.#rateAt++ % RATE_ROUNDS] = rate;
    const bestRate = Math.max(...this.#rates);
    const slack = Math.min(ACK_SLACK, bestRate * MAX_QUEUE_MS);
    const target = Math.ceil(Math.min(WINDOW_GAIN * bestRate * minRttMs + slack, bestRate * rttLimitMs(minRttMs)));
    this.#window = Math.min(this.#maxWindow, Math.max(MIN_WINDOW, target));
  }
}

/** Returns the highest round trip that the window may cause on a path with this minimum. */
function rttLimitMs(minRttMs: number): number {
  return Math.max(MIN_QUEUE_GAIN * minRttMs, Math.min(WINDOW_GAIN * minRttMs + MAX_QUEUE_MS, MAX_RTT_MS));
}
