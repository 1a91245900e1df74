import type { Clock } from '@towpath/core';

/** Wakes one waiter. A ring that nobody waits for is kept for the next wait, so none is missed. */
export class Bell {
  readonly #clock: Clock;
  #rung = false;
  #wake: (() => void) | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  ring(): void {
    this.#rung = true;
    this.#wake?.();
  }

  /**
   * Resolves with true at the next ring, or with false after `limitMs`.
   * @throws the signal's reason when it aborts.
   */
  wait(limitMs: number, signal?: AbortSignal): Promise<boolean> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason);
        return;
      }
      if (this.#rung) {
        this.#rung = false;
        resolve(true);
        return;
      }
      const onAbort = () => {
        done();
        reject(signal?.reason);
      };
      const finish = (rung: boolean) => {
        done();
        resolve(rung);
      };
      const timer = this.#clock.timer(limitMs, () => finish(false));
      const done = () => {
        timer.cancel();
        signal?.removeEventListener('abort', onAbort);
        this.#wake = undefined;
        this.#rung = false;
      };
      this.#wake = () => finish(true);
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  }
}
