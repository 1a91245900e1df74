import type { Clock } from '../clock.ts';

/** Wakes one waiter. A call of {@link wake} while nobody waits is kept for the next wait, so none is missed. */
export class Wakeup {
  readonly #clock: Clock;
  #woken = false;
  #resolve: (() => void) | undefined;

  constructor({ clock }: { clock: Clock }) {
    this.#clock = clock;
  }

  wake(): void {
    this.#woken = true;
    this.#resolve?.();
  }

  /**
   * Resolves with true at the next {@link wake}, or with false after `limitMs`. One caller at a time.
   * @throws the signal's reason when it aborts.
   */
  wait(limitMs: number, signal?: AbortSignal): Promise<boolean> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason);
        return;
      }
      if (this.#woken) {
        this.#woken = false;
        resolve(true);
        return;
      }
      const timer = this.#clock.timer(limitMs, () => finish(false));
      const done = () => {
        timer.cancel();
        signal?.removeEventListener('abort', onAbort);
        this.#resolve = undefined;
        this.#woken = false;
      };
      const onAbort = () => {
        done();
        reject(signal?.reason);
      };
      const finish = (woken: boolean) => {
        done();
        resolve(woken);
      };
      this.#resolve = () => finish(true);
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  }
}
