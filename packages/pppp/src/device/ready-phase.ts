import type { Clock, Timer } from '@towpath/core';

/** Copies of 0x43 and how they are spread: 51 within about 325 ms (spec §5.4). */
const OFFERS_PER_STEP = 3;
const OFFER_STEPS = 17;
const OFFER_STEP_MS = 20;

/** Copies of P2P_RDY and the time between them (spec §5.3: 10–20 ms). */
const READY_COPIES = 4;
const READY_SPACING_MS = 15;

/** What a device says before a session. */
export interface ReadySteps {
  /** Sends one 0x43. */
  offer(): void;
  /** Sends one P2P_RDY; the first opens the session. */
  ready(): void;
  /** Everything was sent. */
  done(): void;
}

/** What a device sends on a punch: perhaps offers to use TCP, then P2P_RDY four times (spec §5.3, §5.4). */
export class ReadyPhase {
  readonly #clock: Clock;
  readonly #steps: ReadySteps;
  #offers: number;
  #readies = READY_COPIES;
  #timer: Timer | undefined;

  constructor(clock: Clock, offersFirst: boolean, steps: ReadySteps) {
    this.#clock = clock;
    this.#steps = steps;
    this.#offers = offersFirst ? OFFER_STEPS : 0;
  }

  /** False until the first P2P_RDY. */
  get open(): boolean {
    return this.#readies < READY_COPIES;
  }

  start(): void {
    this.#step();
  }

  cancel(): void {
    this.#timer?.cancel();
    this.#offers = 0;
    this.#readies = 0;
  }

  #step(): void {
    this.#timer = undefined;
    if (this.#offers > 0) {
      this.#offers--;
      for (let copy = 0; copy < OFFERS_PER_STEP; copy++) this.#steps.offer();
      this.#timer = this.#clock.timer(OFFER_STEP_MS, () => this.#step());
      return;
    }
    this.#readies--;
    this.#steps.ready();
    if (this.#readies > 0) this.#timer = this.#clock.timer(READY_SPACING_MS, () => this.#step());
    else this.#steps.done();
  }
}
