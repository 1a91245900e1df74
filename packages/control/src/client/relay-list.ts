import { type Clock, RateLimit, type Timer } from '@towpath/core';
import type { Relay } from '../control-plane.ts';

/** Each list may make this node send to addresses that the server has chosen; the newest of more is taken later. */
const LISTS = { perSecond: 0.2, burst: 5 };

/** The relays that the server names, taken over at a limited rate. */
export class RelayList implements Disposable {
  readonly #clock: Clock;
  readonly #onChanged: (relays: readonly Relay[]) => void;
  readonly #limit: RateLimit;
  #current: readonly Relay[] = [];
  #newest: readonly Relay[] = [];
  #timer: Timer | undefined;
  #disposed = false;

  constructor({ clock }: { clock: Clock }, options: { onChanged(relays: readonly Relay[]): void }) {
    this.#clock = clock;
    this.#onChanged = (relays) => options.onChanged(relays);
    this.#limit = new RateLimit({ clock }, LISTS);
  }

  get current(): readonly Relay[] {
    return this.#current;
  }

  /** Takes a list of the server: at once, or when the limit allows it, unless a newer one has come by then. */
  offer(relays: readonly Relay[]): void {
    this.#newest = relays;
    if (this.#timer === undefined) this.#take();
  }

  /** No list is taken over any more. */
  [Symbol.dispose](): void {
    this.#disposed = true;
    this.#timer?.cancel();
  }

  #take(): void {
    this.#timer = undefined;
    if (this.#disposed) return;
    if (!this.#limit.take()) {
      this.#timer = this.#clock.timer(Math.max(1, this.#limit.waitMs()), () => this.#take());
      return;
    }
    this.#current = this.#newest;
    this.#onChanged(this.#current);
  }
}
