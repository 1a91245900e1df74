import type { Member } from '@towpath/membership';
import type { PartyView, PeerView } from '@towpath/control';
import { UsageError } from '../../cli/failure.ts';
import { columns } from '../../cli/table.ts';
import { startsId } from './starts-id.ts';

/** A member in JSON output. */
export interface MemberRecord {
  readonly id: string;
  readonly name: string;
  readonly role: Member['role'];
  readonly virtualAddress: string;
  readonly joinedAt: string;
  readonly rotations: number;
  /** This node; the others are online or not. */
  readonly self: boolean;
  readonly online: boolean;
}

/** Returns the members of a party, this node first, then by name. */
export function memberRecords({ self, peers }: PartyView, connected: boolean): MemberRecord[] {
  const others = peers.map((peer) => recordOf(peer, false, peer.online));
  others.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : a.id < b.id ? -1 : 1));
  return [recordOf(self, true, connected), ...others];
}

function recordOf(member: Member, self: boolean, online: boolean): MemberRecord {
  const { id, name, role, virtualAddress, rotations } = member;
  const joinedAt = new Date(member.joinedAtMs).toISOString();
  return { id, name, role, virtualAddress, joinedAt, rotations, self, online };
}

/** Formats the members as a table. */
export function memberTable(members: readonly MemberRecord[]): string[] {
  const rows = members.map((member) => [
    member.name,
    member.role,
    member.virtualAddress,
    member.self ? 'this node' : member.online ? 'online' : 'offline',
    member.joinedAt.slice(0, 10),
    member.id.slice(0, 8),
  ]);
  return columns([['NAME', 'ROLE', 'ADDRESS', 'STATE', 'JOINED', 'ID'], ...rows]);
}

/** Finds another member by name, virtual address, or the beginning of its id. @throws UsageError. */
export function findMember({ name, peers, self }: PartyView, wanted: string): PeerView {
  const exact = peers.filter((peer) => peer.id === wanted || peer.virtualAddress === wanted || peer.name === wanted);
  const loose = peers.filter((peer) => peer.name.toLowerCase() === wanted.toLowerCase() || startsId(peer.id, wanted));
  const meant = exact.length > 0 ? exact : loose;
  const [only, ...others] = meant;
  if (only === undefined) {
    const isSelf = self.id === wanted || self.virtualAddress === wanted || self.name === wanted;
    const advice = isSelf ? 'That is this node. Next: towpath party leave.' : 'Next: see towpath party members.';
    throw new UsageError(`No other member of ${name} matches ${wanted}. ${advice}`);
  }
  if (others.length > 0) {
    const places = meant.map(({ id, virtualAddress }) => `${virtualAddress} (${id.slice(0, 8)})`).join(', ');
    throw new UsageError(`${meant.length} members match ${wanted}: ${places}. Next: give an address or id.`);
  }
  return only;
}
