import type { Clock } from '@towpath/core';
import type { Packet } from './packet.ts';

/**
 * What a host's own firewall lets in, always by (address, port) and per local port; broadcasts pass.
 * - `open`: everything
 * - `contacted`: only from endpoints that the host has sent to from that port
 * - `first-seen`: only the first endpoint that sent a packet
 * - `closed`: nothing
 */
export type FirewallPolicy = 'open' | 'contacted' | 'first-seen' | 'closed';

export interface FirewallOptions {
  policy: FirewallPolicy;
  /** Local ports that it guards; all when absent. */
  ports?: readonly number[];
  /** An endpoint is forgotten when nothing passed for so long; never when absent. */
  holdMs?: number | undefined;
}

/** A host's packet filter. `options` may be changed at any time; `reset` removes its state. */
export class HostFirewall {
  options: FirewallOptions;
  readonly #clock: Clock;
  /** Local port to remote endpoints, with the time of the last packet. */
  readonly #known = new Map<number, Map<string, number>>();

  constructor(clock: Clock, options: FirewallOptions) {
    this.#clock = clock;
    this.options = options;
  }

  reset(): void {
    this.#known.clear();
  }

  noteSent(packet: Packet): void {
    if (this.options.policy !== 'contacted' || !this.#guards(packet.sourcePort)) return;
    this.#remotes(packet.sourcePort).set(`${packet.destination}|${packet.destinationPort}`, this.#clock.now());
  }

  accepts(packet: Packet): boolean {
    const { policy } = this.options;
    if (policy === 'open' || packet.broadcast || !this.#guards(packet.destinationPort)) return true;
    if (policy === 'closed') return false;
    const remotes = this.#remotes(packet.destinationPort);
    const remote = `${packet.source}|${packet.sourcePort}`;
    if (policy === 'first-seen' && !this.#holdsAny(remotes)) remotes.clear();
    const known = this.#holds(remotes.get(remote)) || (policy === 'first-seen' && remotes.size === 0);
    if (known) remotes.set(remote, this.#clock.now());
    return known;
  }

  #guards(port: number): boolean {
    return this.options.ports?.includes(port) ?? true;
  }

  #remotes(port: number): Map<string, number> {
    let remotes = this.#known.get(port);
    if (!remotes) {
      remotes = new Map();
      this.#known.set(port, remotes);
    }
    return remotes;
  }

  #holds(lastAt: number | undefined): boolean {
    return lastAt !== undefined && this.#clock.now() - lastAt <= (this.options.holdMs ?? Number.POSITIVE_INFINITY);
  }

  /** For `first-seen`, which has at most one remote endpoint. */
  #holdsAny(remotes: Map<string, number>): boolean {
    for (const lastAt of remotes.values()) return this.#holds(lastAt);
    return false;
  }
}
