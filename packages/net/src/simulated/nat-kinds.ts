import type { NatDependence, NatOptions } from './nat-options.ts';

/** A carrier's NAT as mobile networks run it, over the shared range of RFC 6598. */
const CARRIER: NatOptions = {
  mapping: 'endpoint-independent',
  filtering: 'address-and-port-dependent',
  ports: 'random',
  subnet: '100.64.0.0/10',
};

export type NatKind =
  | 'open'
  | 'firewall'
  | 'fullCone'
  | 'restrictedCone'
  | 'portRestricted'
  | 'portRestrictedRandom'
  | 'symmetricSequential'
  | 'symmetricRandom'
  | 'addressDependent'
  | 'linuxMasquerade'
  | 'udpBlocked'
  | 'cgnat'
  | 'cgnatSymmetric';

/**
 * The kinds of NAT that people name, for `internet.nat(natKinds.symmetricRandom)`; spread one to change a detail:
 * `internet.nat({ ...natKinds.fullCone, hairpin: 'external-source' })`.
 */
export const natKinds: Readonly<Record<NatKind, NatOptions>> = {
  /** No NAT, no firewall: a router; hosts inside have public addresses. */
  open: { translate: false, filtering: 'endpoint-independent', filtering6: 'endpoint-independent' },
  /** Public addresses behind a stateful firewall. */
  firewall: { translate: false, filtering: 'address-and-port-dependent' },
  fullCone: { mapping: 'endpoint-independent', filtering: 'endpoint-independent' },
  restrictedCone: { mapping: 'endpoint-independent', filtering: 'address-dependent' },
  portRestricted: { mapping: 'endpoint-independent', filtering: 'address-and-port-dependent' },
  /** Endpoint-independent, but external ports are random. */
  portRestrictedRandom: {
    mapping: 'endpoint-independent',
    filtering: 'address-and-port-dependent',
    ports: 'random',
  },
  /** A new port per destination, the next one: port prediction gets through. */
  symmetricSequential: {
    mapping: 'address-and-port-dependent',
    filtering: 'address-and-port-dependent',
    ports: 'sequential',
  },
  /** A new random port per destination: only many ports at once, or a relay, get through. */
  symmetricRandom: {
    mapping: 'address-and-port-dependent',
    filtering: 'address-and-port-dependent',
    ports: 'random',
  },
  /** A new port per destination address, the same for all its ports. */
  addressDependent: { mapping: 'address-dependent', filtering: 'address-and-port-dependent', ports: 'random' },
  /** Linux's masquerade with no drop rule: looks port-restricted, but early packets spoil the punch. */
  linuxMasquerade: {
    mapping: 'address-and-port-dependent',
    filtering: 'address-and-port-dependent',
    ports: 'preserving',
    overloading: true,
    claimsUnexpected: true,
    hairpin: 'off',
  },
  /** Only TCP gets out. */
  udpBlocked: { mapping: 'endpoint-independent', filtering: 'address-and-port-dependent', blocksUdp: true },
  /** A home router behind a carrier's NAT. */
  cgnat: { mapping: 'endpoint-independent', filtering: 'address-and-port-dependent', carrier: CARRIER },
  /** A home router behind a carrier's symmetric NAT. */
  cgnatSymmetric: {
    mapping: 'endpoint-independent',
    filtering: 'address-and-port-dependent',
    carrier: { ...CARRIER, mapping: 'address-and-port-dependent' },
  },
};

const DEPENDENCES: readonly NatDependence[] = [
  'endpoint-independent',
  'address-dependent',
  'address-and-port-dependent',
];

/** Usual names, rows by mapping, then filtering. */
const NAMES = [
  'full cone',
  'address-restricted cone',
  'port-restricted cone',
  'address-symmetric, unfiltered',
  'address-symmetric, address-restricted',
  'address-symmetric, port-restricted',
  'symmetric, unfiltered',
  'symmetric, address-restricted',
  'symmetric',
];

/** Every mapping with every filtering (RFC 4787 §4.1, §5), with its usual name. */
export const nineNats: readonly { mapping: NatDependence; filtering: NatDependence; name: string }[] =
  DEPENDENCES.flatMap((mapping, row) =>
    DEPENDENCES.map((filtering, column) => ({ mapping, filtering, name: NAMES[3 * row + column] ?? '' })),
  );
