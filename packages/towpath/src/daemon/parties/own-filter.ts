import type { Party } from '@towpath/dashboard/api';
import { type FilterStatus, NOT_FILTERED } from '@towpath/mesh';

/** The party filter as the API tells it: a problem together with what it means, so that its readers need not know. */
export function ownFilter({ problem, dropped }: FilterStatus): NonNullable<Party['filter']> {
  return { problem: problem === undefined ? null : `${problem} ${NOT_FILTERED}`, dropped: { ...dropped } };
}
