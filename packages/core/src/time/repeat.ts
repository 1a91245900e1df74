import type { Clock, Timer } from '../clock.ts';

export interface RepeatOptions {
  /**
   * Does what is due.
   * @returns when it is to run again, ms from now; nothing more is due: `Infinity`
   */
  run(): number;
}

/** Runs work again and again; every run determines the time of the next one. */
export class Repeat implements Disposable {
  readonly #clock: Clock;
  readonly #run: () => number;
  #timer: Timer | undefined;
  #stopped = false;

  /** Does nothing before {@link wake}. */
  constructor({ clock }: { clock: Clock }, { run }: RepeatOptions) {
    this.#clock = clock;
    this.#run = run;
  }

  /** Runs now instead of when the next run is due. Does nothing once stopped. */
  wake(): void {
    if (this.#stopped) return;
    this.#timer?.cancel();
    this.#timer = undefined;
    const delayMs = this.#run();
    // The run may have stopped it, or woken it: then a timer is there already.
    if (this.#stopped || this.#timer !== undefined || delayMs === Number.POSITIVE_INFINITY) return;
    this.#timer = this.#clock.timer(Math.max(0, delayMs), () => this.wake());
  }

  /** Ends it for good. Idempotent. */
  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  [Symbol.dispose](): void {
    this.stop();
  }
}
