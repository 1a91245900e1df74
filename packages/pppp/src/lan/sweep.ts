import type { Endpoint } from '@towpath/net';

/** Hosts asked per round of {@link SWEEP_PAUSE_MS}: 3,200 a second, which an access point's ARP table survives. */
const PER_ROUND = 32;
export const SWEEP_PAUSE_MS = 10;

/** After the last host of a sweep, the first is asked again, but no sooner than this. */
const MIN_SWEEP_MS = 1000;

/** Deals out the hosts of a sweep in paced portions, again and again. */
export class Sweep {
  readonly #hosts: readonly Endpoint[];
  #next = 0;
  #startedAt = Number.NEGATIVE_INFINITY;

  constructor(hosts: readonly Endpoint[]) {
    this.#hosts = hosts;
  }

  /** The hosts to ask now, none while the sweep rests. */
  portion(now: number): readonly Endpoint[] {
    if (this.#hosts.length === 0) return [];
    if (this.#next === 0) {
      if (now - this.#startedAt < MIN_SWEEP_MS) return [];
      this.#startedAt = now;
    }
    const portion = this.#hosts.slice(this.#next, this.#next + PER_ROUND);
    this.#next += portion.length;
    if (this.#next >= this.#hosts.length) this.#next = 0;
    return portion;
  }
}
