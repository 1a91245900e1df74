import { AbortedError } from '../errors.ts';
import { abortable } from './abortable.ts';

interface Running<Result> {
  result: Promise<Result>;
  abort: AbortController;
  waiters: number;
}

/**
 * One piece of work that several callers wait for. It starts with the first waiter and is aborted when the last one has
 * left; work that is done is not kept, and the next waiter starts it anew.
 */
export class SharedWork<Result> {
  readonly #work: (signal: AbortSignal) => Promise<Result>;
  #running: Running<Result> | undefined;

  /** @param work releases everything when `signal` aborts, before its promise settles */
  constructor(work: (signal: AbortSignal) => Promise<Result>) {
    this.#work = work;
  }

  /** True while the work runs. */
  get running(): boolean {
    return this.#running !== undefined;
  }

  /**
   * Waits for the result; starts the work when nobody else has. Waits for the end of work that was just aborted.
   * @throws what the work throws; the signal's reason, and when this was the last waiter not before the work has ended
   */
  async join(signal?: AbortSignal): Promise<Result> {
    signal?.throwIfAborted();
    while (this.#running?.abort.signal.aborted) await abortable(this.#running.result.catch(noop), signal);
    this.#running ??= this.#start();
    const running = this.#running;
    running.waiters++;
    try {
      return await abortable(running.result, signal);
    } finally {
      running.waiters--;
      if (running.waiters === 0 && this.#running === running) {
        running.abort.abort(new AbortedError('The last waiter has left.'));
        await running.result.catch(noop);
      }
    }
  }

  #start(): Running<Result> {
    const abort = new AbortController();
    const result = Promise.resolve()
      .then(() => this.#work(abort.signal))
      .finally(() => {
        this.#running = undefined;
      });
    result.catch(noop);
    return { result, abort, waiters: 0 };
  }
}

function noop(): unknown {
  return undefined;
}
