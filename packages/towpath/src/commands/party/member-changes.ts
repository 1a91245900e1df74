import type { MemberRecord } from './member-view.ts';

/** What changed about one member. */
export interface MemberChange {
  readonly type: 'joined' | 'gone' | 'online' | 'offline' | 'role' | 'keys';
  readonly member: MemberRecord;
}

/** Returns the differences in `after`, in the order of its members; removed members come last. */
export function memberChanges(before: readonly MemberRecord[], after: readonly MemberRecord[]): MemberChange[] {
  const known = new Map(before.map((member) => [member.id, member]));
  const changes: MemberChange[] = [];
  for (const member of after) {
    const was = known.get(member.id);
    known.delete(member.id);
    if (was === undefined) changes.push({ type: 'joined', member });
    else if (was.role !== member.role) changes.push({ type: 'role', member });
    if (was !== undefined && was.rotations !== member.rotations) changes.push({ type: 'keys', member });
    // The state of this node follows from its connection.
    if (!member.self && (was?.online ?? false) !== member.online) {
      changes.push({ type: member.online ? 'online' : 'offline', member });
    }
  }
  for (const member of known.values()) changes.push({ type: 'gone', member });
  return changes;
}

/** Describes a change: `Ben is online`. */
export function describeChange({ type, member }: MemberChange): string {
  const { name, role, virtualAddress } = member;
  switch (type) {
    case 'joined':
      return `${name} joined (${role}, ${virtualAddress})`;
    case 'gone':
      return `${name} is no longer a member`;
    case 'online':
    case 'offline':
      return `${name} is ${type}`;
    case 'role':
      return `${name} is now ${role === 'founder' ? 'the founder' : role}`;
    case 'keys':
      return `${name} has new keys`;
    default:
      return type satisfies never;
  }
}
