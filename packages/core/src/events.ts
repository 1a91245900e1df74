/** Listeners of one typed event map: `{ up: Path; down: Reason }`. */
export class Events<Map extends object> {
  readonly #listeners: { [Name in keyof Map]?: Set<(value: Map[Name]) => void> } = {};

  /** Calls `listener` on every `name` until the returned function is called. */
  on<Name extends keyof Map>(name: Name, listener: (value: Map[Name]) => void): () => void {
    const set = this.#listeners[name] ?? new Set();
    this.#listeners[name] = set;
    set.add(listener);
    return () => {
      set.delete(listener);
    };
  }

  /**
   * Resolves with the first `name` for which `accept` is true.
   * @throws the signal's reason when it aborts first.
   */
  once<Name extends keyof Map>(
    name: Name,
    options: { accept?: (value: Map[Name]) => boolean; signal?: AbortSignal } = {},
  ): Promise<Map[Name]> {
    return new Promise((resolve, reject) => {
      const { accept, signal } = options;
      if (signal?.aborted) {
        reject(signal.reason);
        return;
      }
      const onAbort = () => {
        stop();
        reject(signal?.reason);
      };
      const stop = this.on(name, (value) => {
        if (accept && !accept(value)) return;
        stop();
        signal?.removeEventListener('abort', onAbort);
        resolve(value);
      });
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  }

  /** Calls the listeners of `name` in order of registration. A listener's error reaches the caller of `emit`. */
  emit<Name extends keyof Map>(name: Name, value: Map[Name]): void {
    const set = this.#listeners[name];
    if (set === undefined) return;
    for (const listener of [...set]) listener(value);
  }

  /** How many listeners `name` has; for leak checks. */
  count(name: keyof Map): number {
    return this.#listeners[name]?.size ?? 0;
  }
}
