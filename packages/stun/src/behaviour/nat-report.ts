import type { DefaultRoute, Endpoint } from '@towpath/net';

/** Which part of the remote endpoint a NAT's behaviour depends on (RFC 4787 §4.1, §5). */
export type Dependence = 'endpoint-independent' | 'address-dependent' | 'address-and-port-dependent';

/** How the local address is translated. */
export type MappingBehaviour =
  | Dependence
  /** not at all */
  | 'none'
  /** depends on the remote endpoint; these servers cannot show whether on its address only or also its port */
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

/** The external address that one server saw. */
export interface Observation {
  readonly destination: Endpoint;
  readonly mapped: Endpoint;
}

/** Result of one server. */
export interface ServerReport {
  readonly server: Endpoint;
  readonly mapped: Endpoint | undefined;
  readonly rttMs: number | undefined;
  /** It can answer from another address (RFC 5780), which filtering tests need. */
  readonly canChange: boolean;
  /** Why there is no answer. */
  readonly error: string | undefined;
}

/** NAT behaviour of this network for UDP. */
export interface NatReport {
  /** False when no server answered: UDP is blocked, or every server is down. */
  readonly udp: boolean;
  readonly local: Endpoint;
  /** The route to the servers that were compared; `undefined` where the system names none. */
  readonly route: DefaultRoute | undefined;
  /** The external address. */
  readonly mapped: Endpoint | undefined;
  readonly mapping: MappingBehaviour;
  readonly filtering: FilteringBehaviour;
  readonly ports: PortAllocation;
  /** Distance between consecutive external ports, when they are sequential. */
  readonly portStep: number | undefined;
  /** Hairpinning (RFC 4787 §6); undefined when not measured. */
  readonly hairpin: boolean | undefined;
  /** Its usual name: `port-restricted cone`. */
  readonly name: string;
  /** The findings, one sentence each. */
  readonly findings: readonly string[];
  /** What they mean for direct connections. */
  readonly meaning: string;
  readonly servers: readonly ServerReport[];
  readonly elapsedMs: number;
}

/**
 * Determines the mapping behaviour from the external addresses that several destinations saw (RFC 5780 §4.3).
 * Destinations with the same address but different ports distinguish address dependence from port dependence.
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

/** Results of requests for answers from other addresses. */
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

/** An internal port and its external port, in the order of sending. */
export interface PortSample {
  readonly internal: number;
  readonly external: number;
}

/** Larger steps count as random. */
const MAX_STEP = 32;

/**
 * Determines how external ports are chosen. `sockets` are several new sockets towards one destination; `destinations`
 * is one socket towards several, which is used when the mapping depends on the destination.
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
