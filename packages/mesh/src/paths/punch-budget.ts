import { type Clock, RateLimit } from '@towpath/core';

export interface PunchBudgetOptions {
  /** False: hard NATs are not attacked; peers behind them are relayed. @default true */
  enabled?: boolean | undefined;
  /** An attack begins no sooner after the one before, ms. @default 20000 */
  spacingMs?: number;
}

const DEFAULT_SPACING_MS = 20_000;

/** Limits attacks on hard NATs over all peers of a node: one at a time as the side that opens, one as the side that searches. */
export class PunchBudget {
  readonly enabled: boolean;
  readonly #newStarts: () => RateLimit;
  #starts: RateLimit;
  readonly #running = new Set<string>();

  constructor(
    components: { clock: Clock },
    { enabled = true, spacingMs = DEFAULT_SPACING_MS }: PunchBudgetOptions = {},
  ) {
    this.enabled = enabled;
    this.#newStarts = () => new RateLimit(components, { perSecond: 1_000 / spacingMs, burst: 1 });
    this.#starts = this.#newStarts();
  }

  /** Lets the next attack of each side begin at once: the network has changed, and with it the NAT. */
  renew(): void {
    this.#starts = this.#newStarts();
  }

  /** Takes the turn of a side; undefined when it is taken, too soon, or switched off. Dispose of it at the end. */
  take(side: 'open' | 'search'): Disposable | undefined {
    if (!this.enabled || this.#running.has(side) || !this.#starts.take(side)) return undefined;
    this.#running.add(side);
    return { [Symbol.dispose]: () => void this.#running.delete(side) };
  }

  /** How long until the next attack may begin, ms, if no other is under way then. */
  waitMs(side: 'open' | 'search'): number {
    return this.#starts.waitMs(side);
  }
}
