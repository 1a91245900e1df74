import type { GridMember, MeshGrid } from '../../test/system/support/mesh-grid.ts';
import type { GridOrder, GridResult } from '../../test/system/support/grid-node.ts';

/** A host that lets in only what belongs to what it has sent, and what comes through a tunnel. */
const FIREWALL = `table inet host {
  chain input {
    type filter hook input priority 0; policy drop;
    iifname { "lo", "tp*", "pw*" } accept
    ct state established,related accept
    icmp type echo-request accept
  }
}
`;

export function raiseFirewall({ lab }: MeshGrid, members: readonly GridMember[]): void {
  for (const { host } of members) lab.nft(host.namespace, FIREWALL);
}

/** Connects two members, which stay connected until they are released. @returns what both say of it */
export async function connectPair(
  [a, b]: readonly [GridMember, GridMember],
  order: Omit<GridOrder, 'peer'>,
): Promise<[GridResult, GridResult]> {
  const both = [a.obey({ ...order, peer: b.name }), b.obey({ ...order, peer: a.name })] as const;
  const [first, second] = await Promise.all([both[0].result, both[1].result]);
  const error = first.error ?? second.error;
  if (error !== undefined) throw new Error(`${a.name} and ${b.name} did not connect: ${error}`);
  return [first, second];
}
