import { type PartyId, sha256, VIRTUAL_NETWORK } from '@towpath/membership';
import { addressToBytes, bytesToAddress, inSubnet, type Subnet, parseSubnet } from '@towpath/net';
import { MeshError } from '../mesh-error.ts';

/** The party's log assigns addresses of {@link VIRTUAL_NETWORK}; a party may use another network of the same size. */
const PREFIX_LENGTH = 16;
/** Where {@link suggestNetwork} looks: networks that are rarely used, the default first. */
const CANDIDATE_NETWORKS: readonly string[] = [
  VIRTUAL_NETWORK,
  ...Array.from({ length: 60 }, (_, at) => `10.${67 + at}.0.0/16`),
  ...Array.from({ length: 15 }, (_, at) => `172.${17 + at}.0.0/16`),
];

/**
 * Reads a party's network setting. @returns undefined unless it is an IPv4 network of 16 bits in a private range.
 */
export function parseVirtualNetwork(text: string): Subnet | undefined {
  const subnet = parseSubnet(text);
  if (subnet?.prefixLength !== PREFIX_LENGTH) return undefined;
  const [a = 0, b = 0] = addressToBytes(subnet.address) ?? [];
  const isPrivate =
    a === 10 || (a === 172 && b >= 16 && b < 32) || (a === 192 && b === 168) || (a === 100 && b >= 64 && b < 128);
  return isPrivate ? subnet : undefined;
}

/**
 * Returns a member's address in the party's network: the host part is the one that the log assigns, so that two
 * addresses differ exactly when those of the log differ.
 * @param address of the log, in 10.66.0.0/16.
 */
export function addressIn(network: Subnet, address: string): string {
  const host = addressToBytes(address);
  const prefix = addressToBytes(network.address);
  if (host?.length !== 4 || prefix?.length !== 4) throw new RangeError('Virtual addresses are IPv4 addresses.');
  return bytesToAddress(Uint8Array.of(prefix[0]!, prefix[1]!, host[2]!, host[3]!))!;
}

/** A network that the machine uses already, and on which interface. */
export interface UsedNetwork {
  readonly subnet: Subnet;
  readonly interfaceName: string;
}

/** True when the two have an address in common. */
export function overlaps(a: Subnet, b: Subnet): boolean {
  return a.prefixLength <= b.prefixLength ? inSubnet(b.address, a) : inSubnet(a.address, b);
}

/** The used networks that overlap `network`, without default routes and those of `ownInterface`. */
export function conflictsWith(network: Subnet, used: readonly UsedNetwork[], ownInterface: string): UsedNetwork[] {
  return used.filter(
    ({ subnet, interfaceName }) =>
      interfaceName !== ownInterface && subnet.prefixLength >= MIN_SPECIFIC_BITS && overlaps(network, subnet),
  );
}

/** Shorter prefixes (default routes, and the halves that VPNs use instead of one) lose against ours. */
const MIN_SPECIFIC_BITS = 8;

/** The first network that a new party can use on this machine; undefined when all candidates are in use. */
export function suggestNetwork(used: readonly UsedNetwork[]): string | undefined {
  return CANDIDATE_NETWORKS.find((text) => conflictsWith(parseSubnet(text)!, used, '').length === 0);
}

/**
 * The network in which this machine sees a party whose own network it uses for something else. It follows from the party's id, so
 * that it stays the same; the next candidate is taken when that one is in use as well.
 * @param avoid networks of this machine's other parties.
 * @returns undefined when all candidates are in use.
 */
export function substituteNetwork(
  party: PartyId,
  avoid: readonly Subnet[],
  used: readonly UsedNetwork[] = [],
  ownInterface = '',
): string | undefined {
  const candidates = CANDIDATE_NETWORKS.filter((text) => text !== VIRTUAL_NETWORK);
  const [high = 0, low = 0] = sha256(DOMAIN, new TextEncoder().encode(party));
  const first = (high * 256 + low) % candidates.length;
  return [...candidates.slice(first), ...candidates.slice(0, first)].find((text) => {
    const network = parseSubnet(text)!;
    return !avoid.some((each) => overlaps(each, network)) && conflictsWith(network, used, ownInterface).length === 0;
  });
}

const DOMAIN = new TextEncoder().encode('towpath network v1\n');

/** @throws MeshError `address-conflict` when another interface of the machine uses a part of the party's network. */
export function requireFreeNetwork(network: Subnet, used: readonly UsedNetwork[], ownInterface: string): void {
  const [conflict] = conflictsWith(network, used, ownInterface);
  if (conflict === undefined) return;
  const { subnet, interfaceName } = conflict;
  const suggestion = suggestNetwork(used);
  throw new MeshError(
    'address-conflict',
    `The party's network ${network.address}/${network.prefixLength} overlaps ${subnet.address}/${subnet.prefixLength} on ` +
      `${interfaceName}. Next: choose another network for the party${suggestion ? `, for example ${suggestion}` : ''}.`,
    { target: interfaceName },
  );
}
