import { toBase64 } from '../encoding/bytes.ts';
import { type PartyId, type PeerId, partyIdOf } from '../identity/keys.ts';
import type { InvitedRole, Role, SignedStatement } from './statement.ts';

/** A verified member of a party. */
export interface Member {
  readonly id: PeerId;
  /** Its own name for itself; not unique. */
  readonly name: string;
  readonly role: Role;
  readonly nodeKey: Uint8Array;
  readonly wireGuardKey: Uint8Array;
  /** In 10.66.0.0/16 (C5). */
  readonly virtualAddress: string;
  /** Its own clock when it joined, ms since 1970. */
  readonly joinedAtMs: number;
  /** Sequence of the statement that it joined with; larger for whoever joined later, whatever its clock said. */
  readonly joinedAtSequence: number;
  /** Number of its key rotations. */
  readonly rotations: number;
  /** The invite that it joined with; undefined for the founder. */
  readonly inviteKey: Uint8Array | undefined;
}

/** An invite that was issued and not revoked. */
export interface InviteRecord {
  readonly inviteKey: Uint8Array;
  readonly role: InvitedRole;
  readonly issuer: PeerId;
  readonly maxUses: number;
  readonly uses: number;
  readonly expiresAtMs: number;
}

/** The newest statement of a log: its sequence and hash, which determine the whole history. */
export interface LogHead {
  readonly sequence: number;
  readonly hash: Uint8Array;
}

/** State that follows from a party's log. Changed by {@link commitStatement} only. */
export class PartyState {
  readonly partyKey: Uint8Array;
  readonly id: PartyId;
  name = '';
  founder: PeerId = '';
  /** Who created the party; it may have been removed since. */
  creator: PeerId = '';
  /** Bytes of all statements. */
  logBytes = 0;
  /** Undefined before the first statement. */
  head: LogHead | undefined;
  /** Statements since the last checkpoint: a new member checks their signatures one by one. */
  unvouched = 0;
  /** Time of the newest statement. */
  timeMs = 0;
  readonly members: Map<PeerId, Member> = new Map();
  /** By base64url of the invite's key. */
  readonly invites: Map<string, InviteRecord> = new Map();
  /** Node keys (base64url) of members, to their ids. */
  readonly #byNodeKey = new Map<string, PeerId>();
  /** Node keys (base64url) that are no longer valid, with the sequence of the statement that ended them. */
  readonly #endedKeys = new Map<string, number>();
  /** Every invite key ever used, so that a revoked one cannot be used again. */
  readonly #inviteKeys = new Set<string>();
  readonly #wireGuardKeys = new Set<string>();
  readonly #inUse = new Set<string>();
  readonly #everUsed = new Set<string>();

  constructor(partyKey: Uint8Array) {
    this.partyKey = partyKey;
    this.id = partyIdOf(partyKey);
  }

  /** Number of statements: the sequence of the next one. */
  get length(): number {
    return this.head === undefined ? 0 : this.head.sequence + 1;
  }

  memberByKey(nodeKey: Uint8Array): Member | undefined {
    const id = this.#byNodeKey.get(toBase64(nodeKey));
    return id === undefined ? undefined : this.members.get(id);
  }

  /**
   * Returns the sequence of the statement that removed or replaced a member's key; undefined for current and unknown
   * keys.
   */
  endOfKey(nodeKey: Uint8Array): number | undefined {
    const key = toBase64(nodeKey);
    return this.#byNodeKey.has(key) ? undefined : this.#endedKeys.get(key);
  }

  invite(inviteKey: Uint8Array): InviteRecord | undefined {
    return this.invites.get(toBase64(inviteKey));
  }

  hasWireGuardKey(wireGuardKey: Uint8Array): boolean {
    return this.#wireGuardKeys.has(toBase64(wireGuardKey));
  }

  inviteKeyIsKnown(inviteKey: Uint8Array): boolean {
    return this.#inviteKeys.has(toBase64(inviteKey));
  }

  inUse(address: string): boolean {
    return this.#inUse.has(address);
  }

  everUsed(address: string): boolean {
    return this.#everUsed.has(address);
  }

  /** Adds or replaces a member. */
  putMember(member: Member): void {
    this.dropMember(member.id);
    this.members.set(member.id, member);
    this.#byNodeKey.set(toBase64(member.nodeKey), member.id);
    this.#wireGuardKeys.add(toBase64(member.wireGuardKey));
    this.#inUse.add(member.virtualAddress);
    this.#everUsed.add(member.virtualAddress);
  }

  dropMember(id: PeerId): void {
    const member = this.members.get(id);
    if (member === undefined) return;
    this.members.delete(id);
    const key = toBase64(member.nodeKey);
    this.#byNodeKey.delete(key);
    this.#endedKeys.set(key, this.length);
    this.#wireGuardKeys.delete(toBase64(member.wireGuardKey));
    this.#inUse.delete(member.virtualAddress);
  }

  putInvite(invite: InviteRecord): void {
    const key = toBase64(invite.inviteKey);
    this.invites.set(key, invite);
    this.#inviteKeys.add(key);
  }

  dropInvite(inviteKey: Uint8Array): void {
    this.invites.delete(toBase64(inviteKey));
  }

  advance(statement: SignedStatement): void {
    this.head = { sequence: statement.sequence, hash: statement.hash };
    this.timeMs = statement.timeMs;
    this.logBytes += statement.bytes.length;
    this.unvouched = statement.content.type === 'checkpoint' ? 0 : this.unvouched + 1;
  }
}
