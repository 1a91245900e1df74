import type { Clock } from '@towpath/core';
import type { Endpoint, Network } from '@towpath/net';
import { EARLY_MS } from '../session/options.ts';
import { SWEEP_PAUSE_MS, Sweep } from './sweep.ts';
import { neighbours, roundTargets, type SearchTargets, sweptHosts } from './targets.ts';

/** Time between two rounds of searches (docs/protocol/pppp.md, "LAN search"). */
const ROUND_MS = 100;

/**
 * The hosts of this host's own networks are asked one by one when a search by broadcast has brought no answer by then,
 * ms.
 */
const NEIGHBOURS_AFTER_MS = 400;

/** How often each of them is asked. */
const NEIGHBOUR_SWEEPS = 2;

/** Schedule of a search: broadcasts and single hosts every 100 ms, swept hosts in between. */
export class SearchSchedule {
  readonly #clock: Clock;
  readonly #hosts: readonly Endpoint[];
  readonly #knownPorts: readonly number[];
  readonly #single: ReadonlySet<Endpoint>;
  readonly #sweep: Sweep;
  readonly #neighbours: Sweep;
  #startedAt: number | undefined;
  #answered = false;
  #roundAt = Number.NEGATIVE_INFINITY;

  /** @throws PpppError `bad-argument`, as {@link roundTargets} and {@link sweptHosts}. */
  constructor(network: Network, clock: Clock, targets: SearchTargets, localAddress?: string) {
    const { broadcasts, single } = roundTargets(network, targets, localAddress);
    this.#clock = clock;
    this.#hosts = [...broadcasts, ...single];
    this.#single = new Set(single);
    this.#knownPorts = targets.knownPorts ?? [];
    this.#sweep = new Sweep(sweptHosts(targets));
    const attached = broadcasts.length === 0 ? [] : neighbours(network, targets, localAddress);
    this.#neighbours = new Sweep(attached, NEIGHBOUR_SWEEPS);
  }

  /** Broadcasts and single hosts that are asked in each round. */
  get hosts(): readonly Endpoint[] {
    return this.#hosts;
  }

  /** A device has answered: a sweep is not needed. */
  answered(): void {
    this.#answered = true;
  }

  /** Calls `ask` for every target that is due. */
  sendProbes(ask: (to: Endpoint) => void): void {
    const now = this.#clock.now();
    this.#startedAt ??= now;
    if (now - this.#roundAt >= ROUND_MS - EARLY_MS) {
      this.#roundAt = now;
      for (const to of this.#hosts) {
        if (this.#single.has(to)) this.#askHost(to, ask);
        else ask(to);
      }
    }
    for (const to of this.#sweep.portion(now)) this.#askHost(to, ask);
    if (!this.#isSweepingNeighbours(now)) return;
    for (const to of this.#neighbours.portion(now)) this.#askHost(to, ask);
  }

  /** Time until the next {@link sendProbes}, in ms. */
  get pauseMs(): number {
    const sweeping = !this.#sweep.done || this.#isSweepingNeighbours(this.#clock.now());
    return sweeping ? SWEEP_PAUSE_MS : ROUND_MS;
  }

  #isSweepingNeighbours(now: number): boolean {
    if (this.#answered || this.#neighbours.done || this.#startedAt === undefined) return false;
    return now - this.#startedAt >= NEIGHBOURS_AFTER_MS - EARLY_MS;
  }

  /**
   * A device answers from its listen port. A stateful firewall of this host drops that, unless something has been sent
   * there: so the ports where devices are known to listen are asked first.
   */
  #askHost(to: Endpoint, ask: (to: Endpoint) => void): void {
    for (const port of this.#knownPorts) if (port !== to.port) ask({ address: to.address, port });
    ask(to);
  }
}
