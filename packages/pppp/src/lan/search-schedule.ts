import type { Clock } from '@towpath/core';
import type { Endpoint, Network } from '@towpath/net';
import { EARLY_MS } from '../session/options.ts';
import { SWEEP_PAUSE_MS, Sweep } from './sweep.ts';
import { roundTargets, type SearchTargets, sweptHosts } from './targets.ts';

/** Time between two rounds of searches (spec §5.2). */
const ROUND_MS = 100;

/** Decides whom to ask when: broadcasts and single hosts every 100 ms, swept hosts in between. */
export class SearchSchedule {
  readonly #clock: Clock;
  readonly #targets: readonly Endpoint[];
  readonly #sweep: Sweep;
  readonly #sweeping: boolean;
  #roundAt = Number.NEGATIVE_INFINITY;

  /** @throws PpppError `bad-argument`, as {@link roundTargets} and {@link sweptHosts}. */
  constructor(network: Network, clock: Clock, targets: SearchTargets, localAddress?: string) {
    const hosts = sweptHosts(targets);
    this.#clock = clock;
    this.#targets = roundTargets(network, targets, localAddress);
    this.#sweep = new Sweep(hosts);
    this.#sweeping = hosts.length > 0;
  }

  /** Calls `ask` for everybody whose turn it is. */
  knock(ask: (to: Endpoint) => void): void {
    const now = this.#clock.now();
    if (now - this.#roundAt >= ROUND_MS - EARLY_MS) {
      this.#roundAt = now;
      for (const to of this.#targets) ask(to);
    }
    for (const to of this.#sweep.portion(now)) ask(to);
  }

  /** Time until the next {@link knock}, in ms. */
  get pauseMs(): number {
    return this.#sweeping ? SWEEP_PAUSE_MS : ROUND_MS;
  }
}
