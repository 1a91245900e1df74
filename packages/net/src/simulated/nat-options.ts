import type { SimulatedLinkOptions } from './simulated-link.ts';
import type { SimulatedPacket } from './packet.ts';

/** Which part of the remote endpoint a NAT's behaviour depends on (RFC 4787 §4.1, §5). */
export type NatDependence = 'endpoint-independent' | 'address-dependent' | 'address-and-port-dependent';

/** Which external port a new mapping gets. */
export type PortAllocation =
  /** the internal port where it is free, else the next free one (with `overloading` a random one, as Linux does) */
  | 'preserving'
  /** one after the other, `portStep` apart */
  | 'sequential'
  | 'random';

/** How a NAT (or, with `translate: false`, a firewall) behaves. */
export interface NatRules {
  /** When a host's socket is given another external port. @default endpoint-independent */
  mapping?: NatDependence;
  /** Who may send to an external port. @default address-and-port-dependent */
  filtering?: NatDependence | undefined;
  /** @default preserving */
  ports?: PortAllocation | undefined;
  /** For `sequential`; may be negative. @default 1 */
  portStep?: number;
  /** External ports that may be given out, both included. @default [1024, 65535] */
  portRange?: readonly [number, number];
  /** Several mappings share one external port when their remotes differ, as Linux's conntrack does. @default false */
  overloading?: boolean;
  /**
   * An unexpected packet from outside takes its (remote, external port) for a while, so that the punch from
   * inside that comes later gets another port: Linux's masquerade without a drop rule. @default false
   */
  claimsUnexpected?: boolean;
  /** A UDP mapping is forgotten when unused for so long. @default 120 s (RFC 4787 REQ-5) */
  mappingLifetimeMs?: number;
  /** The same for TCP. @default 7,440 s (RFC 5382 REQ-5) */
  tcpLifetimeMs?: number;
  /** Whether packets from outside keep a mapping alive too. @default both */
  refresh?: 'outbound' | 'both';
  /**
   * What happens to packets from inside to the NAT's own external address: nothing, or they come back in with the
   * sender's external (RFC 4787 REQ-9) or internal endpoint as source. @default off
   */
  hairpin?: 'off' | 'external-source' | 'internal-source';
  /** `false`: a router with a firewall; hosts inside have public addresses. @default true */
  translate?: boolean;
  /** Who may send to an IPv6 host inside; IPv6 is never translated. @default address-and-port-dependent */
  filtering6?: NatDependence;
  /** UDP does not get out. @default false */
  blocksUdp?: boolean;
  /** Decides which packets from inside may leave, before any translation. @default all */
  allows?: (packet: SimulatedPacket) => boolean;
}

export interface NatOptions extends NatRules {
  /** For messages and tests. @default nat-1, nat-2, … */
  name?: string;
  /** The address in the network outside. @default the next free one */
  externalAddress?: string;
  /** The network inside. @default 192.168.1.0/24, or a public range of its own when it does not translate */
  subnet?: string;
  /** Hosts inside also get IPv6 addresses, from a range of their own or this one. @default false */
  ipv6?: boolean | string;
  /** The link to the network outside. */
  link?: SimulatedLinkOptions;
  /** Links inside. @default { delayMs: 0.25 } */
  lanLink?: SimulatedLinkOptions;
  /** Puts another NAT between this one and the network: CGNAT. */
  carrier?: NatOptions;
}
