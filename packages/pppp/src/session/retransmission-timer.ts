import { RoundTripEstimator } from '@towpath/core';

/** Bounds of the retransmission timer (docs/protocol/pppp.md, "Sending"). */
const BOUNDS = { initialMs: 40, minMs: 20, maxMs: 1000 };

/** Time-outs in a row before the timer begins to slow down (docs/protocol/pppp.md, "Sending"). */
const PATIENT_TIMEOUTS = 5;

/** Acknowledgements without a new index are normal up to this number, and up to twice the number of those with one. */
const NEEDLESS_ALLOWED = 3;

/** After how long an unacknowledged packet is repeated: RFC 6298, but for the first five time-outs without back-off. */
export class RetransmissionTimer {
  readonly #rtt: RoundTripEstimator = new RoundTripEstimator(BOUNDS);
  /** Time-outs since the last acknowledgement of something new. */
  #timeouts = 0;
  /** What silence has multiplied the time by: gone with the first sign of life. */
  #silence = 1;
  /** What needless repeats have multiplied it by: gone with the next measured round trip. */
  #slowness = 1;
  #needless = 0;
  #useful = 0;

  get smoothedMs(): number | undefined {
    return this.#rtt.smoothedMs;
  }

  get minMs(): number | undefined {
    return this.#rtt.minMs;
  }

  get timeoutMs(): number {
    return Math.min(BOUNDS.maxMs, this.#rtt.timeoutMs * this.#silence * this.#slowness);
  }

  /** Time-outs since the last acknowledgement of something new. */
  get timeouts(): number {
    return this.#timeouts;
  }

  /** Takes a round trip of a packet that was sent once (Karn's rule). */
  sample(rttMs: number): void {
    this.#rtt.sample(Math.min(rttMs, BOUNDS.maxMs));
    this.#slowness = 1;
    this.#needless = 0;
    this.#useful = 0;
  }

  /**
   * Takes an acknowledgement. When most have no new index, copies are acknowledged one by one: the path has become slower
   * than the timer, and without slowing down no packet would ever be sent just once and be measured.
   * @returns true when the timer was slowed down for that
   */
  onAck(tellsNew: boolean): boolean {
    if (tellsNew) {
      this.#useful++;
      this.#timeouts = 0;
      this.#silence = 1;
      return false;
    }
    this.#needless++;
    if (this.#needless <= NEEDLESS_ALLOWED + 2 * this.#useful) return false;
    this.#needless = 0;
    this.#useful = 0;
    if (this.timeoutMs < BOUNDS.maxMs) this.#slowness *= 2;
    return true;
  }

  onTimeout(): void {
    this.#timeouts++;
    if (this.#timeouts > PATIENT_TIMEOUTS && this.timeoutMs < BOUNDS.maxMs) this.#silence *= 2;
  }
}
