import type { Endpoint } from '@towpath/net';

/** What of the remote endpoint a NAT's decision depends on (RFC 4787 §4.1, §5). */
export type Dependence = 'endpoint-independent' | 'address-dependent' | 'address-and-port-dependent';

/** How our own address is translated. */
export type MappingBehaviour =
  | Dependence
  /** not at all */
  | 'none'
  /** depends on the remote; on its address alone or its port too could not be told with these servers */
  | 'endpoint-dependent'
  | 'unknown';

export type FilteringBehaviour = Dependence | 'unknown';

/** How external ports are chosen. */
export type PortAllocation =
  /** the same as the internal port */
  | 'preserving'
  /** one after the other, `portStep` apart */
  | 'sequential'
  | 'random'
  | 'unknown';

/** Where one server saw us. */
export interface Observation {
  readonly destination: Endpoint;
  readonly mapped: Endpoint;
}

/** What one of the given servers did. */
export interface ServerReport {
  readonly server: Endpoint;
  readonly mapped: Endpoint | undefined;
  readonly rttMs: number | undefined;
  /** It can answer from another address, so that filtering can be measured with it. */
  readonly canChange: boolean;
  /** Why there is no answer. */
  readonly error: string | undefined;
}

/** How the network between us and the Internet treats UDP. */
export interface NatBehaviour {
  /** False when no server answered: UDP is blocked, or every server is down. */
  readonly udp: boolean;
  readonly local: Endpoint;
  /** Our address as the servers see it. */
  readonly mapped: Endpoint | undefined;
  readonly mapping: MappingBehaviour;
  readonly filtering: FilteringBehaviour;
  readonly ports: PortAllocation;
  /** Distance between consecutive external ports, when they are sequential. */
  readonly portStep: number | undefined;
  /** Two hosts behind the NAT reach each other by their external addresses; undefined when not measured. */
  readonly hairpin: boolean | undefined;
  /** Its usual name: `port-restricted cone`. */
  readonly name: string;
  /** The findings in words, one sentence each. */
  readonly findings: readonly string[];
  /** What they mean for direct connections. */
  readonly meaning: string;
  readonly servers: readonly ServerReport[];
  readonly elapsedMs: number;
}

/**
 * Tells the mapping behaviour from where several destinations saw one socket (RFC 5780 §4.3). Destinations
 * with the same address but different ports are what tells address from port dependence.
 */
export function classifyMapping(observations: readonly Observation[]): MappingBehaviour {
  let differsByAddress = false;
  let sameAcrossPorts = false;
  let addresses = false;
  for (const [index, a] of observations.entries()) {
    for (const b of observations.slice(index + 1)) {
      const sameMapping = a.mapped.port === b.mapped.port && a.mapped.address === b.mapped.address;
      if (a.destination.address !== b.destination.address) {
        addresses = true;
        if (!sameMapping) differsByAddress = true;
      } else if (a.destination.port !== b.destination.port) {
        if (!sameMapping) return 'address-and-port-dependent';
        sameAcrossPorts = true;
      }
    }
  }
  if (differsByAddress) return sameAcrossPorts ? 'address-dependent' : 'endpoint-dependent';
  return addresses ? 'endpoint-independent' : 'unknown';
}

/** What came of asking a server to answer from elsewhere. */
export interface FilteringProbes {
  /** The server can change address and port, and did not refuse to. */
  readonly canChange: boolean;
  /** An answer came from another address and port. */
  readonly otherAddress: boolean;
  /** An answer came from the same address and another port. */
  readonly otherPort: boolean;
}

/** RFC 5780 §4.4. */
export function classifyFiltering({ canChange, otherAddress, otherPort }: FilteringProbes): FilteringBehaviour {
  if (otherAddress) return 'endpoint-independent';
  if (!canChange) return 'unknown';
  return otherPort ? 'address-dependent' : 'address-and-port-dependent';
}

/** An internal port and the external port that it was given, in the order of sending. */
export interface PortSample {
  readonly internal: number;
  readonly external: number;
}

/** Steps larger than this are chance, not counting. */
const MAX_STEP = 32;

/**
 * Tells how external ports are chosen. `sockets` are several fresh sockets towards one destination;
 * `destinations` one socket towards several, which counts when the mapping depends on the destination.
 */
export function classifyPorts(
  sockets: readonly PortSample[],
  destinations: readonly PortSample[],
): { ports: PortAllocation; portStep: number | undefined } {
  const unknown = { ports: 'unknown', portStep: undefined } as const;
  const changing = new Set(destinations.map(({ external }) => external)).size > 1;
  if (sockets.length > 1 && !changing && sockets.every(({ internal, external }) => internal === external)) {
    return { ports: 'preserving', portStep: undefined };
  }
  // Destinations that share a mapping count once: only new mappings take new ports.
  const distinct = destinations.filter(({ external }, at) => external !== destinations[at - 1]?.external);
  const samples = distinct.length > 2 ? distinct : sockets;
  if (samples.length < 3) return unknown;
  const steps = samples.slice(1).map(({ external }, at) => external - samples[at]!.external);
  const [first = 0] = steps;
  if (first !== 0 && Math.abs(first) <= MAX_STEP && steps.every((step) => step === first)) {
    return { ports: 'sequential', portStep: first };
  }
  return { ports: 'random', portStep: undefined };
}
