import { addressScope, type Endpoint, isPrivateAddress, type Network, type Subnet, subnetOf } from '@towpath/net';
import type { NatReport } from '@towpath/stun';
import type { MeshCandidate } from './candidate-signal.ts';
import type { PathSocket } from './path-socket.ts';
import type { RelaySession } from './relay-session.ts';

/** What the candidates of this machine are gathered from. */
export interface CandidateSources {
  network: Network;
  sockets: readonly PathSocket[];
  /** Path sockets that are bound to the address of one uplink each, and their external endpoints. */
  uplinks: { readonly sockets: readonly PathSocket[]; readonly external: readonly Endpoint[] };
  /** External endpoint of the path socket of IPv4 where no relay tells it. */
  external: Endpoint | undefined;
  relays: Iterable<Pick<RelaySession, 'reflexive' | 'relayed'>>;
  /** External endpoint that the router has mapped to the path socket. */
  mapped: Endpoint | undefined;
  nat: NatReport | undefined;
  isOwnInterface?: ((name: string) => boolean) | undefined;
}

/** Addresses at which this machine can perhaps be reached, each once. */
export function localCandidates({
  network,
  sockets,
  uplinks,
  external,
  relays,
  mapped,
  nat,
  isOwnInterface,
}: CandidateSources): MeshCandidate[] {
  const candidates: MeshCandidate[] = [];
  const seen = new Set<string>();
  const add = (type: MeshCandidate['type'], endpoint: Endpoint | undefined) => {
    if (endpoint === undefined) return;
    const key = `${endpoint.address} ${endpoint.port}`;
    if (seen.has(key)) return;
    seen.add(key);
    candidates.push({ type, endpoint });
  };
  for (const { name, address, family, internal } of network.interfaces()) {
    if (internal || isOwnInterface?.(name) || (family === 6 && addressScope(address) !== 'global')) continue;
    const socket =
      uplinks.sockets.find(({ local }) => local.address === address) ?? sockets.find((each) => each.family === family);
    if (socket !== undefined) add('host', { address, port: socket.local.port });
  }
  add('mapped', mapped);
  for (const external of uplinks.external) add('server-reflexive', external);
  const path = sockets.find(({ family }) => family === 4);
  // A NAT that maps by destination may still keep the port for a destination that no other host uses.
  const isStable = nat?.mapping === 'none' || nat?.mapping === 'endpoint-independent';
  for (const { reflexive, relayed } of [{ reflexive: external, relayed: undefined }, ...relays]) {
    add('server-reflexive', reflexive);
    if (reflexive && path && !isStable) add('server-reflexive', { ...reflexive, port: path.local.port });
    add('relayed', relayed);
  }
  return candidates;
}

/** The private networks that this machine is in. */
export function localNetworks(network: Network, isOwnInterface?: (name: string) => boolean): Subnet[] {
  return network
    .interfaces()
    .filter(({ name, internal, address }) => !internal && !isOwnInterface?.(name) && isPrivateAddress(address))
    .map(({ address, prefixLength }) => subnetOf(address, prefixLength))
    .filter((subnet) => subnet !== undefined);
}
