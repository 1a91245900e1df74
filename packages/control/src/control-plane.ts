import type { Events } from '@towpath/core';
import type { PartyId, PeerId } from './identity/keys.ts';
import type { Invite } from './membership/invite.ts';
import type { InviteRecord, LogHead, Member } from './membership/party-state.ts';
import type { InvitedRole } from './membership/statement.ts';

/** Another member, and whether it can be signalled now. */
export interface PeerView extends Member {
  readonly online: boolean;
  /** What it announced last: its candidates, in whatever form the members agree on. Proven to be its own. */
  readonly announcement: Uint8Array | undefined;
}

/** One party that this node belongs to, as its verified log and the servers' presence say. */
export interface PartyView {
  readonly id: PartyId;
  readonly name: string;
  readonly partyKey: Uint8Array;
  /** This node's place in it. */
  readonly self: Member;
  readonly head: LogHead;
  /** The other members. */
  readonly peers: readonly PeerView[];
  /** Invites that were issued and not revoked, used up and expired ones included. */
  readonly invites: readonly InviteRecord[];
}

/** A TURN server that relays for members. */
export interface Relay {
  readonly id: string;
  /** `turn:host:port?transport=udp`, as in RFC 7065. */
  readonly urls: string[];
  /** Free text, `eu-central`; for choosing among relays of like quality. */
  readonly region: string;
  /** 0 idle … 1 full. */
  readonly load: number;
  readonly healthy: boolean;
}

/** Time-limited credentials for every relay of the list (the REST scheme of coturn). */
export interface TurnCredentials {
  readonly username: string;
  readonly credential: string;
  /** Unix time in ms by this node's clock. */
  readonly expiresAtMs: number;
  readonly urls: readonly string[];
}

/** Why a server, or somebody who altered its store, is not to be believed about a party. */
export type SuspicionKind =
  /** it presents a statement that nobody entitled has signed, or that breaks the rules */
  | 'forged'
  /** it shows two histories, or one that contradicts what this node has verified */
  | 'fork'
  /** it shows less of the log than this node has verified, or than the invite names */
  | 'rollback'
  /** another member has seen statements that the server does not show here */
  | 'withheld';

/** Something about a party does not add up. The state verified before stands; nothing of it is applied. */
export interface Suspicion {
  readonly party: PartyId;
  readonly kind: SuspicionKind;
  /** The statement that it is about. */
  readonly sequence: number;
  /** For people: what was noticed and what to do. */
  readonly message: string;
}

export interface ControlPlaneEvents {
  /** Members, roles or keys of a party changed, as its verified log says. */
  party: PartyView;
  /** This node is no member any more: removed, or left. */
  left: { party: PartyId; reason: 'removed' | 'left' };
  /** A peer came, went, or announced something new. */
  presence: { party: PartyId; peer: PeerView };
  /** A message of another member, proven to be its own, taken once. */
  signal: { party: PartyId; from: PeerId; data: Uint8Array };
  relays: readonly Relay[];
  /** Whether a server is reachable now. Without one, everything known keeps working. */
  server: { connected: boolean; address: string | undefined };
  suspicion: Suspicion;
}

/** What the rest of Towpath needs of a control plane. Everything it says about members is verified here. */
export interface ControlPlane extends AsyncDisposable {
  readonly events: Events<ControlPlaneEvents>;
  readonly connected: boolean;
  parties(): PartyView[];
  party(id: PartyId): PartyView | undefined;

  /** @throws ControlError, as all the following. */
  createParty(options: { name: string; memberName: string; signal?: AbortSignal }): Promise<PartyView>;
  join(invite: Invite, options: { memberName: string; signal?: AbortSignal }): Promise<PartyView>;
  /** Removes this node from the party. The founder appoints another one first. */
  leave(party: PartyId, options?: { signal?: AbortSignal }): Promise<void>;
  invite(party: PartyId, options?: InviteOptions): Promise<Invite>;
  /** Leaves an invite with the servers, sealed: whoever types the code that this returns gets it. */
  shareInvite(party: PartyId, invite: Invite, options?: { signal?: AbortSignal }): Promise<string>;
  /** The invite behind a link or a short code. */
  openInvite(linkOrCode: string, options?: { signal?: AbortSignal }): Promise<Invite>;
  revokeInvite(party: PartyId, inviteKey: Uint8Array, options?: { signal?: AbortSignal }): Promise<void>;
  remove(party: PartyId, peer: PeerId, options?: { signal?: AbortSignal }): Promise<void>;
  setRole(party: PartyId, peer: PeerId, role: InvitedRole, options?: { signal?: AbortSignal }): Promise<void>;

  /** Tells all members of a party how to reach this node; kept and told again after a reconnect. */
  announce(party: PartyId, data: Uint8Array): void;
  /**
   * Sends a message to one member, sealed for it; resolves when a server has passed it on to the peer's connection.
   * @throws ControlError `peer-offline` or `server-unavailable`.
   */
  signal(party: PartyId, peer: PeerId, data: Uint8Array, options?: { signal?: AbortSignal }): Promise<void>;

  relays(): readonly Relay[];
  turnCredentials(options?: { signal?: AbortSignal }): Promise<TurnCredentials>;

  /**
   * A member's head, heard over another way than the servers (a tunnel): so that servers cannot hide a removal from
   * members who still talk to each other. Raises `suspicion` when it does not fit.
   */
  observeHead(party: PartyId, from: PeerId, head: LogHead): void;
}

export interface InviteOptions {
  /** @default 'member' */
  role?: InvitedRole;
  /** @default 1 */
  maxUses?: number;
  /** How long it can be used, ms. @default 24 hours */
  validForMs?: number;
  signal?: AbortSignal;
}
