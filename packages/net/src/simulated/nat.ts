import type { Fabric } from './fabric.ts';
import type { Gateway, HostNetwork, HostOptions, SimulatedHost } from './host.ts';
import { SimulatedLink, type LinkOwner } from './simulated-link.ts';
import type { NatDependence, NatOptions } from './nat-options.ts';
import { NatTable } from './nat-table.ts';
import type { Packet } from './packet.ts';

/** A network on one side of a NAT. */
export interface NatNetwork extends HostNetwork {
  gateway: Gateway | undefined;
  /** Plugs a new host in. */
  host(options?: HostOptions): SimulatedHost;
  /** Puts a NAT with a LAN of its own into this network. */
  nat(options?: NatOptions): SimulatedNat;
  /** A packet from one of the links, or (without one) from the gateway. */
  route(packet: Packet, from?: SimulatedLink): void;
}

/** Flow state of a firewall: like a NAT that keeps addresses, one table per host address inside. */
const FIREWALL = { mapping: 'endpoint-independent', ports: 'preserving', portRange: [1, 65_535] } as const;

/**
 * A NAT with the LAN behind it, or (`translate: false`) a firewall with a public network behind it.
 * IPv6 is routed and filtered, never translated.
 */
export class SimulatedNat implements LinkOwner, Gateway {
  readonly isHost = false;
  readonly name: string;
  /** The network inside. */
  readonly lan: NatNetwork;
  /** The link to the network outside: change its conditions, unplug it. */
  readonly link: SimulatedLink;
  readonly insideAddress: string | undefined;
  readonly #fabric: Fabric;
  readonly #outside: NatNetwork;
  readonly #options: NatOptions;
  readonly #table: NatTable;
  /** Flows of the routed addresses inside. */
  readonly #flows = new Map<string, NatTable>();
  #external: string | undefined;
  #gatewayHost: SimulatedHost | undefined;

  constructor(fabric: Fabric, name: string, outside: NatNetwork, inside: NatNetwork, options: NatOptions) {
    this.#fabric = fabric;
    this.name = name;
    this.#outside = outside;
    this.#options = options;
    this.lan = inside;
    this.insideAddress = inside.freeAddress(4);
    this.#table = new NatTable(fabric.clock, fabric.random, options);
    this.link = new SimulatedLink(fabric, outside, this, { ...outside.defaultLink, ...options.link });
    if (options.translate ?? true) this.changeExternalAddress(options.externalAddress);
    inside.gateway = this;
  }

  /** The address that the network outside sees. @throws on a box that does not translate */
  get externalAddress(): string {
    if (this.#external === undefined)
      throw new RangeError(`${this.name} does not translate: it has no external address.`);
    return this.#external;
  }

  /** How many mappings are alive. */
  get mappings(): number {
    return this.#table.size;
  }

  /** Plugs a host into the LAN inside. */
  host(options: HostOptions = {}): SimulatedHost {
    return this.lan.host(options);
  }

  /** Puts another NAT behind this one. */
  nat(options: NatOptions = {}): SimulatedNat {
    return this.lan.nat(options);
  }

  /** The box itself as seen from inside, for programs that run on it (PCP, NAT-PMP, UPnP responders). */
  get gateway(): SimulatedHost {
    this.#gatewayHost ??= this.lan.host({ name: `${this.name}-gateway`, address: this.insideAddress ?? false });
    return this.#gatewayHost;
  }

  /** Gets a new address outside (the next free one unless given); all mappings are lost. */
  changeExternalAddress(address: string | undefined = this.#outside.freeAddress(4)): void {
    const known = address === undefined ? undefined : this.#fabric.address(address);
    if (known?.family !== 4) throw new RangeError(`${this.name} needs a free IPv4 address outside.`);
    if (this.#outside.has(known.text)) throw new RangeError(`${known.text} is taken: choose another for ${this.name}.`);
    if (this.#external !== undefined) this.#outside.detach(this.#external);
    this.#external = known.text;
    this.#outside.attach(known.text, this.link);
    this.flush();
  }

  /** Removes all mappings and flows, as a restarted router does; the same ports may be used again. */
  flush(): void {
    this.#table.flush(false);
    this.#flows.clear();
  }

  /** Removes all mappings, and gives every flow another external port from now on. */
  rebind(): void {
    this.#table.flush(true);
  }

  /**
   * Creates a fixed mapping, as PCP, NAT-PMP and UPnP do: all senders are accepted.
   * @returns a function that removes it; `undefined` when the external port is taken
   */
  forward(
    protocol: 'udp' | 'tcp',
    internal: { address: string; port: number },
    externalPort: number = internal.port,
  ): (() => void) | undefined {
    return this.#table.fix(protocol, internal, externalPort);
  }

  /** @internal */
  publish(address: string, reachable: boolean): void {
    if (this.#translates(address)) return;
    this.#flows.delete(address);
    if (reachable) this.#outside.attach(address, this.link);
    else this.#outside.detach(address);
  }

  /** From inside. @internal */
  readonly leave = (packet: Packet): void => {
    const { blocksUdp, allows } = this.#options;
    if ((blocksUdp && packet.protocol === 'udp') || allows?.(packet) === false) {
      this.#fabric.drop(packet, 'blocked');
      return;
    }
    const internal = { address: packet.source, port: packet.sourcePort };
    const remote = { address: packet.destination, port: packet.destinationPort };
    if (!this.#translates(packet.source)) {
      this.#flow(packet.source).outbound(packet.protocol, internal, remote);
      this.link.send(packet);
      return;
    }
    const hairpin = packet.destination === this.#external;
    if (hairpin && (this.#options.hairpin ?? 'off') === 'off') {
      this.#fabric.drop(packet, 'no-hairpin');
      return;
    }
    const port = this.#table.outbound(packet.protocol, internal, remote);
    if (port === undefined || this.#external === undefined) {
      this.#fabric.drop(packet, 'no-port-left');
      return;
    }
    packet.source = this.#external;
    packet.sourcePort = port;
    if (!hairpin) this.link.send(packet);
    else if (this.#translateInbound(packet)) {
      if (this.#options.hairpin === 'internal-source') {
        packet.source = internal.address;
        packet.sourcePort = internal.port;
      }
      this.lan.route(packet);
    }
  };

  /** From outside. @internal */
  receive(packet: Packet): void {
    if (this.#options.blocksUdp && packet.protocol === 'udp') this.#fabric.drop(packet, 'blocked');
    else if (packet.destination === this.#external) {
      if (this.#translateInbound(packet)) this.lan.route(packet);
    } else if (this.#admits(packet)) this.lan.route(packet);
    else this.#fabric.drop(packet, 'firewalled');
  }

  #translateInbound(packet: Packet): boolean {
    const remote = { address: packet.source, port: packet.sourcePort };
    const internal = this.#table.inbound(packet.protocol, packet.destinationPort, remote);
    if (typeof internal === 'string') {
      this.#fabric.drop(packet, internal);
      return false;
    }
    packet.destination = internal.address;
    packet.destinationPort = internal.port;
    return true;
  }

  #admits(packet: Packet): boolean {
    if (this.#routedFiltering(packet.destination) === 'endpoint-independent') return true;
    const remote = { address: packet.source, port: packet.sourcePort };
    const found = this.#flow(packet.destination).inbound(packet.protocol, packet.destinationPort, remote);
    return typeof found !== 'string';
  }

  #flow(address: string): NatTable {
    let flow = this.#flows.get(address);
    if (!flow) {
      const filtering = this.#routedFiltering(address);
      flow = new NatTable(this.#fabric.clock, this.#fabric.random, { ...this.#options, ...FIREWALL, filtering });
      this.#flows.set(address, flow);
    }
    return flow;
  }

  #routedFiltering(address: string): NatDependence | undefined {
    return address.includes(':') ? this.#options.filtering6 : this.#options.filtering;
  }

  #translates(address: string): boolean {
    return !address.includes(':') && (this.#options.translate ?? true);
  }
}
