import { addressIn, memberNamed, type MeshMember, type Offer } from '@towpath/mesh';

/** A network; with `members`, names or ids, only those may reach it. */
export type Offering = string | { readonly network: string; readonly members: readonly string[] };

/**
 * The offers with the addresses of the members that may use them; see {@link memberNamed}.
 * @param party undefined when this node is not in it any more
 */
export function offersFor(
  offers: readonly Offering[],
  party: { readonly self: MeshMember; readonly peers: readonly MeshMember[] } | undefined,
  virtualNetwork: Parameters<typeof addressIn>[0],
): Offer[] {
  const members = party === undefined ? [] : [party.self, ...party.peers];
  return offers.map((offer) => {
    if (typeof offer === 'string') return offer;
    const allowed = new Set(offer.members.map((wanted) => memberNamed(wanted, members)));
    const peers = [...allowed].filter((member) => member !== undefined && member !== party?.self);
    return { network: offer.network, from: peers.map((peer) => addressIn(virtualNetwork, peer!.virtualAddress)) };
  });
}
