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
   * Resolves at the next ring, or after `limitMs`.
   * @throws the signal's reason when it aborts.
   */
  wait(limitMs: number | undefined, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason);
        return;
      }
      if (this.#rung) {
        this.#rung = false;
        resolve();
        return;
      }
      const onAbort = () => {
        done();
        reject(signal?.reason);
      };
      const wake = () => {
        done();
        resolve();
      };
      const timer = limitMs === undefined ? undefined : this.#clock.timer(limitMs, wake);
      const done = () => {
        timer?.cancel();
        signal?.removeEventListener('abort', onAbort);
        this.#wake = undefined;
        this.#rung = false;
      };
      this.#wake = wake;
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  }
}
