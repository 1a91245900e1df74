import type { FilteringBehaviour, MappingBehaviour, NatReport } from './nat-report.ts';

type Facts = Pick<NatReport, 'udp' | 'mapping' | 'filtering' | 'ports' | 'portStep' | 'hairpin'>;

/** Names of the nine kinds, those of RFC 3489 where it has one; rows by mapping, then filtering. */
const NAMES: Readonly<Record<string, Readonly<Record<FilteringBehaviour, string>>>> = {
  'endpoint-independent': {
    'endpoint-independent': 'full cone',
    'address-dependent': 'address-restricted cone',
    'address-and-port-dependent': 'port-restricted cone',
    unknown: 'cone',
  },
  'address-dependent': {
    'endpoint-independent': 'address-symmetric, unfiltered',
    'address-dependent': 'address-symmetric, address-restricted',
    'address-and-port-dependent': 'address-symmetric, port-restricted',
    unknown: 'address-symmetric',
  },
  'address-and-port-dependent': {
    'endpoint-independent': 'symmetric, unfiltered',
    'address-dependent': 'symmetric, address-restricted',
    'address-and-port-dependent': 'symmetric',
    unknown: 'symmetric',
  },
  'endpoint-dependent': {
    'endpoint-independent': 'symmetric, unfiltered',
    'address-dependent': 'symmetric, address-restricted',
    'address-and-port-dependent': 'symmetric',
    unknown: 'symmetric',
  },
  none: {
    'endpoint-independent': 'no NAT',
    'address-dependent': 'no NAT, address-restricting firewall',
    'address-and-port-dependent': 'no NAT, firewall',
    unknown: 'no NAT',
  },
};

/** The usual name of the kind of NAT. */
export function nameOf({ udp, mapping, filtering }: Facts): string {
  if (!udp) return 'UDP blocked';
  return NAMES[mapping]?.[filtering] ?? 'unknown NAT';
}

const MAPPING: Readonly<Record<MappingBehaviour, string>> = {
  none: 'Your address is not translated.',
  'endpoint-independent': 'The NAT uses the same external address and port for all destinations.',
  'address-dependent': 'The NAT uses a different external port for each remote address.',
  'address-and-port-dependent': 'The NAT uses a different external port for each remote address and port.',
  'endpoint-dependent':
    'The NAT uses a different external port for each remote endpoint; these servers cannot show whether the remote port matters.',
  unknown: 'Mapping behaviour could not be measured with these servers.',
};

const FILTERING: Readonly<Record<FilteringBehaviour, string>> = {
  'endpoint-independent': 'Any remote endpoint can send to a mapped port.',
  'address-dependent': 'Only remote addresses that were sent to can send to a mapped port.',
  'address-and-port-dependent': 'Only the exact remote address and port that was sent to can send to a mapped port.',
  unknown: 'Filtering could not be measured: that needs a server that answers from a second address.',
};

/** What was found, one sentence each. */
export function findingsOf(facts: Facts): string[] {
  if (!facts.udp) return ['No server answered over UDP: it is blocked, or every server is down.'];
  const findings = [MAPPING[facts.mapping], FILTERING[facts.filtering]];
  if (facts.mapping !== 'none' && facts.ports === 'preserving')
    findings.push('External ports are equal to internal ports.');
  if (facts.ports === 'sequential')
    findings.push(`External ports are sequential, with a step of ${Math.abs(facts.portStep ?? 1)}.`);
  if (facts.mapping !== 'none' && facts.ports === 'random') findings.push('External ports are random.');
  if (facts.hairpin === true)
    findings.push('Hosts behind this NAT reach each other by external addresses (hairpinning).');
  if (facts.hairpin === false)
    findings.push('Hosts behind this NAT do not reach each other by external addresses (no hairpinning).');
  return findings;
}

/** What it means for connecting to peers. */
export function meaningOf(facts: Facts): string {
  if (!facts.udp) return 'All connections use a relay over TCP or TLS.';
  const { mapping, filtering, ports } = facts;
  if (mapping === 'unknown') return 'Direct connections may work; otherwise a relay is used.';
  if (mapping === 'none' && filtering === 'endpoint-independent') return 'Direct connections work with all peers.';
  if (mapping === 'none' || mapping === 'endpoint-independent') {
    return filtering === 'endpoint-independent' || filtering === 'address-dependent'
      ? 'Direct connections work with all peers, including those behind symmetric NATs.'
      : 'Direct connections work with most peers; peers behind symmetric NATs need port prediction or a relay.';
  }
  if (filtering === 'endpoint-independent')
    return 'Direct connections work when the peer has a fixed external address.';
  return ports === 'sequential'
    ? 'Direct connections work with peers behind cone NATs, using port prediction; otherwise a relay is used.'
    : 'Direct connections work with peers without NAT or behind a full or address-restricted cone; otherwise a relay is used.';
}
