import { broadcastAddress, inSubnet, subnetHosts } from '../address/subnet.ts';
import type { Fabric } from './fabric.ts';
import type { Gateway, HostNetwork, HostOptions, LanSubnets, SimulatedHost } from './host.ts';
import type { NatNetwork, SimulatedNat } from './nat.ts';
import type { SimulatedLink, SimulatedLinkOptions } from './simulated-link.ts';
import type { NatOptions } from './nat-options.ts';
import type { Packet } from './packet.ts';

/** Makes what stands in a network; the internet does. */
export interface Builder {
  host(lan: SimulatedLan, options: HostOptions): SimulatedHost;
  nat(lan: SimulatedLan, options: NatOptions): SimulatedNat;
}

/** A network that hosts and NATs are plugged into: a LAN, a carrier's network, or the open internet. */
export class SimulatedLan implements HostNetwork, NatNetwork {
  readonly subnets: LanSubnets;
  /** What links into this network are like unless a host says otherwise. */
  readonly defaultLink: SimulatedLinkOptions;
  readonly broadcastAddress: string | undefined;
  gateway: Gateway | undefined;
  readonly #fabric: Fabric;
  readonly #broadcasts: boolean;
  readonly #builder: Builder;
  readonly #links = new Map<string, SimulatedLink>();
  /** Links of hosts: those that broadcasts reach. */
  readonly #hosts = new Set<SimulatedLink>();
  readonly #free: { 4?: Generator<string, void> | undefined; 6?: Generator<string, void> | undefined } = {};
  readonly #local = new Map<string, boolean>();

  constructor(
    fabric: Fabric,
    builder: Builder,
    subnets: LanSubnets,
    defaultLink: SimulatedLinkOptions,
    broadcasts: boolean,
  ) {
    this.#fabric = fabric;
    this.#broadcasts = broadcasts;
    this.#builder = builder;
    this.subnets = subnets;
    this.defaultLink = defaultLink;
    const { v4 } = subnets;
    this.broadcastAddress = broadcasts && v4 ? broadcastAddress(v4.address, v4.prefixLength) : undefined;
  }

  /** Plugs a new host in. */
  host(options: HostOptions = {}): SimulatedHost {
    return this.#builder.host(this, options);
  }

  /** Puts a NAT with a LAN of its own into this network. */
  nat(options: NatOptions = {}): SimulatedNat {
    return this.#builder.nat(this, options);
  }

  /** Returns the next free address; `undefined` when the network lacks the family or is full. */
  freeAddress(family: 4 | 6): string | undefined {
    const subnet = family === 4 ? this.subnets.v4 : this.subnets.v6;
    // A second round finds addresses that were given back.
    for (let round = 0; subnet && round < 2; round++) {
      this.#free[family] ??= subnetHosts(subnet, Number.POSITIVE_INFINITY);
      for (let next = this.#free[family].next(); !next.done; next = this.#free[family].next()) {
        if (!this.#links.has(next.value) && next.value !== this.gateway?.insideAddress) return next.value;
      }
      this.#free[family] = undefined;
    }
    return undefined;
  }

  /** True when a host in this network has the address. */
  has(address: string): boolean {
    return this.#links.has(address);
  }

  /** Leads an address to a link. */
  attach(address: string, link: SimulatedLink): void {
    this.#links.set(address, link);
    this.gateway?.publish(address, true);
  }

  detach(address: string): void {
    this.#links.delete(address);
    this.gateway?.publish(address, false);
  }

  addHost(link: SimulatedLink): void {
    this.#hosts.add(link);
  }

  removeHost(link: SimulatedLink): void {
    this.#hosts.delete(link);
  }

  /** False for a LAN that is connected to nothing else. */
  get leadsOut(): boolean {
    return this.gateway !== undefined || !this.#broadcasts;
  }

  isBroadcast(address: string): boolean {
    return this.broadcastAddress !== undefined && (address === this.broadcastAddress || address === '255.255.255.255');
  }

  /** A packet from one of the links, or (without one) from the gateway. */
  route(packet: Packet, from?: SimulatedLink): void {
    const link = packet.broadcast ? undefined : this.#links.get(packet.destination);
    if (link) link.deliver(packet);
    else if (packet.broadcast && this.#broadcasts) this.#flood(packet, from);
    else if (this.gateway && from && !packet.broadcast && !this.#isLocal(packet.destination)) {
      this.#fabric.arrive(packet, false, this.gateway.leave);
    } else this.#fabric.drop(packet, 'no-route');
  }

  #flood(packet: Packet, from: SimulatedLink | undefined): void {
    let original: Packet | undefined = packet;
    const copies: [SimulatedLink, Packet][] = [];
    for (const link of this.#hosts) {
      if (link === from) continue;
      copies.push([link, original ?? this.#fabric.copy(packet)]);
      original = undefined;
    }
    if (original) this.#fabric.drop(original, 'no-listener');
    for (const [link, copy] of copies) link.deliver(copy);
  }

  /** Addresses of the network's own range never leave it. */
  #isLocal(address: string): boolean {
    let local = this.#local.get(address);
    if (local === undefined) {
      const subnet = address.includes(':') ? this.subnets.v6 : this.subnets.v4;
      local = subnet !== undefined && inSubnet(address, subnet);
      this.#local.set(address, local);
    }
    return local;
  }
}
