import { addressScope, type Endpoint, type Network, sameEndpoint } from '@towpath/net';
import { isNeighbour } from './addresses.ts';

/** Behaviour of the local NAT, as far as the servers' answers show it. */
export interface NatView {
  /** Our address as each server sees it. */
  readonly wanAddresses: readonly { server: Endpoint; address: Endpoint }[];
  /**
   * Whether all servers see the same address. `destination-dependent` is a symmetric NAT: others cannot predict the
   * port. Two servers must have answered.
   */
  readonly mapping: 'unknown' | 'endpoint-independent' | 'destination-dependent';
}

/** What the addresses that servers have seen (`wan`) show about this host's NAT. */
export function natView(seen: readonly { readonly endpoint: Endpoint; readonly wan: Endpoint | undefined }[]): NatView {
  const wanAddresses = seen.flatMap(({ endpoint: server, wan }) =>
    wan === undefined ? [] : [{ server, address: wan }],
  );
  const [first, ...others] = wanAddresses;
  if (first === undefined || others.length === 0) return { wanAddresses, mapping: 'unknown' };
  const same = others.every(({ address }) => sameEndpoint(address, first.address));
  return { wanAddresses, mapping: same ? 'endpoint-independent' : 'destination-dependent' };
}

/**
 * Whether ports next to a peer's known one are worth punching (docs/protocol/pppp.md, "Connecting through a
 * rendezvous"). Not those of neighbours, of LAN addresses elsewhere, or behind our own NAT; and not from behind a
 * symmetric NAT, where every guess moves on the very port that the peer has to guess.
 */
export function isGuessable(address: string, { wanAddresses, mapping }: NatView, network: Network): boolean {
  if (mapping === 'destination-dependent' || isNeighbour(network, address)) return false;
  const wan = wanAddresses[0]?.address.address;
  return wan === undefined || (address !== wan && addressScope(address) === addressScope(wan));
}
