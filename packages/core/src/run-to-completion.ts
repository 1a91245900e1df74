/**
 * Runs the steps of a state machine one at a time: an event that is raised while a step or an observer runs waits until
 * that is done, and observers are told only when no event waits. So an observer that throws, or that calls back into
 * the machine, never sees it in the middle of a change.
 */
export class RunToCompletion<Event> {
  readonly #step: (event: Event) => void;
  readonly #onObserverError: (error: unknown) => void;
  /** Undefined while nothing runs: there are many machines, and an array keeps the capacity that it once had. */
  #events: Event[] | undefined;
  #observers: (() => void)[] | undefined;
  #running = false;

  /**
   * @param step changes the state and performs the effects
   * @param onObserverError receives exceptions of observers
   */
  constructor(step: (event: Event) => void, onObserverError: (error: unknown) => void) {
    this.#step = step;
    this.#onObserverError = onObserverError;
  }

  /** Handles `event` now, or after the step that is running. */
  dispatch(event: Event): void {
    this.#events ??= [];
    this.#events.push(event);
    this.#run();
  }

  /** Calls `observer` when no event waits. */
  notify(observer: () => void): void {
    this.#observers ??= [];
    this.#observers.push(observer);
    this.#run();
  }

  #run(): void {
    if (this.#running) return;
    this.#running = true;
    try {
      while (this.#next());
      this.#events = undefined;
      this.#observers = undefined;
    } finally {
      this.#running = false;
    }
  }

  #next(): boolean {
    const event = this.#events?.shift();
    if (event !== undefined) {
      this.#step(event);
      return true;
    }
    const observer = this.#observers?.shift();
    if (observer === undefined) return false;
    try {
      observer();
    } catch (error) {
      this.#onObserverError(error);
    }
    return true;
  }
}
