import { abortable } from './abortable.ts';

/** Lets one user in at a time, in the order of arrival. */
export class Mutex {
  /** The end of the turn of who came last; undefined before the first. */
  #last: Promise<void> | undefined;

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
    this.#last = before === undefined ? promise : before.then(() => promise);
    try {
      if (before !== undefined) await abortable(before, signal);
    } catch (error) {
      leave();
      throw error;
    }
    return { [Symbol.dispose]: leave };
  }
}
