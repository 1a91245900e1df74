import { type Clock, Repeat } from '@towpath/core';

/** Copies of 0x43 and how they are spread: 51 within about 325 ms (docs/protocol/pppp.md, "Message 0x43"). */
const OFFERS_PER_STEP = 3;
const OFFER_STEPS = 17;
const OFFER_STEP_MS = 20;

/** Copies of P2P_RDY and the time between them (docs/protocol/pppp.md, "Punch and ready": 10–20 ms). */
const READY_COPIES = 4;
const READY_SPACING_MS = 15;

/** Messages of a device before a session. */
export interface ReadySteps {
  /** Sends one 0x43. */
  offer(): void;
  /** Sends one P2P_RDY; the first opens the session. */
  ready(): void;
  /** Everything was sent. */
  done(): void;
}

/**
 * Messages of a device on a punch: optionally 0x43, then P2P_RDY four times (docs/protocol/pppp.md, "Punch and
 * ready", "Message 0x43").
 */
export class ReadyPhase {
  readonly #steps: ReadySteps;
  #offers: number;
  #readies = READY_COPIES;
  readonly #messages: Repeat;

  constructor(components: { clock: Clock; steps: ReadySteps }, { offersFirst }: { offersFirst: boolean }) {
    const { steps } = components;
    this.#steps = steps;
    this.#offers = offersFirst ? OFFER_STEPS : 0;
    this.#messages = new Repeat(components, { run: () => this.#step() });
  }

  /** False until the first P2P_RDY. */
  get open(): boolean {
    return this.#readies < READY_COPIES;
  }

  start(): void {
    this.#messages.wake();
  }

  cancel(): void {
    this.#messages.stop();
    this.#offers = 0;
    this.#readies = 0;
  }

  #step(): number {
    if (this.#offers > 0) {
      this.#offers--;
      for (let copy = 0; copy < OFFERS_PER_STEP; copy++) this.#steps.offer();
      return OFFER_STEP_MS;
    }
    this.#readies--;
    this.#steps.ready();
    if (this.#readies > 0) return READY_SPACING_MS;
    this.#steps.done();
    return Number.POSITIVE_INFINITY;
  }
}
