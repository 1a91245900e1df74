import { toBase64 } from '../encoding/bytes.ts';
import { type PartyId, type PeerId, partyIdOf } from '../identity/keys.ts';
import type { InvitedRole, Role, SignedStatement } from './statement.ts';

/** A member of a party, as the log proves it. */
export interface Member {
  readonly id: PeerId;
  /** What it calls itself; not unique. */
  readonly name: string;
  readonly role: Role;
  readonly nodeKey: Uint8Array;
  readonly wireGuardKey: Uint8Array;
  /** In 10.66.0.0/16 (C5). */
  readonly virtualAddress: string;
  /** Its own clock when it joined, ms since 1970. */
  readonly joinedAtMs: number;
  /** How often it has replaced its keys. */
  readonly rotations: number;
  /** The invite that it came with; undefined for the founder. */
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

/** The newest statement of a log: its place and hash. A party's whole history hangs on it. */
export interface LogHead {
  readonly sequence: number;
  readonly hash: Uint8Array;
}

/** What a party's log amounts to. Changed by {@link commitStatement} only. */
export class PartyState {
  readonly partyKey: Uint8Array;
  readonly id: PartyId;
  name = '';
  founder: PeerId = '';
  /** Undefined before the first statement. */
  head: LogHead | undefined;
  /** Statements since the last checkpoint: what a newcomer has to check one by one. */
  unvouched = 0;
  /** Time of the newest statement. */
  timeMs = 0;
  readonly members: Map<PeerId, Member> = new Map();
  /** By base64url of the invite's key. */
  readonly invites: Map<string, InviteRecord> = new Map();
  /** Node keys (base64url) of members, to their ids. */
  readonly #byNodeKey = new Map<string, PeerId>();
  /** Node keys (base64url) that no longer count, to the statement that ended them. */
  readonly #endedKeys = new Map<string, number>();
  /** Every invite key that was ever issued, so that a revoked one cannot come back. */
  readonly #inviteKeys = new Set<string>();
  readonly #wireGuardKeys = new Set<string>();
  readonly #inUse = new Set<string>();
  readonly #everUsed = new Set<string>();

  constructor(partyKey: Uint8Array) {
    this.partyKey = partyKey;
    this.id = partyIdOf(partyKey);
  }

  /** How many statements the log has: the sequence of the next one. */
  get length(): number {
    return this.head === undefined ? 0 : this.head.sequence + 1;
  }

  memberByKey(nodeKey: Uint8Array): Member | undefined {
    const id = this.#byNodeKey.get(toBase64(nodeKey));
    return id === undefined ? undefined : this.members.get(id);
  }

  /** The sequence of the statement that removed or replaced a member's key; undefined if it never was one, or is. */
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
    this.unvouched = statement.content.type === 'checkpoint' ? 0 : this.unvouched + 1;
  }
}
