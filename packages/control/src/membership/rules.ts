import { equalBytes } from '../encoding/bytes.ts';
import { type PeerId, peerIdOf } from '../identity/keys.ts';
import { virtualAddressFor } from './address.ts';
import type { Member, PartyState } from './party-state.ts';
import { MAX_INVITE_USES, PARTY_AUTHOR, type SignedStatement, type StatementDecodeFailure } from './statement.ts';

/** Why a statement may not stand where it stands. */
export type StatementReason =
  | StatementDecodeFailure
  /** its sequence is not the next one */
  | 'wrong-sequence'
  /** it does not name the statement before: the log was cut, reordered or forked */
  | 'broken-chain'
  /** older than the statement before it */
  | 'time-went-back'
  /** a genesis elsewhere than first, or none there, or of another party */
  | 'wrong-genesis'
  | 'bad-signature'
  /** its author is no member */
  | 'unknown-author'
  /** its author's role does not allow it */
  | 'not-allowed'
  /** it is about somebody who is no member */
  | 'unknown-member'
  | 'unknown-invite'
  | 'invite-expired'
  | 'invite-used-up'
  /** a key or member that is already there */
  | 'duplicate'
  | 'bad-name'
  /** all addresses are in use */
  | 'party-full'
  /** the log has as many statements as a log can have */
  | 'log-full';

/** Which statement breaks the log, and why. */
export interface StatementFailure {
  readonly sequence: number;
  readonly reason: StatementReason;
  /** One sentence for people. */
  readonly message: string;
}

/** A signature that has to be valid for a statement to stand. */
export interface SignatureCheck {
  readonly publicKey: Uint8Array;
  readonly signature: Uint8Array;
}

/** Key changes of one member: it could fill the log with them, and with nothing else. */
const MAX_ROTATIONS = 100;

type Verdict = { ok: true; checks: SignatureCheck[] } | { ok: false; failure: StatementFailure };
type Refusal = [StatementReason, string];

/** Statements in one log, which a hostile server could otherwise make endless: 20 MB at the most. */
export const MAX_LOG_STATEMENTS = 65_536;

/**
 * Whether `statement` may be the next one after `state`, which stays as it is.
 *
 * Who may say what:
 *
 * | statement | founder | admin | member |
 * |---|---|---|---|
 * | invite a member, revoke an invite, checkpoint | yes | yes | no |
 * | invite an admin, set a role | yes | no | no |
 * | remove | anybody else | plain members, itself | itself |
 * | rotate own keys, 100 times | yes | yes | yes |
 *
 * Joining needs an invite's key; appointing another founder needs the party's key. Whoever loses a role or is
 * removed by somebody else loses the invites that it issued; the removed one also the invite that it came with.
 *
 * @returns the signatures that the caller must check: the rules hold only if all of them are valid.
 */
export function examineStatement(state: PartyState, statement: SignedStatement): Verdict {
  const refused = refusal(state, statement);
  if (refused !== undefined) return { ok: false, failure: failureOf(state.length, ...refused) };
  const keys = signers(state, statement);
  return { ok: true, checks: keys.map((publicKey, at) => ({ publicKey, signature: statement.signatures[at]! })) };
}

/** The one form of a {@link StatementFailure}. */
export function failureOf(sequence: number, reason: StatementReason, because: string): StatementFailure {
  return { sequence, reason, message: `Statement ${sequence} of the party's log is refused: ${because}` };
}

function refusal(state: PartyState, statement: SignedStatement): Refusal | undefined {
  const { content, previous, timeMs } = statement;
  if (statement.sequence >= MAX_LOG_STATEMENTS) return ['log-full', `a log ends at ${MAX_LOG_STATEMENTS} statements.`];
  if (statement.sequence !== state.length) return ['wrong-sequence', `number ${state.length} is due.`];
  if (!equalBytes(previous, state.head?.hash ?? new Uint8Array(previous.length))) {
    return ['broken-chain', 'it does not follow from the statement before it; the log was altered or forked.'];
  }
  if (timeMs < state.timeMs) return ['time-went-back', 'it claims to be older than the statement before it.'];
  if (content.type === 'genesis') return refuseGenesis(state, statement);
  if (state.head === undefined) return ['wrong-genesis', 'a log begins with a genesis.'];
  if (content.type === 'join') return refuseJoin(state, statement, content);
  if (content.type === 'appoint') {
    if (statement.author !== PARTY_AUTHOR) return ['not-allowed', 'only the key of the party appoints a founder.'];
    return state.members.has(content.member) ? undefined : unknownMember(content.member);
  }
  const author = state.members.get(statement.author);
  if (author === undefined) return ['unknown-author', `its author ${statement.author} is not a member.`];
  return refuseAuthored(state, author, statement);
}

function refuseGenesis(state: PartyState, { content, author }: SignedStatement): Refusal | undefined {
  if (content.type !== 'genesis' || state.head !== undefined) return ['wrong-genesis', 'a log has one genesis.'];
  if (!equalBytes(content.partyKey, state.partyKey)) return ['wrong-genesis', 'it founds another party.'];
  if (author !== peerIdOf(content.nodeKey)) return ['unknown-author', 'its author is not the founding node.'];
  return badName(content.partyName) ?? badName(content.name);
}

function refuseJoin(
  state: PartyState,
  statement: SignedStatement,
  content: SignedStatement['content'] & { type: 'join' },
): Refusal | undefined {
  const invite = state.invite(content.inviteKey);
  if (invite === undefined) return ['unknown-invite', 'the invite was never issued, or was revoked.'];
  if (statement.timeMs > invite.expiresAtMs) return ['invite-expired', 'the invite had expired.'];
  if (invite.uses >= invite.maxUses) return ['invite-used-up', `the invite was good for ${invite.maxUses} only.`];
  const id = peerIdOf(content.nodeKey);
  if (statement.author !== id) return ['unknown-author', 'its author is not the joining node.'];
  if (state.members.has(id) || state.memberByKey(content.nodeKey) !== undefined) {
    return ['duplicate', 'this node is a member already.'];
  }
  if (state.hasWireGuardKey(content.wireGuardKey)) return ['duplicate', 'another member has this WireGuard key.'];
  if (virtualAddressFor(id, state) === undefined) return ['party-full', 'all addresses are in use.'];
  return badName(content.name);
}

function refuseAuthored(state: PartyState, author: Member, { content }: SignedStatement): Refusal | undefined {
  const leads = author.role !== 'member';
  const founds = author.role === 'founder';
  switch (content.type) {
    case 'invite':
      if (!leads || (content.role === 'admin' && !founds)) return notAllowed(author, `invite a new ${content.role}`);
      if (content.maxUses < 1 || content.maxUses > MAX_INVITE_USES) return ['not-canonical', 'no uses at all.'];
      if (state.inviteKeyIsKnown(content.inviteKey)) return ['duplicate', 'this invite was issued before.'];
      return undefined;
    case 'revoke-invite':
      if (!leads) return notAllowed(author, 'revoke an invite');
      return state.invite(content.inviteKey) ? undefined : ['unknown-invite', 'there is no such invite.'];
    case 'checkpoint':
      return leads ? undefined : notAllowed(author, 'set a checkpoint');
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
        return ['duplicate', 'the new node key is a member already.'];
      }
      if (state.hasWireGuardKey(content.wireGuardKey)) {
        return ['duplicate', 'the new WireGuard key is in use already.'];
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
    default:
      return [state.members.get(author)!.nodeKey];
  }
}

/** Makes the next statement count. Only after {@link examineStatement} and the signatures said yes. */
export function commitStatement(state: PartyState, statement: SignedStatement): void {
  const { content, author } = statement;
  switch (content.type) {
    case 'genesis':
      state.name = content.partyName;
      state.founder = author;
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
        dropIssuedBy(state, content.member);
      }
      state.dropMember(content.member);
      break;
    case 'rotate': {
      const { nodeKey, wireGuardKey } = content;
      const member = state.members.get(author)!;
      state.putMember({ ...member, nodeKey, wireGuardKey, rotations: member.rotations + 1 });
      break;
    }
    case 'appoint':
      state.putMember({ ...state.members.get(state.founder)!, role: 'member' });
      state.putMember({ ...state.members.get(content.member)!, role: 'founder' });
      if (state.founder !== content.member) dropIssuedBy(state, state.founder);
      state.founder = content.member;
      break;
    case 'checkpoint':
      break;
    default:
      content satisfies never;
  }
  state.advance(statement);
}

function addMember(
  state: PartyState,
  { author, timeMs }: SignedStatement,
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
    rotations: 0,
    inviteKey,
  });
}

/** Nobody comes in, or comes back under another key, by an invite of somebody who may not invite any more. */
function dropIssuedBy(state: PartyState, issuer: PeerId): void {
  for (const invite of [...state.invites.values()]) {
    if (invite.issuer === issuer) state.dropInvite(invite.inviteKey);
  }
}

function badName(name: string): Refusal | undefined {
  // Control characters could rewrite the terminal of whoever lists the members.
  const bad = name.trim() === '' || /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u.test(name);
  return bad ? ['bad-name', 'a name is empty or holds control characters.'] : undefined;
}

function notAllowed(author: Member, what: string): Refusal {
  return ['not-allowed', `its author is ${author.role} (${author.name}) and may not ${what}.`];
}

function unknownMember(id: string): Refusal {
  return ['unknown-member', `${id} is not a member.`];
}
