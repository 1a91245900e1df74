import type { Clock } from '../clock.ts';
import { AbortedError, errorMessage } from '../errors.ts';
import type { Log } from '../log.ts';
import { Wakeup } from '../time/wakeup.ts';

export interface ImprovementOptions {
  /** Whether a better path than the current one is worth a search. */
  wanted(): boolean;
  /** The waits before the searches, ms; a fresh schedule begins after each {@link Improvement.refresh}. */
  delaysMs(): Iterable<number>;
  /** Searches once. Ends when `signal` aborts. */
  search(signal: AbortSignal): Promise<unknown>;
}

/** Searches for a better path again and again, for as long as one is wanted. */
export class Improvement {
  readonly #log: Log;
  readonly #options: ImprovementOptions;
  readonly #wakeup: Wakeup;
  #abort: AbortController | undefined;
  #running: Promise<void> = Promise.resolve();
  #refreshed = false;

  constructor({ clock, log }: { clock: Clock; log: Log }, options: ImprovementOptions) {
    this.#log = log;
    this.#options = options;
    this.#wakeup = new Wakeup({ clock });
  }

  /** Starts or ends the search: something has changed that decides whether it is wanted. */
  update(): void {
    if (!this.#options.wanted()) this.#abort?.abort(new AbortedError('No better path is wanted.'));
    else if (this.#abort === undefined || this.#abort.signal.aborted) this.#start();
  }

  /** Searches at once, and then with a fresh schedule. */
  refresh(): void {
    this.#refreshed = true;
    this.#wakeup.wake();
    this.update();
  }

  /** Ends the search and resolves when nothing of it is left. */
  async stop(): Promise<void> {
    this.#abort?.abort(new AbortedError('The link was closed.'));
    await this.#running;
  }

  #start(): void {
    const abort = new AbortController();
    this.#abort = abort;
    this.#running = this.#running
      .then(() => this.#run(abort.signal))
      .then(() => {
        if (this.#abort !== abort) return;
        this.#abort = undefined;
        // Refreshed after the last search, before this was known to be the last.
        if (this.#refreshed) this.update();
      });
  }

  async #run(signal: AbortSignal): Promise<void> {
    do {
      this.#refreshed = false;
      for (const delayMs of this.#options.delaysMs()) {
        try {
          await this.#wakeup.wait(delayMs, signal);
          signal.throwIfAborted();
          await this.#options.search(signal);
        } catch (error) {
          if (signal.aborted) return;
          this.#log.debug(`No better path was found: ${errorMessage(error)}`);
        }
        if (signal.aborted) return;
        if (this.#refreshed) break;
      }
    } while (this.#refreshed);
  }
}
