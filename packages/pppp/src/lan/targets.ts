import {
  addressFamily,
  type Endpoint,
  formatEndpoint,
  type InterfaceAddress,
  isPort,
  type Network,
  parseSubnet,
  subnetHosts,
} from '@towpath/net';
import { PpppError } from '../pppp-error.ts';

/** Where devices listen for LAN_SEARCH (spec §2). */
export const SEARCH_PORT = 32_108;

/** Addresses of all swept subnets together: a /16. More takes minutes and looks like an attack. */
const MAX_SWEPT = 65_536;

/** Whom a LAN search asks. */
export interface SearchTargets {
  /** Ask 255.255.255.255 and the broadcast address of every interface. @default true */
  broadcast?: boolean;
  /** Single hosts to ask, by address or with a port of their own. */
  hosts?: readonly (string | Endpoint)[];
  /** Networks of which every host is asked, such as `192.168.1.0/24`: for networks that swallow broadcasts. */
  subnets?: readonly string[];
  /** Port on which devices listen for searches. @default 32108 */
  searchPort?: number;
}

/**
 * The addresses to ask in every round: broadcasts and single hosts.
 * @throws PpppError `bad-argument` for a host that is no IPv4 address.
 */
export function roundTargets(network: Network, targets: SearchTargets, localAddress?: string): Endpoint[] {
  const { broadcast = true, hosts = [], searchPort = SEARCH_PORT } = targets;
  const single = hosts.map((host) => (typeof host === 'string' ? { address: host, port: searchPort } : host));
  const wrong = single.find(({ address, port }) => addressFamily(address) !== 4 || !isPort(port));
  if (wrong !== undefined) {
    throw new PpppError('bad-argument', `"${formatEndpoint(wrong)}" is no IPv4 address and port to search at.`);
  }
  if (!broadcast) return single;
  const leaves = ({ address, internal }: InterfaceAddress) =>
    localAddress === undefined ? !internal : address === localAddress;
  const directed = network.interfaces().flatMap((own) => (leaves(own) && own.broadcast ? [own.broadcast] : []));
  const addresses = new Set(['255.255.255.255', ...directed]);
  return [...[...addresses].map((address) => ({ address, port: searchPort })), ...single];
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
      throw new PpppError('bad-argument', `"${text}" is no IPv4 network. Write it as 192.168.1.0/24.`);
    }
    for (const address of subnetHosts(subnet, MAX_SWEPT + 1)) hosts.push({ address, port: searchPort });
    if (hosts.length > MAX_SWEPT) {
      throw new PpppError('bad-argument', `Sweeping ${text} asks more than ${MAX_SWEPT} hosts. Name smaller networks.`);
    }
  }
  return hosts;
}
