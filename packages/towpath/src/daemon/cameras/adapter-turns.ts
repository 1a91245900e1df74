import { Mutex } from '@towpath/core';

/**
 * Turns of cameras at the machine's Wi-Fi adapters: an adapter is in one hotspot at a time. Each camera gets its turn in the order
 * in which they asked.
 */
export class AdapterTurns {
  readonly #turns = new Map<string, Mutex>();
  #named = false;

  /**
   * Says which adapters are used. Where a camera leaves the choice to the system, all of them take turns with each other,
   * because the system may choose any adapter.
   */
  use(adapters: readonly (string | undefined)[]): void {
    this.#named = adapters.every((adapter) => adapter !== undefined);
  }

  /** Resolves when it is this caller's turn at the adapter. @throws the signal's reason */
  acquire(adapter: string | undefined, signal?: AbortSignal): Promise<Disposable> {
    const key = this.#named ? (adapter ?? '') : '';
    const turn = this.#turns.get(key) ?? new Mutex();
    this.#turns.set(key, turn);
    return turn.acquire(signal);
  }
}
