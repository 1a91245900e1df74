import type { FilteringBehaviour, MappingBehaviour, NatReport, PortAllocation } from './nat-report.ts';

/** How two peers can be connected. */
export type Reachability =
  /** simultaneous open: both send to the other's mapped address and one of the packets passes the filters */
  | 'direct'
  /** simultaneous open to the next ports of a NAT that assigns ports in sequence */
  | 'port-prediction'
  /** probes to random ports until one matches (birthday attack); over a relay until then */
  | 'birthday-attack'
  | 'relay'
  /** not enough is known of one of the networks */
  | 'unknown';

/** What of a network decides how a peer in it can be reached. */
export interface NatFacts {
  readonly udp: boolean;
  readonly mapping: MappingBehaviour;
  readonly filtering: FilteringBehaviour;
  readonly ports: PortAllocation;
}

/** A kind of network that a peer may be in, and how it is reached from here. */
export interface PeerReachability {
  readonly peer: string;
  readonly reachability: Reachability;
}

const cone = (filtering: FilteringBehaviour): NatFacts => ({
  udp: true,
  mapping: 'endpoint-independent',
  filtering,
  ports: 'preserving',
});

const symmetric = (ports: PortAllocation): NatFacts => ({
  udp: true,
  mapping: 'address-and-port-dependent',
  filtering: 'address-and-port-dependent',
  ports,
});

/** The common kinds of network, the easiest to reach first. */
const PEERS: readonly (readonly [string, NatFacts])[] = [
  ['no NAT', { udp: true, mapping: 'none', filtering: 'endpoint-independent', ports: 'preserving' }],
  ['full cone', cone('endpoint-independent')],
  ['address-restricted cone', cone('address-dependent')],
  ['port-restricted cone', cone('address-and-port-dependent')],
  ['symmetric, ports in sequence', symmetric('sequential')],
  ['symmetric, random ports', symmetric('random')],
  ['UDP blocked', { ...symmetric('random'), udp: false }],
];

/** Tells how peers in each kind of network are reached from behind `nat`. */
export function reachabilityByPeer(nat: NatFacts | NatReport): PeerReachability[] {
  return PEERS.map(([peer, facts]) => ({ peer, reachability: reachabilityBetween(nat, facts) }));
}

/**
 * Tells how peers in two networks can be connected. Each side knows the mapped address that a STUN server saw of the
 * other; both send checks there, and answer to the source of every check that they receive.
 */
export function reachabilityBetween(a: NatFacts, b: NatFacts): Reachability {
  if (!a.udp || !b.udp) return 'relay';
  if (a.mapping === 'unknown' || b.mapping === 'unknown') return 'unknown';
  if (isStable(a) && isStable(b)) return 'direct';
  if (isStable(a)) return betweenConeAndSymmetric(a, b);
  if (isStable(b)) return betweenConeAndSymmetric(b, a);
  return betweenSymmetric(a, b);
}

/** The mapping is the same for every remote endpoint. */
function isStable({ mapping }: NatFacts): boolean {
  return mapping === 'none' || mapping === 'endpoint-independent';
}

/** Accepts packets only from the address and port that was sent to; unknown filtering counts as this. */
function filtersPorts({ filtering }: NatFacts): boolean {
  return filtering === 'address-and-port-dependent' || filtering === 'unknown';
}

/** Packets from the symmetric NAT come from a port that the other side has not sent to. */
function betweenConeAndSymmetric(cone: NatFacts, symmetric: NatFacts): Reachability {
  if (!filtersPorts(cone)) return 'direct';
  return symmetric.ports === 'sequential' ? 'port-prediction' : 'birthday-attack';
}

/** Neither mapped address holds for the peer, but an unfiltered NAT accepts packets at it all the same. */
function betweenSymmetric(a: NatFacts, b: NatFacts): Reachability {
  if (filtersPorts(a) && filtersPorts(b)) return 'relay';
  if (filtersPorts(a) || filtersPorts(b)) return 'birthday-attack';
  if (a.filtering === 'endpoint-independent' || b.filtering === 'endpoint-independent') return 'direct';
  return a.ports === 'sequential' || b.ports === 'sequential' ? 'port-prediction' : 'birthday-attack';
}
