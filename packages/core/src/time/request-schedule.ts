import { backoff } from '../backoff.ts';
import type { Random } from '../random.ts';
import { RoundTripEstimator, type RoundTripOptions } from '../rtt.ts';

export interface RequestScheduleOptions {
  /** The first wait is the retransmission time-out of the measured round trip, within these bounds, ms. */
  roundTrip: RoundTripOptions;
  /** Each wait is this many times the one before, up to `roundTrip.maxMs`. */
  growth: number;
  /** When the first transmission is due, `Clock.now` ms. */
  startAtMs: number;
}

/**
 * When a request is to be sent and retransmitted: the passive form of `retransmit`, for callers that keep many requests
 * on one timer. The first answer measures the round trip, which determines the later waits.
 */
export class RequestSchedule {
  readonly rtt: RoundTripEstimator;
  readonly #random: Random;
  readonly #options: RequestScheduleOptions;
  #waits: Iterator<number, void>;
  #sentAtMs = 0;
  #dueAtMs: number;
  #transmissions = 0;
  #answered = false;

  constructor({ random }: { random: Random }, options: RequestScheduleOptions) {
    this.#random = random;
    this.#options = options;
    this.rtt = new RoundTripEstimator(options.roundTrip);
    this.#waits = this.#newWaits();
    this.#dueAtMs = options.startAtMs;
  }

  /** When the next transmission is due, `Clock.now` ms. */
  get dueAtMs(): number {
    return this.#dueAtMs;
  }

  /** Transmissions so far. */
  get transmissions(): number {
    return this.#transmissions;
  }

  /** True once anything was answered. */
  get answered(): boolean {
    return this.#answered;
  }

  /** The request was sent. */
  sent(nowMs: number): void {
    this.#transmissions++;
    this.#sentAtMs = nowMs;
    this.#dueAtMs = nowMs + this.#nextWaitMs();
  }

  /**
   * An answer has arrived. The first one measures the round trip, and the wait for the next transmission is shortened
   * accordingly.
   * @returns true for the first
   */
  heard(nowMs: number): boolean {
    if (this.#answered) return false;
    this.#answered = true;
    this.rtt.sample(nowMs - this.#sentAtMs);
    this.#waits = this.#newWaits();
    this.#dueAtMs = this.#sentAtMs + this.#nextWaitMs();
    return true;
  }

  /** There is something new to ask: at once, and soon again. */
  restart(nowMs: number): void {
    this.#waits = this.#newWaits();
    this.#dueAtMs = nowMs;
  }

  #nextWaitMs(): number {
    return this.#waits.next().value ?? this.#options.roundTrip.maxMs;
  }

  #newWaits(): Iterator<number, void> {
    const { growth, roundTrip } = this.#options;
    return backoff({ baseMs: this.rtt.timeoutMs, factor: growth, maxMs: roundTrip.maxMs, random: this.#random });
  }
}
