/** Bounds of a {@link RoundTripEstimator}, in ms. */
export interface RoundTripOptions {
  /** Time-out before the first sample. */
  initialMs: number;
  /** The time-out is never below this. */
  minMs: number;
  /** The time-out, backed off or not, is never above this. */
  maxMs: number;
}

const ALPHA = 1 / 8;
const BETA = 1 / 4;
const K = 4;
/** Clock granularity G of RFC 6298: timers of the platform are good to a millisecond. */
const GRANULARITY_MS = 1;

/** Smoothed round trip and retransmission time-out after RFC 6298 §2. */
export class RoundTripEstimator {
  readonly #options: RoundTripOptions;
  #smoothedMs: number | undefined;
  #variationMs = 0;
  #minMs: number | undefined;
  #backoff = 1;

  constructor(options: RoundTripOptions) {
    this.#options = options;
  }

  /** Takes one measured round trip in ms (never of a retransmitted packet: Karn's rule) and ends a back-off. */
  sample(rttMs: number): void {
    if (!(rttMs >= 0)) return;
    this.#backoff = 1;
    this.#minMs = this.#minMs === undefined ? rttMs : Math.min(this.#minMs, rttMs);
    if (this.#smoothedMs === undefined) {
      this.#smoothedMs = rttMs;
      this.#variationMs = rttMs / 2;
      return;
    }
    this.#variationMs = (1 - BETA) * this.#variationMs + BETA * Math.abs(this.#smoothedMs - rttMs);
    this.#smoothedMs = (1 - ALPHA) * this.#smoothedMs + ALPHA * rttMs;
  }

  /** Doubles the time-out after a loss (RFC 6298 §5.5), up to the maximum. */
  backoff(): void {
    if (this.timeoutMs < this.#options.maxMs) this.#backoff *= 2;
  }

  /** Resets the estimator, for a path that was replaced. */
  reset(): void {
    this.#smoothedMs = undefined;
    this.#minMs = undefined;
    this.#variationMs = 0;
    this.#backoff = 1;
  }

  /** Smoothed round trip in ms; undefined before the first sample. */
  get smoothedMs(): number | undefined {
    return this.#smoothedMs;
  }

  /** Smallest round trip seen, in ms. */
  get minMs(): number | undefined {
    return this.#minMs;
  }

  /** How long to wait for an answer before repeating, in ms. */
  get timeoutMs(): number {
    const { initialMs, minMs, maxMs } = this.#options;
    const base =
      this.#smoothedMs === undefined ? initialMs : this.#smoothedMs + Math.max(GRANULARITY_MS, K * this.#variationMs);
    return Math.min(maxMs, Math.max(minMs, base) * this.#backoff);
  }
}
