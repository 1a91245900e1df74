import type { FilteringBehaviour, MappingBehaviour, NatBehaviour } from './nat-behaviour.ts';

type Facts = Pick<NatBehaviour, 'udp' | 'mapping' | 'filtering' | 'ports' | 'portStep' | 'hairpin'>;

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
  'endpoint-independent': 'The NAT shows the same address and port to everybody.',
  'address-dependent': 'The NAT shows another port to every remote address.',
  'address-and-port-dependent': 'The NAT shows another port to every remote address and port.',
  'endpoint-dependent':
    'The NAT shows another port to every remote; whether their port matters too cannot be told with these servers.',
  unknown: 'How the NAT chooses ports could not be found out with these servers.',
};

const FILTERING: Readonly<Record<FilteringBehaviour, string>> = {
  'endpoint-independent': 'Anybody can send to an open port.',
  'address-dependent': 'Only addresses that you have sent to can send back.',
  'address-and-port-dependent': 'Only the exact address and port that you have sent to can send back.',
  unknown: 'Who can send back could not be measured: the servers cannot answer from a second address.',
};

/** What was found, one sentence each. */
export function findingsOf(facts: Facts): string[] {
  if (!facts.udp) return ['No server answered over UDP: it is blocked, or every server is down.'];
  const findings = [MAPPING[facts.mapping], FILTERING[facts.filtering]];
  if (facts.mapping !== 'none' && facts.ports === 'preserving') findings.push('Ports are kept as they are.');
  if (facts.ports === 'sequential')
    findings.push(`Ports are given out one after the other, ${Math.abs(facts.portStep ?? 1)} apart.`);
  if (facts.mapping !== 'none' && facts.ports === 'random') findings.push('Ports are given out at random.');
  if (facts.hairpin === true) findings.push('Hosts behind this NAT reach each other by their public addresses.');
  if (facts.hairpin === false)
    findings.push('Hosts behind this NAT do not reach each other by their public addresses.');
  return findings;
}

/** What it means for connecting to peers. */
export function meaningOf(facts: Facts): string {
  if (!facts.udp) return 'Connections go over a relay by TCP or TLS.';
  const { mapping, filtering, ports } = facts;
  if (mapping === 'unknown') return 'Direct connections may work; a relay is used when they do not.';
  if (mapping === 'none' && filtering === 'endpoint-independent') return 'Direct connections work with everybody.';
  if (mapping === 'none' || mapping === 'endpoint-independent') {
    return filtering === 'endpoint-independent' || filtering === 'address-dependent'
      ? 'Direct connections work with everybody, also with peers behind symmetric NATs.'
      : 'Direct connections work with most peers; with those behind symmetric NATs a guess at their port is needed, or a relay.';
  }
  if (filtering === 'endpoint-independent') return 'Direct connections work when the peer can tell us its address.';
  return ports === 'sequential'
    ? 'Direct connections work with peers behind cone NATs, because the next port can be predicted; otherwise a relay is used.'
    : 'Direct connections work with peers that are open or behind a full or address-restricted cone; otherwise a relay is used.';
}
