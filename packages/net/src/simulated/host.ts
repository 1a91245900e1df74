import { isLoopback } from '../address/ip.ts';
import { inSubnet, type Subnet } from '../address/subnet.ts';
import { ChangeWatcher } from '../change-watcher.ts';
import type { DefaultRoute, DefaultRouteOptions } from '../default-route.ts';
import type { InterfaceAddress, Network } from '../network.ts';
import type { Fabric } from './fabric.ts';
import { type FirewallOptions, HostFirewall } from './host-firewall.ts';
import type { Packet } from './packet.ts';
import {
  type LinkOwner,
  SimulatedLink,
  type SimulatedLinkNetwork,
  type SimulatedLinkOptions,
} from './simulated-link.ts';
import { TcpStack } from './tcp-stack.ts';
import { type HostAddressing, UdpStack } from './udp-stack.ts';

/** One wire of a host and the addresses on it. */
export interface InterfaceOptions {
  /** @default the network's next free address; `false` for none */
  address?: string | false;
  /** @default the next free address where the network has IPv6; `false` for none */
  ipv6?: string | false;
  /** Overrides what links of this network are like by default. */
  link?: SimulatedLinkOptions;
}

export interface HostOptions extends InterfaceOptions {
  /** For messages and tests. @default host-1, host-2, … */
  name?: string;
  /** @default { policy: 'open' } */
  firewall?: FirewallOptions;
}

/** Next hop of packets to addresses outside the network. */
export interface Gateway {
  /** The address that the network's hosts know it by, and which no host gets. */
  readonly insideAddress: string | undefined;
  readonly leave: (packet: Packet) => void;
  /** A host inside has this public (routed) address now, or no longer. */
  publish(address: string, reachable: boolean): void;
}

/** The IPv4 and IPv6 ranges of a network. */
export interface LanSubnets {
  readonly v4?: Subnet;
  readonly v6?: Subnet | undefined;
}

/** A network, as a host in it uses it. */
export interface HostNetwork extends SimulatedLinkNetwork {
  readonly subnets: LanSubnets;
  readonly defaultLink: SimulatedLinkOptions;
  readonly broadcastAddress: string | undefined;
  readonly gateway: Gateway | undefined;
  /** False for a LAN that is connected to nothing else. */
  readonly leadsOut: boolean;
  /** Returns the next free address; `undefined` when the network lacks the family or is full. */
  freeAddress(family: 4 | 6): string | undefined;
  /** True when a host in this network has the address. */
  has(address: string): boolean;
  isBroadcast(address: string): boolean;
  attach(address: string, link: SimulatedLink): void;
  detach(address: string): void;
  addHost(link: SimulatedLink): void;
  removeHost(link: SimulatedLink): void;
}

/** A network interface of a simulated host. */
export interface SimulatedInterface {
  readonly name: string;
  readonly lan: HostNetwork;
  readonly link: SimulatedLink;
  readonly addresses: readonly string[];
}

/** A computer in the simulated internet; programs use its {@link SimulatedHost.network}. */
export class SimulatedHost implements LinkOwner, HostAddressing {
  readonly isHost = true;
  readonly name: string;
  /** What runs on this host sees only this. */
  readonly network: Network;
  readonly firewall: HostFirewall;
  /** Its hosts file: names in lower case and their addresses. */
  readonly hostsFile: Map<string, readonly string[]> = new Map();
  readonly #watcher: ChangeWatcher;
  readonly #fabric: Fabric;
  readonly #udp: UdpStack;
  readonly #tcp: TcpStack;
  readonly #interfaces: SimulatedInterface[] = [];
  #interfacesMade = 0;
  #asleep = false;

  constructor(fabric: Fabric, name: string, firewall: FirewallOptions) {
    this.#fabric = fabric;
    this.name = name;
    this.firewall = new HostFirewall(fabric.clock, firewall);
    const udp = new UdpStack(fabric, this);
    const tcp = new TcpStack(fabric, this);
    this.#udp = udp;
    this.#tcp = tcp;
    const snapshot = async () => ({ interfaces: this.#list(), routes: this.#defaultRoutes() });
    this.#watcher = new ChangeWatcher({ clock: fabric.clock, snapshot });
    this.network = {
      changes: this.#watcher,
      bindUdp: (options) => udp.bind(options),
      connectTcp: (to, options) => tcp.connect(to, options),
      listenTcp: (options) => tcp.listen(options),
      interfaces: () => this.#list(),
      resolve: (name, options = {}) =>
        fabric.names.resolve(name, options, this.hostsFile, (family) => this.#defaultRoute({ family }) !== undefined),
      defaultRoute: async (options = {}) => {
        options.signal?.throwIfAborted();
        return this.#defaultRoute(options);
      },
    };
  }

  /** The interfaces now, the preferred one first. */
  get interfaces(): readonly SimulatedInterface[] {
    return this.#interfaces;
  }

  /** The first IPv4 address. @throws when the host has none now */
  get address(): string {
    return this.#first(4);
  }

  /** The first IPv6 address. @throws when the host has none now */
  get address6(): string {
    return this.#first(6);
  }

  /** The link of the preferred interface. @throws when the host has no interface now */
  get link(): SimulatedLink {
    const [first] = this.#interfaces;
    if (!first) throw new RangeError(`Host ${this.name} has no interface: give it one with join().`);
    return first.link;
  }

  /** Pulls all wires. */
  unplug(): void {
    for (const { link } of this.#interfaces) link.unplug();
  }

  replug(): void {
    for (const { link } of this.#interfaces) link.replug();
  }

  /**
   * Suspends the host: nothing is sent or heard for so long. Programs are told afterwards. Their timers run on, for all
   * hosts share one clock.
   */
  async sleep(sleptMs: number): Promise<void> {
    this.#asleep = true;
    await this.#fabric.clock.sleep(sleptMs);
    this.#asleep = false;
    this.#watcher.note({ kind: 'sleep', sleptMs });
  }

  /** Tells programs that the wall clock was set. */
  jumpClock(jumpMs: number): void {
    this.#watcher.note({ kind: 'clock-jump', jumpMs });
  }

  /** Adds an interface in `lan`; the first interface is the preferred one. */
  join(lan: HostNetwork, options: InterfaceOptions = {}): SimulatedInterface {
    const link = new SimulatedLink(this.#fabric, lan, this, { ...lan.defaultLink, ...options.link });
    const addresses: string[] = [];
    for (const [family, wanted] of [
      [4, options.address],
      [6, options.ipv6],
    ] as const) {
      const address = wanted === false ? undefined : this.#allot(lan, family, wanted);
      if (address !== undefined) addresses.push(address);
    }
    for (const address of addresses) lan.attach(address, link);
    lan.addHost(link);
    const joined = { name: `eth${this.#interfacesMade++}`, lan, link, addresses };
    this.#interfaces.push(joined);
    this.linkChanged();
    return joined;
  }

  /** Takes an interface away; its addresses are free again. */
  leave(left: SimulatedInterface): void {
    const at = this.#interfaces.indexOf(left);
    if (at < 0) return;
    this.#interfaces.splice(at, 1);
    this.linkChanged();
    left.link.unplug();
    left.lan.removeHost(left.link);
    for (const address of left.addresses) left.lan.detach(address);
  }

  /** Roams: leaves every network it is in, then joins `lan` (the same one again to get a new address). */
  roam(lan: HostNetwork, options: InterfaceOptions = {}): SimulatedInterface {
    const before = [...this.#interfaces];
    // Joining first keeps the new address from being the old one.
    const joined = this.join(lan, options);
    for (const left of before) this.leave(left);
    return joined;
  }

  #allot(lan: HostNetwork, family: 4 | 6, wanted: string | undefined): string | undefined {
    if (wanted === undefined) return lan.freeAddress(family);
    const known = this.#fabric.address(wanted);
    if (known?.family !== family) throw new RangeError(`${wanted} is no IPv${family} address.`);
    if (lan.has(known.text)) throw new RangeError(`${wanted} is taken: choose another address for ${this.name}.`);
    return known.text;
  }

  #first(family: 4 | 6): string {
    for (const { addresses } of this.#interfaces) {
      for (const address of addresses) if (address.includes(':') === (family === 6)) return address;
    }
    throw new RangeError(`Host ${this.name} has no IPv${family} address.`);
  }

  /** For the host's own sockets. @internal */
  sourceFor(destination: string, family: 4 | 6): string | undefined {
    if (this.owns(destination)) return destination;
    let chosen: string | undefined;
    for (const { addresses, lan, link } of this.#interfaces) {
      if (!link.plugged) continue;
      for (const address of addresses) {
        if (address.includes(':') !== (family === 6)) continue;
        chosen ??= address;
        const subnet = family === 6 ? lan.subnets.v6 : lan.subnets.v4;
        // With one interface there is nothing to choose.
        if (this.#interfaces.length > 1 && subnet && inSubnet(destination, subnet)) return address;
      }
    }
    return chosen;
  }

  /** @internal */
  owns(address: string): boolean {
    for (const { addresses } of this.#interfaces) if (addresses.includes(address)) return true;
    return (address.startsWith('127.') || address === '::1') && isLoopback(address);
  }

  /** @internal */
  isBroadcast(address: string): boolean {
    return address === '255.255.255.255' || this.#interfaces.some(({ lan }) => lan.isBroadcast(address));
  }

  /** @internal */
  linkChanged(): void {
    this.#watcher.wake();
  }

  /** @internal */
  send(packet: Packet): void {
    this.firewall.noteSent(packet);
    this.#fabric.emit(packet, this.#forward);
  }

  readonly #forward = (packet: Packet): void => {
    if (this.owns(packet.destination)) {
      this.#fabric.arrive(packet, true, (arrived) => this.#dispatch(arrived));
      return;
    }
    if (this.#asleep) {
      this.#fabric.drop(packet, 'unplugged');
      return;
    }
    const from = this.#interfaces.find(({ addresses }) => addresses.includes(packet.source));
    if (packet.broadcast) {
      // The host hears its own broadcast.
      this.#fabric.arrive(this.#fabric.copy(packet), true, (arrived) => this.#dispatch(arrived));
    }
    if (from) from.link.send(packet);
    else this.#fabric.drop(packet, 'no-route');
  };

  /** @internal */
  receive(packet: Packet, link: SimulatedLink): void {
    const on = this.#interfaces.find((candidate) => candidate.link === link);
    if (this.#asleep) this.#fabric.drop(packet, 'unplugged');
    else if (!on || !(packet.broadcast || on.addresses.includes(packet.destination)))
      this.#fabric.drop(packet, 'no-route');
    else if (!this.firewall.accepts(packet)) this.#fabric.drop(packet, 'firewalled');
    else this.#dispatch(packet);
  }

  #dispatch(packet: Packet): void {
    if (packet.protocol === 'udp') this.#udp.receive(packet);
    else this.#tcp.receive(packet);
  }

  #defaultRoutes(): DefaultRoute[] {
    return ([4, 6] as const).map((family) => this.#defaultRoute({ family })).filter((route) => route !== undefined);
  }

  /** The route to `to`, or to anywhere; gateways of simulated networks have IPv4 addresses only. */
  #defaultRoute({ family = 4, to, from }: DefaultRouteOptions): DefaultRoute | undefined {
    const source = from ?? this.sourceFor(to ?? (family === 4 ? '0.0.0.0' : '::'), family);
    if (source === undefined) return undefined;
    const on = this.#interfaces.find(({ addresses }) => addresses.includes(source));
    if (on === undefined) return { family, interface: 'lo', source, gateway: undefined };
    const { lan, name } = on;
    const subnet = family === 6 ? lan.subnets.v6 : lan.subnets.v4;
    if (to !== undefined && subnet && inSubnet(to, subnet))
      return { family, interface: name, source, gateway: undefined };
    if (!lan.leadsOut) return undefined;
    return { family, interface: name, source, gateway: family === 4 ? lan.gateway?.insideAddress : undefined };
  }

  #list(): InterfaceAddress[] {
    const list: InterfaceAddress[] = [
      { name: 'lo', address: '127.0.0.1', family: 4, prefixLength: 8, internal: true },
      { name: 'lo', address: '::1', family: 6, prefixLength: 128, internal: true },
    ];
    for (const { name, addresses, lan, link } of this.#interfaces) {
      if (!link.plugged) continue;
      for (const address of addresses) {
        const family = address.includes(':') ? 6 : 4;
        const prefixLength =
          (family === 6 ? lan.subnets.v6 : lan.subnets.v4)?.prefixLength ?? (family === 6 ? 128 : 32);
        const broadcast = family === 4 ? lan.broadcastAddress : undefined;
        list.push({ name, address, family, prefixLength, broadcast, internal: false });
      }
    }
    return list;
  }
}
