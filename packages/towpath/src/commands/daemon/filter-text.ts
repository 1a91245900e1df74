import type { Party } from '@towpath/dashboard/api';

/** Why a party is not kept apart from the machine's other networks, or what was dropped; undefined when there is nothing to say. */
export function filterText({ filter }: Pick<Party, 'filter'>): string | undefined {
  if (filter === undefined) return undefined;
  if (filter.problem !== null) return `Not filtered: ${filter.problem}`;
  const { strangers, forged, notOffered, intoParty } = filter.dropped;
  const parts = [
    [strangers, "from other networks to this machine's virtual address"],
    [forged, 'with the address of a member from another network'],
    [notOffered, 'of members to networks that are not offered'],
    [intoParty, 'from other networks to members'],
  ] as const;
  const said = parts.filter(([count]) => count > 0).map(([count, what]) => `${count} ${what}`);
  return said.length === 0 ? undefined : `Packets dropped: ${said.join(', ')}.`;
}
