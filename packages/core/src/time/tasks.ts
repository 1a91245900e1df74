/** Work that is under way and whose end somebody waits for. Nothing is kept of work that is done. */
export class Tasks {
  /** Made with the first task and dropped with the last: most owners have none most of the time. */
  #running: Set<Promise<unknown>> | undefined;

  /** Takes work; whether it succeeds does not matter here. */
  add(work: Promise<unknown>): void {
    this.#running ??= new Set();
    const running = this.#running;
    const tracked = work.then(noop, noop).then(() => {
      running.delete(tracked);
      if (running.size === 0) this.#running = undefined;
    });
    running.add(tracked);
  }

  /** Resolves when nothing is under way any more, work that is added meanwhile included. */
  async settled(): Promise<void> {
    while (this.#running !== undefined) await Promise.all(this.#running);
  }
}

/** Waits until all have settled, unlike `Promise.all`. @throws what the first one that failed was rejected with */
export async function allDone(work: Iterable<Promise<unknown>>): Promise<void> {
  for (const result of await Promise.allSettled(work)) if (result.status === 'rejected') throw result.reason;
}

function noop(): void {}
