import type { FilteringBehaviour, MappingBehaviour, NatBehaviour, PortAllocation } from '@towpath/stun';

/** How two peers get together. */
export type Way =
  /** both send to the other's address at once, and one of the packets gets in */
  | 'direct'
  /** directly, when the next port of a NAT that counts is foretold */
  | 'predicted'
  /** directly now and then, when one of many ports happens to be the right one; by relay until then */
  | 'guessed'
  | 'relay'
  /** not enough is known of this network */
  | 'unknown';

/** What of a network decides how it gets together with another. */
export interface NatFacts {
  readonly udp: boolean;
  readonly mapping: MappingBehaviour;
  readonly filtering: FilteringBehaviour;
  readonly ports: PortAllocation;
}

/** A kind of network that the peer may be in, and how it is reached from here. */
export interface Prospect {
  readonly peer: string;
  readonly way: Way;
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

/** The kinds that a person meets, the easiest first. */
const PEERS: readonly (readonly [string, NatFacts])[] = [
  ['no NAT', { udp: true, mapping: 'none', filtering: 'endpoint-independent', ports: 'preserving' }],
  ['full cone', cone('endpoint-independent')],
  ['address-restricted cone', cone('address-dependent')],
  ['port-restricted cone', cone('address-and-port-dependent')],
  ['symmetric, ports in sequence', symmetric('sequential')],
  ['symmetric, random ports', symmetric('random')],
  ['UDP blocked', { ...symmetric('random'), udp: false }],
];

/** How peers in each kind of network are reached from behind `nat`. */
export function prospectsOf(nat: NatFacts | NatBehaviour): Prospect[] {
  return PEERS.map(([peer, facts]) => ({ peer, way: wayBetween(nat, facts) }));
}

/**
 * How two networks get together. Each side knows the address at which a STUN server saw the other; both
 * send there, and answer to wherever a packet came from.
 */
export function wayBetween(a: NatFacts, b: NatFacts): Way {
  if (!a.udp || !b.udp) return 'relay';
  if (a.mapping === 'unknown' || b.mapping === 'unknown') return 'unknown';
  if (isStable(a) && isStable(b)) return 'direct';
  if (isStable(a)) return stableWithMoving(a, b);
  if (isStable(b)) return stableWithMoving(b, a);
  return bothMoving(a, b);
}

/** Everybody sees it at the same port. */
function isStable({ mapping }: NatFacts): boolean {
  return mapping === 'none' || mapping === 'endpoint-independent';
}

/** Lets in only the exact port that was sent to; when that is not known, it is taken for so. */
function isStrict({ filtering }: NatFacts): boolean {
  return filtering === 'address-and-port-dependent' || filtering === 'unknown';
}

/** Packets of the moving side come from a port that the stable side does not know. */
function stableWithMoving(stable: NatFacts, moving: NatFacts): Way {
  if (!isStrict(stable)) return 'direct';
  return moving.ports === 'sequential' ? 'predicted' : 'guessed';
}

/** Neither side is where a STUN server saw it, but one that lets everybody in can be written to there. */
function bothMoving(a: NatFacts, b: NatFacts): Way {
  if (isStrict(a) && isStrict(b)) return 'relay';
  if (isStrict(a) || isStrict(b)) return 'guessed';
  if (a.filtering === 'endpoint-independent' || b.filtering === 'endpoint-independent') return 'direct';
  return a.ports === 'sequential' || b.ports === 'sequential' ? 'predicted' : 'guessed';
}
