import { addressScope, type Endpoint, sameEndpoint } from '@towpath/net';
import type { Peer } from './peer.ts';

/**
 * The addresses under which a peer may be punched, best first for a peer at `seenFrom`.
 *
 * The address that a peer states is never passed on unless it is one of a private network: otherwise anybody could have
 * others punched. It comes first for neighbours behind one NAT, last for everybody else.
 */
export function punchCandidates(peer: Peer, local: Endpoint | undefined, seenFrom: Peer): Endpoint[] {
  const wide = peer.isUdp ? [peer.endpoint] : [];
  if (local === undefined || !isLanCandidate(local, peer.endpoint)) return wide;
  return peer.ip === seenFrom.ip ? [local, ...wide] : [...wide, local];
}

function isLanCandidate(local: Endpoint, seenAt: Endpoint): boolean {
  if (local.port === 0 || sameEndpoint(local, seenAt)) return false;
  const scope = addressScope(local.address);
  if (scope === 'loopback') return addressScope(seenAt.address) === 'loopback';
  return scope === 'private' || scope === 'shared' || scope === 'link-local';
}
