import {
  addressFamily,
  type Endpoint,
  formatEndpoint,
  type InterfaceAddress,
  isPort,
  type Network,
  parseSubnet,
  subnetHosts,
  subnetOf,
} from '@towpath/net';
import { PpppError } from '../pppp-error.ts';

/** Where devices listen for LAN_SEARCH (docs/protocol/pppp.md, "Ports"). */
export const SEARCH_PORT = 32_108;

/** Addresses of all swept subnets together: a /16. More takes minutes and looks like an attack. */
const MAX_SWEPT = 65_536;

/** Broadcasts do not reach what listens on the loopback interface alone. */
export const LOOPBACK = '127.0.0.1';

/**
 * Networks whose hosts are asked one by one have a prefix of at least this length; hosts of all such networks together.
 */
const NEIGHBOUR_PREFIX_LENGTH = 24;
const MAX_NEIGHBOURS = 1_024;

/** Targets of a LAN search. */
export interface SearchTargets {
  /**
   * Ask 255.255.255.255, the broadcast address of every interface, and this host itself. Without an answer the hosts of
   * small attached networks (/24) are then asked one by one. @default true
   */
  broadcast?: boolean;
  /** Single hosts to ask, by address or with a port of their own. */
  hosts?: readonly (string | Endpoint)[];
  /** Networks whose hosts are all searched, such as `192.168.1.0/24`: for networks that filter broadcasts. */
  subnets?: readonly string[];
  /** Port on which devices listen for searches. @default 32108 */
  searchPort?: number;
  /**
   * Ports where devices are known to listen for sessions. Hosts that are asked by address are asked there first, so
   * that a stateful firewall of this host lets their answers in. @default none
   */
  knownPorts?: readonly number[];
}

/**
 * The addresses to ask in every round: broadcasts and single hosts.
 * @throws PpppError `bad-argument` for a host that is no IPv4 address.
 */
export function roundTargets(
  network: Network,
  targets: SearchTargets,
  localAddress?: string,
): { broadcasts: Endpoint[]; single: Endpoint[] } {
  const { broadcast = true, hosts = [], searchPort = SEARCH_PORT } = targets;
  const single = hosts.map((host) => (typeof host === 'string' ? { address: host, port: searchPort } : host));
  const wrong = single.find(({ address, port }) => addressFamily(address) !== 4 || !isPort(port));
  if (wrong !== undefined) {
    throw new PpppError('bad-argument', `"${formatEndpoint(wrong)}" is not an IPv4 address and port.`);
  }
  if (!broadcast) return { broadcasts: [], single };
  const leaves = ({ address, internal }: InterfaceAddress) =>
    localAddress === undefined ? !internal : address === localAddress;
  const directed = network.interfaces().flatMap((own) => (leaves(own) && own.broadcast ? [own.broadcast] : []));
  const addresses = new Set(['255.255.255.255', ...directed]);
  // Broadcasts do not reach what listens on the loopback interface alone.
  if (localAddress === undefined && network.interfaces().some(({ internal }) => internal)) addresses.add(LOOPBACK);
  return { broadcasts: [...addresses].map((address) => ({ address, port: searchPort })), single };
}

/** Every host of the small private networks that this host is attached to, itself left out. */
export function neighbours(network: Network, targets: SearchTargets, localAddress?: string): Endpoint[] {
  const { searchPort = SEARCH_PORT } = targets;
  const hosts: Endpoint[] = [];
  for (const own of network.interfaces()) {
    if (own.internal || own.family !== 4 || own.prefixLength < NEIGHBOUR_PREFIX_LENGTH || own.prefixLength > 30)
      continue;
    if (localAddress !== undefined && own.address !== localAddress) continue;
    const subnet = subnetOf(own.address, own.prefixLength);
    if (subnet === undefined || hosts.length > MAX_NEIGHBOURS) continue;
    for (const address of subnetHosts(subnet, MAX_NEIGHBOURS)) {
      if (address !== own.address) hosts.push({ address, port: searchPort });
    }
  }
  return hosts;
}

/**
 * Every host of the subnets.
 * @throws PpppError `bad-argument` for a text that is no IPv4 network, or for too many hosts.
 */
export function sweptHosts({ subnets = [], searchPort = SEARCH_PORT }: SearchTargets): Endpoint[] {
  const hosts: Endpoint[] = [];
  for (const text of subnets) {
    const subnet = parseSubnet(text);
    if (subnet === undefined || subnet.address.includes(':')) {
      throw new PpppError('bad-argument', `"${text}" is not an IPv4 network. Expected a form such as 192.168.1.0/24.`);
    }
    for (const address of subnetHosts(subnet, MAX_SWEPT + 1)) hosts.push({ address, port: searchPort });
    if (hosts.length > MAX_SWEPT) {
      throw new PpppError(
        'bad-argument',
        `Sweeping ${text} would search more than ${MAX_SWEPT} hosts. Next: use smaller networks.`,
      );
    }
  }
  return hosts;
}
