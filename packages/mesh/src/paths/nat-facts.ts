import type { NatFacts } from '@towpath/stun';

/** How two members behind NATs that filter ports are connected: docs/protocol/connectivity.md, "NAT traversal". */
export type PunchStrategy =
  /** One side opens a port and tells the next one that its NAT will give out. */
  | 'prediction'
  /** One side opens many ports, the other searches for one of them. */
  | 'birthday';

/** What this node does in an attack. */
export interface PunchPlan {
  readonly strategy: PunchStrategy;
  /** `open`: this node's NAT chooses ports, so it opens them. `search`: the peer does. `both`: both predict their ports. */
  readonly role: 'open' | 'search' | 'both';
}

const MAPPINGS: readonly NatFacts['mapping'][] = [
  'unknown',
  'none',
  'endpoint-independent',
  'address-dependent',
  'address-and-port-dependent',
  'endpoint-dependent',
];
const FILTERINGS: readonly NatFacts['filtering'][] = [
  'unknown',
  'endpoint-independent',
  'address-dependent',
  'address-and-port-dependent',
];
const PORTS: readonly NatFacts['ports'][] = ['unknown', 'preserving', 'sequential', 'random'];

export const NAT_FACTS_BYTES = 4;

/** Encodes what is known of a NAT; nothing known is four zero bytes. */
export function encodeNatFacts(facts: NatFacts | undefined): Uint8Array {
  if (facts === undefined) return new Uint8Array(NAT_FACTS_BYTES);
  const { udp, mapping, filtering, ports } = facts;
  return Uint8Array.of(udp ? 2 : 1, MAPPINGS.indexOf(mapping), FILTERINGS.indexOf(filtering), PORTS.indexOf(ports));
}

/** Reads what a peer says of its NAT; undefined when it knows nothing, or says something unknown. */
export function decodeNatFacts(bytes: Uint8Array): NatFacts | undefined {
  const [udp = 0, mappingAt = 0, filteringAt = 0, portsAt = 0] = bytes;
  const [mapping, filtering, ports] = [MAPPINGS[mappingAt], FILTERINGS[filteringAt], PORTS[portsAt]];
  if (udp === 0 || udp > 2 || mapping === undefined || filtering === undefined || ports === undefined) return undefined;
  return { udp: udp === 2, mapping, filtering, ports };
}

/**
 * Decides whether plain checks may not be enough for two NATs, and what this node does then. Both sides come to the same
 * plan, with the roles exchanged.
 * @returns undefined when plain checks are enough, or nothing but a relay helps.
 */
export function planPunch(own: NatFacts | undefined, theirs: NatFacts | undefined): PunchPlan | undefined {
  if (own === undefined || theirs === undefined || !own.udp || !theirs.udp) return undefined;
  const [ownStable, theirsStable] = [isStable(own), isStable(theirs)];
  if (ownStable && theirsStable) return undefined;
  if (!ownStable && !theirsStable) {
    const both = own.ports === 'sequential' && theirs.ports === 'sequential';
    return both ? { strategy: 'prediction', role: 'both' } : undefined;
  }
  const opening = ownStable ? theirs : own;
  const strategy = opening.ports === 'sequential' ? 'prediction' : 'birthday';
  return { strategy, role: ownStable ? 'search' : 'open' };
}

/**
 * The mapping is the same for every remote endpoint, as far as it was measured. Servers with one address cannot show whether
 * it depends on the address, so a NAT that does not keep ports is not taken for stable then.
 */
function isStable({ mapping, ports }: NatFacts): boolean {
  if (mapping === 'unknown') return ports === 'preserving';
  return mapping === 'none' || mapping === 'endpoint-independent';
}
