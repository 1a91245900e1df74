import { errorMessage } from './errors.ts';
import { type Log, silentLog } from './log.ts';

type Listener<Value> = (value: Value) => void;

/** Listeners of one typed event map: `{ up: Path; down: Reason }`. */
export class Events<Map extends object> {
  readonly #log: Log;
  /** Lists that are replaced and never changed, so that an `emit` under way calls the listeners it began with. */
  readonly #listeners: { [Name in keyof Map]?: readonly Listener<Map[Name]>[] | undefined } = {};

  /** @param log receives exceptions of listeners */
  constructor(log: Log = silentLog) {
    this.#log = log;
  }

  /** Calls `listener` on every `name` until the returned function is called. */
  on<Name extends keyof Map>(name: Name, listener: Listener<Map[Name]>): () => void {
    const known = this.#listeners[name];
    if (known === undefined) this.#listeners[name] = [listener];
    else if (!known.includes(listener)) this.#listeners[name] = known.concat(listener);
    return () => this.#remove(name, listener);
  }

  /**
   * Resolves with the first `name` for which `accept` is true.
   * @throws the signal's reason when it aborts first.
   */
  once<Name extends keyof Map>(
    name: Name,
    options: { accept?: (value: Map[Name]) => boolean; signal?: AbortSignal | undefined } = {},
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

  /**
   * Calls the listeners of `name` in order of registration. What a listener throws, or rejects with, is logged: it
   * neither keeps the others from being called nor reaches the code that emits.
   */
  emit<Name extends keyof Map>(name: Name, value: Map[Name]): void {
    const listeners = this.#listeners[name];
    if (listeners === undefined) return;
    for (const listener of listeners) {
      try {
        const returned: unknown = listener(value);
        if (returned instanceof Promise) returned.catch((error: unknown) => this.#failed(name, error));
      } catch (error) {
        this.#failed(name, error);
      }
    }
  }

  #remove<Name extends keyof Map>(name: Name, listener: Listener<Map[Name]>): void {
    const known = this.#listeners[name];
    const at = known?.indexOf(listener) ?? -1;
    if (known === undefined || at < 0) return;
    // Unlike what `filter` returns, this has no room for more than it holds.
    this.#listeners[name] = known.length === 1 ? undefined : known.toSpliced(at, 1);
  }

  #failed(name: keyof Map, error: unknown): void {
    this.#log.error(`A listener of "${String(name)}" failed: ${errorMessage(error)}`);
  }

  /** How many listeners `name` has; for leak checks. */
  count(name: keyof Map): number {
    return this.#listeners[name]?.length ?? 0;
  }
}
