import { errorMessage } from './errors.ts';
import { type Log, silentLog } from './log.ts';

type Listener<Value> = (value: Value) => void;

/** Listeners of one typed event map: `{ up: Path; down: Reason }`. */
export class Events<Map extends object> {
  readonly #log: Log;
  /**
   * Of each event its only listener, or a list that is replaced and never changed, so that an `emit` under way calls the
   * listeners it began with. Most events have one, and there may be thousands of objects with events.
   */
  readonly #listeners: { [Name in keyof Map]?: Listener<Map[Name]> | readonly Listener<Map[Name]>[] | undefined } = {};

  /** @param log receives exceptions of listeners */
  constructor(log: Log = silentLog) {
    this.#log = log;
  }

  /** Calls `listener` on every `name` until the returned function is called. */
  on<Name extends keyof Map>(name: Name, listener: Listener<Map[Name]>): () => void {
    const known = this.#listenersOf(name);
    if (known.length === 0) this.#listeners[name] = listener;
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
    if (typeof listeners === 'function') this.#call(listeners, name, value);
    else for (const listener of this.#listenersOf(name)) this.#call(listener, name, value);
  }

  #call<Name extends keyof Map>(listener: Listener<Map[Name]>, name: Name, value: Map[Name]): void {
    try {
      const returned: unknown = listener(value);
      if (returned instanceof Promise) returned.catch((error: unknown) => this.#failed(name, error));
    } catch (error) {
      this.#failed(name, error);
    }
  }

  #listenersOf<Name extends keyof Map>(name: Name): readonly Listener<Map[Name]>[] {
    const known = this.#listeners[name];
    return typeof known === 'function' ? [known] : (known ?? []);
  }

  #remove<Name extends keyof Map>(name: Name, listener: Listener<Map[Name]>): void {
    const known = this.#listenersOf(name);
    const at = known.indexOf(listener);
    if (at < 0) return;
    // Unlike what `filter` returns, this has no room for more than it holds.
    const left = known.toSpliced(at, 1);
    this.#listeners[name] = left.length > 1 ? left : left[0];
  }

  #failed(name: keyof Map, error: unknown): void {
    this.#log.error(`A listener of "${String(name)}" failed: ${errorMessage(error)}`);
  }

  /** How many listeners `name` has; for leak checks. */
  count(name: keyof Map): number {
    return this.#listenersOf(name).length;
  }
}
