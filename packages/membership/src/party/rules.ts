import { equalBytes } from '../encoding/bytes.ts';
import { type PeerId, peerIdOf } from '../identity/keys.ts';
import { virtualAddressFor } from './address.ts';
import type { Member, PartyState } from './party-state.ts';
import {
  MAX_INVITE_USES,
  PARTY_AUTHOR,
  type SignedStatement,
  type StatementContent,
  type StatementDecodeFailure,
} from './statement.ts';

/** Why a statement is invalid at its position. */
export type StatementReason =
  | StatementDecodeFailure
  /** its sequence is not the next one */
  | 'wrong-sequence'
  /** it does not contain the hash of the statement before: the log was cut, reordered or forked */
  | 'broken-chain'
  /** older than the statement before it */
  | 'time-went-back'
  /** far ahead of the verifier's clock */
  | 'dated-ahead'
  /** a genesis that is not first, a first statement that is not genesis, or a genesis of another party */
  | 'wrong-genesis'
  | 'bad-signature'
  /** its author is not a member */
  | 'unknown-author'
  /** its author's role does not allow it */
  | 'not-allowed'
  /** it refers to a node that is not a member */
  | 'unknown-member'
  | 'unknown-invite'
  | 'invite-expired'
  | 'invite-used-up'
  /** a key or member that exists already */
  | 'duplicate'
  | 'bad-name'
  /** all addresses are in use */
  | 'party-full'
  /** the log has the maximum number of statements */
  | 'log-full';

/** The invalid statement, and why. */
export interface StatementFailure {
  readonly sequence: number;
  readonly reason: StatementReason;
  /** Message for people. */
  readonly message: string;
  /** Why, without which statement it is about. */
  readonly because: string;
}

/** A signature that must be valid. */
export interface SignatureCheck {
  readonly publicKey: Uint8Array;
  readonly signature: Uint8Array;
}

/** Most key rotations of one member, so that it cannot fill the log with them. */
const MAX_ROTATIONS = 100;

type Verdict = { ok: true; checks: SignatureCheck[] } | { ok: false; failure: StatementFailure };
type Refusal = [StatementReason, string];

/** Most statements in one log; bounds its size to 20 MB. */
export const MAX_LOG_STATEMENTS = 65_536;

/**
 * Free places at the end of a log that adding a statement of this type must leave, besides one removal for every
 * member: however a log is filled, every member can still be removed, and roles and keys changed.
 */
const RESERVED_STATEMENTS: Readonly<Record<StatementContent['type'], number>> = {
  genesis: 0,
  appoint: 0,
  'replace-founder': 0,
  remove: 64,
  'set-role': 64,
  rotate: 64 + 1_024,
  invite: 64 + 1_024 + 4_096,
  'revoke-invite': 64 + 1_024 + 4_096,
  join: 64 + 1_024 + 4_096,
  checkpoint: 64 + 1_024 + 4_096,
};

/** Returns the number of further invites, joins and checkpoints that a log accepts. */
export function roomInLog(state: PartyState): number {
  return Math.max(0, MAX_LOG_STATEMENTS - state.length - state.members.size - RESERVED_STATEMENTS.invite);
}

/**
 * Checks whether `statement` may follow `state`, which is not changed.
 *
 * Permissions:
 *
 * | statement | founder | admin | member |
 * |---|---|---|---|
 * | invite a member, revoke an invite, checkpoint | yes | yes | no |
 * | invite an admin, set a role | yes | no | no |
 * | remove | any other member | plain members, itself | itself |
 * | rotate own keys, 100 times | yes | yes | yes |
 *
 * Joining needs an invite's key; appointing a member, or bringing a node in, as the founder needs the party's key. The
 * invites of whoever loses a role, leaves or is removed end; with who is removed by somebody else, also the invite that
 * it came with. Room at the end of the log is reserved: see {@link RESERVED_STATEMENTS}.
 *
 * @returns the signatures that the caller must check: the rules hold only if all of them are valid.
 */
export function examineStatement(state: PartyState, statement: SignedStatement): Verdict {
  const refused = refusal(state, statement);
  if (refused !== undefined) return { ok: false, failure: failureOf(state.length, ...refused) };
  const keys = signers(state, statement);
  return { ok: true, checks: keys.map((publicKey, at) => ({ publicKey, signature: statement.signatures[at]! })) };
}

/** Creates a {@link StatementFailure}. */
export function failureOf(sequence: number, reason: StatementReason, because: string): StatementFailure {
  return { sequence, reason, because, message: `Statement ${sequence} of the party's log is refused: ${because}` };
}

function refusal(state: PartyState, statement: SignedStatement): Refusal | undefined {
  const { content, previous, timeMs } = statement;
  if (statement.sequence !== state.length) return ['wrong-sequence', `number ${state.length} is due.`];
  if (!equalBytes(previous, state.head?.hash ?? new Uint8Array(previous.length))) {
    return ['broken-chain', 'it does not follow from the statement before it; the log was altered or forked.'];
  }
  if (timeMs < state.timeMs) return ['time-went-back', 'it claims to be older than the statement before it.'];
  if (isFull(state, content.type))
    return ['log-full', 'the log is full; what is left is reserved for more urgent entries.'];
  if (content.type === 'genesis') return refuseGenesis(state, statement);
  if (state.head === undefined) return ['wrong-genesis', 'the first statement must be genesis.'];
  if (content.type === 'join') return refuseJoin(state, statement, content);
  if (content.type === 'appoint') {
    if (statement.author !== PARTY_AUTHOR) return ['not-allowed', 'only the party key can appoint a founder.'];
    return state.members.has(content.member) ? undefined : unknownMember(content.member);
  }
  if (content.type === 'replace-founder') {
    if (statement.author !== PARTY_AUTHOR) return ['not-allowed', 'only the party key can replace a founder.'];
    return refuseNewNode(state, peerIdOf(content.nodeKey), content) ?? badName(content.name);
  }
  const author = state.members.get(statement.author);
  if (author === undefined) return ['unknown-author', `its author ${statement.author} is not a member.`];
  return refuseAuthored(state, author, statement);
}

/** Why an invite opens nothing at `nowMs`; undefined while somebody can join by it. */
export function inviteProblem(
  state: Pick<PartyState, 'invite'>,
  inviteKey: Uint8Array,
  nowMs: number,
): { reason: 'unknown-invite' | 'invite-expired' | 'invite-used-up'; because: string } | undefined {
  const invite = state.invite(inviteKey);
  if (invite === undefined) {
    return { reason: 'unknown-invite', because: 'the invite does not exist, or was revoked.' };
  }
  if (nowMs > invite.expiresAtMs) return { reason: 'invite-expired', because: 'the invite has expired.' };
  if (invite.uses < invite.maxUses) return undefined;
  return { reason: 'invite-used-up', because: `the invite was used ${invite.maxUses} times, which is its limit.` };
}

function refuseGenesis(state: PartyState, { content, author }: SignedStatement): Refusal | undefined {
  if (content.type !== 'genesis' || state.head !== undefined) return ['wrong-genesis', 'a log has only one genesis.'];
  if (!equalBytes(content.partyKey, state.partyKey)) return ['wrong-genesis', 'it belongs to another party.'];
  if (author !== peerIdOf(content.nodeKey)) return ['unknown-author', 'its author is not the founding node.'];
  return badName(content.partyName) ?? badName(content.name);
}

function refuseJoin(
  state: PartyState,
  statement: SignedStatement,
  content: SignedStatement['content'] & { type: 'join' },
): Refusal | undefined {
  const problem = inviteProblem(state, content.inviteKey, statement.timeMs);
  if (problem !== undefined) return [problem.reason, problem.because];
  const id = peerIdOf(content.nodeKey);
  if (statement.author !== id) return ['unknown-author', 'its author is not the joining node.'];
  return refuseNewNode(state, id, content) ?? badName(content.name);
}

function refuseNewNode(
  state: PartyState,
  id: PeerId,
  { nodeKey, wireGuardKey }: { nodeKey: Uint8Array; wireGuardKey: Uint8Array },
): Refusal | undefined {
  if (state.members.has(id) || state.memberByKey(nodeKey) !== undefined) {
    return ['duplicate', 'this node is already a member.'];
  }
  if (state.hasWireGuardKey(wireGuardKey)) return ['duplicate', 'another member has this WireGuard key.'];
  return virtualAddressFor(id, state) === undefined ? ['party-full', 'all addresses are in use.'] : undefined;
}

/** Returns whether a statement of this type would use reserved places. */
function isFull(state: PartyState, type: StatementContent['type']): boolean {
  const joins = type === 'join' || type === 'replace-founder' || type === 'genesis' ? 1 : 0;
  const leaves = type === 'remove' ? 1 : 0;
  const membersAfter = state.members.size + joins - leaves;
  // Appointing is the last resort and may use the place of a removal.
  const removals = type === 'appoint' ? 0 : membersAfter;
  return state.length + 1 + removals + RESERVED_STATEMENTS[type] > MAX_LOG_STATEMENTS;
}

function refuseAuthored(state: PartyState, author: Member, { content }: SignedStatement): Refusal | undefined {
  const leads = author.role !== 'member';
  const founds = author.role === 'founder';
  switch (content.type) {
    case 'invite':
      if (!leads || (content.role === 'admin' && !founds)) return notAllowed(author, `invite a new ${content.role}`);
      if (content.maxUses < 1 || content.maxUses > MAX_INVITE_USES) return ['not-canonical', 'invalid number of uses.'];
      if (state.inviteKeyIsKnown(content.inviteKey)) return ['duplicate', 'this invite was issued before.'];
      return undefined;
    case 'revoke-invite':
      if (!leads) return notAllowed(author, 'revoke an invite');
      return state.invite(content.inviteKey) ? undefined : ['unknown-invite', 'there is no such invite.'];
    case 'checkpoint':
      return leads ? undefined : notAllowed(author, 'append a checkpoint');
    case 'set-role':
      if (!founds) return notAllowed(author, 'set roles');
      if (!state.members.has(content.member)) return unknownMember(content.member);
      return content.member === author.id ? notAllowed(author, 'give up its own role') : undefined;
    case 'remove': {
      const member = state.members.get(content.member);
      if (member === undefined) return unknownMember(content.member);
      if (member.role === 'founder') return notAllowed(author, 'remove the founder; appoint another one first');
      if (member.id === author.id || founds || (leads && member.role === 'member')) return undefined;
      return notAllowed(author, `remove a member who is ${member.role}`);
    }
    case 'rotate':
      if (author.rotations >= MAX_ROTATIONS) return notAllowed(author, 'replace its keys again; leave and join anew');
      if (state.members.has(peerIdOf(content.nodeKey)) || state.memberByKey(content.nodeKey) !== undefined) {
        return ['duplicate', 'the new node key is already in use.'];
      }
      if (state.hasWireGuardKey(content.wireGuardKey)) {
        return ['duplicate', 'the new WireGuard key is already in use.'];
      }
      return undefined;
    default:
      return ['not-allowed', `${content.type} has no author.`];
  }
}

function signers(state: PartyState, { content, author }: SignedStatement): Uint8Array[] {
  switch (content.type) {
    case 'genesis':
      return [content.partyKey, content.nodeKey];
    case 'join':
      return [content.inviteKey, content.nodeKey];
    case 'appoint':
      return [state.partyKey];
    case 'rotate':
      return [state.members.get(author)!.nodeKey, content.nodeKey];
    case 'replace-founder':
      return [state.partyKey, content.nodeKey];
    default:
      return [state.members.get(author)!.nodeKey];
  }
}

/** Applies the next statement. Call only after {@link examineStatement} and all signatures succeeded. */
export function commitStatement(state: PartyState, statement: SignedStatement): void {
  const { content, author } = statement;
  switch (content.type) {
    case 'genesis':
      state.name = content.partyName;
      state.founder = author;
      state.creator = author;
      addMember(state, statement, content, 'founder', undefined);
      break;
    case 'invite':
      state.putInvite({ ...content, issuer: author, uses: 0 });
      break;
    case 'revoke-invite':
      state.dropInvite(content.inviteKey);
      break;
    case 'join': {
      const invite = state.invite(content.inviteKey)!;
      state.putInvite({ ...invite, uses: invite.uses + 1 });
      addMember(state, statement, content, invite.role, content.inviteKey);
      break;
    }
    case 'set-role':
      state.putMember({ ...state.members.get(content.member)!, role: content.role });
      if (content.role === 'member') dropIssuedBy(state, content.member);
      break;
    case 'remove':
      if (content.member !== author) {
        const { inviteKey } = state.members.get(content.member)!;
        if (inviteKey !== undefined) state.dropInvite(inviteKey);
      }
      dropIssuedBy(state, content.member);
      state.dropMember(content.member);
      break;
    case 'rotate': {
      const { nodeKey, wireGuardKey } = content;
      const member = state.members.get(author)!;
      state.putMember({ ...member, nodeKey, wireGuardKey, rotations: member.rotations + 1 });
      break;
    }
    case 'appoint':
      demoteFounder(state, content.member);
      state.putMember({ ...state.members.get(content.member)!, role: 'founder' });
      break;
    case 'replace-founder': {
      const id = peerIdOf(content.nodeKey);
      demoteFounder(state, id);
      addMember(state, { ...statement, author: id }, content, 'founder', undefined);
      break;
    }
    case 'checkpoint':
      break;
    default:
      content satisfies never;
  }
  state.advance(statement);
}

function addMember(
  state: PartyState,
  { author, timeMs, sequence }: Pick<SignedStatement, 'author' | 'timeMs' | 'sequence'>,
  content: { nodeKey: Uint8Array; wireGuardKey: Uint8Array; name: string },
  role: Member['role'],
  inviteKey: Uint8Array | undefined,
): void {
  const { nodeKey, wireGuardKey, name } = content;
  const virtualAddress = virtualAddressFor(author, state)!;
  state.putMember({
    id: author,
    name,
    role,
    nodeKey,
    wireGuardKey,
    virtualAddress,
    joinedAtMs: timeMs,
    joinedAtSequence: sequence,
    rotations: 0,
    inviteKey,
  });
}

/** The founder becomes a plain member, unless it is `next` itself. */
function demoteFounder(state: PartyState, next: PeerId): void {
  const before = state.members.get(state.founder);
  if (before !== undefined && before.id !== next) {
    state.putMember({ ...before, role: 'member' });
    dropIssuedBy(state, before.id);
  }
  state.founder = next;
}

/** Revokes invites, so that no node joins with an invite of a member that may not invite any more. */
function dropIssuedBy(state: PartyState, issuer: PeerId): void {
  for (const invite of [...state.invites.values()]) {
    if (invite.issuer === issuer) state.dropInvite(invite.inviteKey);
  }
}

function badName(name: string): Refusal | undefined {
  // Control characters could control the terminal of a user who lists the members.
  const bad = name.trim() === '' || /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u.test(name);
  return bad ? ['bad-name', 'a name is empty or contains control characters.'] : undefined;
}

function notAllowed(author: Member, what: string): Refusal {
  return ['not-allowed', `its author is ${author.role} (${author.name}) and may not ${what}.`];
}

function unknownMember(id: string): Refusal {
  return ['unknown-member', `${id} is not a member.`];
}
