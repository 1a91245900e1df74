import type { PartyId, PeerId } from '@towpath/membership';

/** Whom TURN credentials were issued to: the quotas of relays count for each of them. */
export interface TurnUser {
  readonly member: PeerId;
  readonly party: PartyId;
  /** Who created the party. */
  readonly founder: PeerId;
}

/** The user name, without its expiry. */
export function turnUser({ member, party, founder }: TurnUser): string {
  return `${member}.${party}.${founder}`;
}

/** Reads what {@link turnUser} returns; undefined for the users of other programs that share the secret. */
export function readTurnUser(user: string): TurnUser | undefined {
  const [, member, party, founder] = /^([0-9a-f]{32})\.([0-9a-f]{32})\.([0-9a-f]{32})$/.exec(user) ?? [];
  return member && party && founder ? { member, party, founder } : undefined;
}

/** A member of a party, as relays ask for it: `MEMBER.PARTY`. */
export function turnMember({ member, party }: Pick<TurnUser, 'member' | 'party'>): string {
  return `${member}.${party}`;
}

/** Members that a relay may ask for in one request: the request line stays below the servers' limit of 8 KiB. */
export const MAX_ASKED_MEMBERS = 64;
