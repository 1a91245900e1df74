import type { Clock, Random } from '@towpath/core';
import { parseSubnet, type Subnet } from '../address/subnet.ts';
import { Fabric, type PacketEvent, type PacketHook } from './fabric.ts';
import { type HostOptions, SimulatedHost } from './host.ts';
import { SimulatedLan } from './lan.ts';
import type { SimulatedLinkOptions } from './simulated-link.ts';
import { SimulatedNat } from './nat.ts';
import type { SimulatedNames } from './names.ts';
import type { NatOptions } from './nat-options.ts';
import type { PacketCounters } from './packet.ts';

export interface SimulatedInternetComponents {
  /** A `VirtualClock` in tests; every packet waits on it. */
  clock: Clock;
  /** A `SeededRandom` in tests: the same seed gives the same packets. */
  random: Random;
}

export interface SimulatedInternetOptions {
  /** What links to the open internet are like. @default { delayMs: 10 } each way */
  link?: SimulatedLinkOptions;
  /** Public hosts get IPv6 addresses too. @default false */
  ipv6?: boolean;
  /**
   * UDP sockets that are not connected hear of closed ports and missing routes too (`onError`). Off by default, because
   * those of real systems do not. @default false
   */
  icmpErrors?: boolean;
}

export interface LanOptions {
  /** @default 192.168.1.0/24 */
  subnet?: string;
  ipv6?: string;
  /** What links in it are like. @default { delayMs: 0.25 } each way */
  link?: SimulatedLinkOptions;
}

const INTERNET_LINK: SimulatedLinkOptions = { delayMs: 10 };
const LAN_LINK: SimulatedLinkOptions = { delayMs: 0.25 };
const LAN_SUBNET = '192.168.1.0/24';

/** Ranges that addresses are given from: global by kind, so that they pass for public ones. */
const PUBLIC_SUBNET_4: Subnet = { address: '11.0.0.0', prefixLength: 9 };
const PUBLIC_SUBNET_6: Subnet = { address: '2600:db8::', prefixLength: 64 };

/**
 * A simulated internet: hosts, LANs, NATs and firewalls on one clock. Every host has a `network` that
 * programs use like the real one; the same seed gives the same packets.
 *
 * @example
 * const clock = new VirtualClock();
 * const internet = new SimulatedInternet({ clock, random: new SeededRandom(1) });
 * const home = internet.nat(natKinds.portRestricted);
 * const laptop = home.host({ name: 'laptop' });
 * const server = internet.host({ address: '192.0.2.1' });
 * await server.network.bindUdp({ port: 3478, onMessage: (data, from) => console.log(from) });
 * const socket = await laptop.network.bindUdp({ onMessage: () => {} });
 * socket.send(new Uint8Array(1), { address: '192.0.2.1', port: 3478 });
 * await clock.advance(100); // the server sees the home's external address
 */
export class SimulatedInternet {
  readonly #fabric: Fabric;
  readonly #public: SimulatedLan;
  #hosts = 0;
  #nats = 0;
  #routedNetworks = 0;

  constructor({ clock, random }: SimulatedInternetComponents, options: SimulatedInternetOptions = {}) {
    this.#fabric = new Fabric(clock, random, options.icmpErrors ?? false);
    const subnets = { v4: PUBLIC_SUBNET_4, v6: options.ipv6 ? PUBLIC_SUBNET_6 : undefined };
    this.#public = this.#network(subnets, options.link ?? INTERNET_LINK, false);
  }

  /** The open internet as a network, for hosts that roam to it. */
  get network(): SimulatedLan {
    return this.#public;
  }

  /** The names that hosts look up, and how their name servers behave. */
  get names(): SimulatedNames {
    return this.#fabric.names;
  }

  /** A host with a public address. */
  host(options: HostOptions = {}): SimulatedHost {
    return this.#public.host(options);
  }

  /** A NAT (or firewall) with a LAN behind it; see `natKinds` for those that people name. */
  nat(options: NatOptions = {}): SimulatedNat {
    return this.#public.nat(options);
  }

  /** A LAN that is connected to nothing else, such as a camera's hotspot. */
  lan(options: LanOptions = {}): SimulatedLan {
    const subnets = { v4: subnet(options.subnet ?? LAN_SUBNET), v6: options.ipv6 ? subnet(options.ipv6) : undefined };
    return this.#network(subnets, options.link ?? LAN_LINK, true);
  }

  /** Counters of all packets; a snapshot. `sent + copies = delivered + dropped + inFlight`. */
  get counters(): PacketCounters & { inFlight: number } {
    const { sent, copies, delivered, dropped } = this.#fabric.counters;
    let inFlight = sent + copies - delivered;
    for (const count of Object.values(dropped)) inFlight -= count;
    return { sent, copies, delivered, dropped: { ...dropped }, inFlight };
  }

  /** UDP sockets, TCP listeners and TCP connections that are open on all hosts; 0 when nothing leaks. */
  get openSockets(): number {
    return this.#fabric.openSockets;
  }

  /** Adds a hook that sees every packet that a host sends, after the hooks that are there already. @returns removes it */
  intercept(hook: PacketHook): () => void {
    this.#fabric.hooks.add(hook);
    return () => {
      this.#fabric.hooks.delete(hook);
    };
  }

  /** Reports everything that happens to packets, for traces and captures. @returns stops it */
  observe(observer: (event: PacketEvent) => void): () => void {
    this.#fabric.observers.add(observer);
    return () => {
      this.#fabric.observers.delete(observer);
    };
  }

  #network(subnets: SimulatedLan['subnets'], link: SimulatedLinkOptions, broadcasts: boolean): SimulatedLan {
    const builder = {
      host: (lan: SimulatedLan, options: HostOptions) => this.#makeHost(lan, options),
      nat: (lan: SimulatedLan, options: NatOptions) => this.#makeNat(lan, options),
    };
    return new SimulatedLan(this.#fabric, builder, subnets, link, broadcasts);
  }

  #makeHost(lan: SimulatedLan, options: HostOptions): SimulatedHost {
    const name = options.name ?? `host-${++this.#hosts}`;
    const host = new SimulatedHost(this.#fabric, name, options.firewall ?? { policy: 'open' });
    host.join(lan, options);
    return host;
  }

  #makeNat(outside: SimulatedLan, { carrier, ...options }: NatOptions): SimulatedNat {
    if (carrier) return this.#makeNat(outside, carrier).nat(options);
    const routed = this.#routedNetworks++;
    const translates = options.translate ?? true;
    // Networks that are not translated are parts of the internet: each gets a range of its own.
    const ownRange = translates ? LAN_SUBNET : `11.${128 + (routed >> 8)}.${routed & 0xff}.0/24`;
    const ipv6 = options.ipv6 === true ? `2600:db8:${(routed + 1).toString(16)}::/64` : options.ipv6;
    const subnets = { v4: subnet(options.subnet ?? ownRange), v6: ipv6 ? subnet(ipv6) : undefined };
    const inside = this.#network(subnets, options.lanLink ?? LAN_LINK, true);
    return new SimulatedNat(this.#fabric, options.name ?? `nat-${++this.#nats}`, outside, inside, options);
  }
}

function subnet(text: string): Subnet {
  const parsed = parseSubnet(text);
  if (!parsed) throw new RangeError(`${text} is no network prefix such as 192.168.1.0/24.`);
  return parsed;
}
