import { abortable } from './abortable.ts';

/** Lets one user in at a time, in the order of arrival. */
export class Mutex {
  #last: Promise<void> = Promise.resolve();

  /**
   * Resolves when it is this caller's turn; dispose of the result to let the next one in.
   *
   * @example
   * using _turn = await mutex.acquire(signal);
   *
   * @throws the signal's reason when it aborts while waiting; the turn is passed on.
   */
  async acquire(signal?: AbortSignal): Promise<Disposable> {
    signal?.throwIfAborted();
    const before = this.#last;
    const { promise, resolve: leave } = Promise.withResolvers<void>();
    this.#last = before.then(() => promise);
    try {
      await abortable(before, signal);
    } catch (error) {
      leave();
      throw error;
    }
    return { [Symbol.dispose]: leave };
  }
}
