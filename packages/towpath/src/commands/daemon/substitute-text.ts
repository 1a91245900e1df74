import type { Party } from '@towpath/dashboard/api';

/** Why the addresses of a party are others here than on its other members. */
export function substituteText({ name, network }: Pick<Party, 'name' | 'network'>): string | undefined {
  if (network === undefined || network.here === network.party) return undefined;
  return `${name}: its addresses ${network.party} are in use on this machine, which sees them as ${network.here}.`;
}
