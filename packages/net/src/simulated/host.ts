import { isLoopback } from '../address/ip.ts';
import { inSubnet } from '../address/subnet.ts';
import type { InterfaceAddress, Network } from '../network.ts';
import type { Fabric } from './fabric.ts';
import { type FirewallOptions, HostFirewall } from './host-firewall.ts';
import type { SimulatedLan } from './lan.ts';
import { Link, type LinkOptions, type LinkOwner } from './link.ts';
import type { Packet } from './packet.ts';
import { TcpStack } from './tcp-stack.ts';
import { type HostAddressing, UdpStack } from './udp-stack.ts';

/** One wire of a host and the addresses on it. */
export interface InterfaceOptions {
  /** @default the network's next free address; `false` for none */
  address?: string | false;
  /** @default the next free address where the network has IPv6; `false` for none */
  ipv6?: string | false;
  /** Overrides what links of this network are like by default. */
  link?: LinkOptions;
}

export interface HostOptions extends InterfaceOptions {
  /** For messages and tests. @default host-1, host-2, … */
  name?: string;
  /** @default { policy: 'open' } */
  firewall?: FirewallOptions;
}

/** A network interface of a simulated host. */
export interface SimulatedInterface {
  readonly name: string;
  readonly lan: SimulatedLan;
  readonly link: Link;
  readonly addresses: readonly string[];
}

/** A computer in the simulated internet; programs use its {@link SimulatedHost.network}. */
export class SimulatedHost implements LinkOwner, HostAddressing {
  readonly isHost = true;
  readonly name: string;
  /** What runs on this host sees only this. */
  readonly network: Network;
  readonly firewall: HostFirewall;
  readonly #fabric: Fabric;
  readonly #udp: UdpStack;
  readonly #tcp: TcpStack;
  readonly #interfaces: SimulatedInterface[] = [];
  #interfacesMade = 0;

  constructor(fabric: Fabric, name: string, firewall: FirewallOptions) {
    this.#fabric = fabric;
    this.name = name;
    this.firewall = new HostFirewall(fabric.clock, firewall);
    const udp = new UdpStack(fabric, this);
    const tcp = new TcpStack(fabric, this);
    this.#udp = udp;
    this.#tcp = tcp;
    this.network = {
      bindUdp: (options) => udp.bind(options),
      connectTcp: (to, options) => tcp.connect(to, options),
      listenTcp: (options) => tcp.listen(options),
      interfaces: () => this.#list(),
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
  get link(): Link {
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

  /** Adds an interface in `lan`; the first interface is the preferred one. */
  join(lan: SimulatedLan, options: InterfaceOptions = {}): SimulatedInterface {
    const link = new Link(this.#fabric, lan, this, { ...lan.defaultLink, ...options.link });
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
    return joined;
  }

  /** Takes an interface away; its addresses are free again. */
  leave(left: SimulatedInterface): void {
    const at = this.#interfaces.indexOf(left);
    if (at < 0) return;
    this.#interfaces.splice(at, 1);
    left.link.unplug();
    left.lan.removeHost(left.link);
    for (const address of left.addresses) left.lan.detach(address);
  }

  /** Roams: leaves every network it is in, then joins `lan` (the same one again to get a new address). */
  roam(lan: SimulatedLan, options: InterfaceOptions = {}): SimulatedInterface {
    const before = [...this.#interfaces];
    // Joining first keeps the new address from being the old one.
    const joined = this.join(lan, options);
    for (const left of before) this.leave(left);
    return joined;
  }

  #allot(lan: SimulatedLan, family: 4 | 6, wanted: string | undefined): string | undefined {
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
  send(packet: Packet): void {
    this.firewall.noteSent(packet);
    this.#fabric.emit(packet, this.#forward);
  }

  readonly #forward = (packet: Packet): void => {
    if (this.owns(packet.destination)) {
      this.#fabric.arrive(packet, true, (arrived) => this.#dispatch(arrived));
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
  receive(packet: Packet, link: Link): void {
    const on = this.#interfaces.find((candidate) => candidate.link === link);
    if (!on || !(packet.broadcast || on.addresses.includes(packet.destination))) this.#fabric.drop(packet, 'no-route');
    else if (!this.firewall.accepts(packet)) this.#fabric.drop(packet, 'firewalled');
    else this.#dispatch(packet);
  }

  #dispatch(packet: Packet): void {
    if (packet.protocol === 'udp') this.#udp.receive(packet);
    else this.#tcp.receive(packet);
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
