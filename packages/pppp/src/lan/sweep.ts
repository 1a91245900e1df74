import type { Endpoint } from '@towpath/net';

/** Hosts asked per round of {@link SWEEP_PAUSE_MS}: 3,200 a second, which an access point's ARP table survives. */
const PER_ROUND = 32;
export const SWEEP_PAUSE_MS = 10;

/** After the last host of a sweep, the first is asked again, but no sooner than this. */
const MIN_SWEEP_MS = 1000;

/** Returns the hosts of a sweep in paced portions, repeatedly. */
export class Sweep {
  readonly #hosts: readonly Endpoint[];
  #next = 0;
  #startedAt = Number.NEGATIVE_INFINITY;
  #left: number;

  /** @param times how often each host is asked */
  constructor(hosts: readonly Endpoint[], times: number = Number.POSITIVE_INFINITY) {
    this.#hosts = hosts;
    this.#left = hosts.length === 0 ? 0 : times;
  }

  /** The sweep is complete. */
  get done(): boolean {
    return this.#left === 0;
  }

  /** Returns the hosts that are due, none between two passes. */
  portion(now: number): readonly Endpoint[] {
    if (this.done) return [];
    if (this.#next === 0) {
      if (now - this.#startedAt < MIN_SWEEP_MS) return [];
      this.#startedAt = now;
    }
    const portion = this.#hosts.slice(this.#next, this.#next + PER_ROUND);
    this.#next += portion.length;
    if (this.#next >= this.#hosts.length) {
      this.#next = 0;
      this.#left--;
    }
    return portion;
  }
}
