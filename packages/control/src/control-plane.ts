import type { Events } from '@towpath/core';
import type { Invite, InvitedRole, InviteRecord, LogHead, Member, PartyId, PeerId } from '@towpath/membership';

/** Another member and its presence. */
export interface PeerView extends Member {
  readonly online: boolean;
  /** Its last announcement: candidates, in the members' own format. Verified to be its own. */
  readonly announcement: Uint8Array | undefined;
}

/** One party of this node: its verified log and the presence of its members. */
export interface PartyView {
  readonly id: PartyId;
  readonly name: string;
  readonly partyKey: Uint8Array;
  /** This node's member record. */
  readonly self: Member;
  readonly head: LogHead;
  /** The other members. */
  readonly peers: readonly PeerView[];
  /** Invites that were not revoked, including used up and expired ones. */
  readonly invites: readonly InviteRecord[];
}

/** A TURN server for members. */
export interface Relay {
  readonly id: string;
  /** `turn:host:port?transport=udp`, as in RFC 7065. */
  readonly urls: string[];
  /** Free text, `eu-central`; to choose among relays of equal quality. */
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

/** Kinds of verification failures of a server's data. */
export type SuspicionKind =
  /** the server presents a statement without a valid signature, or one that breaks the rules */
  | 'forged'
  /** it shows two histories, or one that contradicts what this node has verified */
  | 'fork'
  /** it shows less of the log than this node has verified, or than the invite contains */
  | 'rollback'
  /** another member has statements that the server does not show here */
  | 'withheld'
  /** it gives a date far from this machine's clock, which was not followed: one of the two clocks is wrong */
  | 'clock';

/** A verification failure of a party. The verified state stays in force; none of the refused data is applied. */
export interface Suspicion {
  readonly party: PartyId;
  readonly kind: SuspicionKind;
  /** The statement that it is about. */
  readonly sequence: number;
  /** For people: what was found and what to do. */
  readonly message: string;
}

/** A server's date is too far from this machine's clock: one of the two is wrong. */
export interface ClockProblem {
  /** For people: both dates, and what to do. */
  readonly message: string;
  /** Since when, by this machine's clock, ms since 1970. */
  readonly sinceMs: number;
}

export interface ControlPlaneEvents {
  /** Members, roles or keys of a party changed in its verified log. */
  party: PartyView;
  /** This node is no longer a member: removed, or left. */
  left: { party: PartyId; reason: 'removed' | 'left' };
  /** A peer connected, disconnected, or changed its announcement. */
  presence: { party: PartyId; peer: PeerView };
  /** A message of another member, verified and accepted once. */
  signal: { party: PartyId; from: PeerId; data: Uint8Array };
  relays: readonly Relay[];
  /** Whether a server is reachable. Without one, stored data stays usable. */
  server: { connected: boolean; address: string | undefined };
  suspicion: Suspicion;
}

/** What Towpath needs from a control plane. All data about members is verified. */
export interface ControlPlane extends AsyncDisposable {
  readonly events: Events<ControlPlaneEvents>;
  readonly connected: boolean;
  parties(): PartyView[];
  party(id: PartyId): PartyView | undefined;

  /**
   * Creates a party whose founder is this node. This and all methods below throw ControlError and the signal's reason.
   * @param options.setupCode for a server that takes parties only from whoever has one
   */
  createParty(options: {
    name: string;
    memberName: string;
    setupCode?: string;
    signal?: AbortSignal | undefined;
  }): Promise<PartyView>;
  /** Makes this node a member of the party that the invite is for; returns the party when it is one already. */
  join(invite: Invite, options: { memberName: string; signal?: AbortSignal }): Promise<PartyView>;
  /** Removes this node from the party. A founder must appoint another founder first. */
  leave(party: PartyId, options?: { signal?: AbortSignal }): Promise<void>;
  /** Creates an invite. */
  invite(party: PartyId, options?: InviteOptions): Promise<Invite>;
  /** Stores a sealed invite on the servers and returns the code that opens it. */
  shareInvite(party: PartyId, invite: Invite, options?: { signal?: AbortSignal }): Promise<string>;
  /** Returns the invite of a link or a short code. */
  openInvite(linkOrCode: string, options?: { signal?: AbortSignal }): Promise<Invite>;
  /** Ends an invite: nobody can join by it any more. */
  revokeInvite(party: PartyId, inviteKey: Uint8Array, options?: { signal?: AbortSignal }): Promise<void>;
  /** Removes another member. */
  remove(party: PartyId, peer: PeerId, options?: { signal?: AbortSignal }): Promise<void>;
  /** Changes the role of another member. */
  setRole(party: PartyId, peer: PeerId, role: InvitedRole, options?: { signal?: AbortSignal }): Promise<void>;

  /** Announces to all members of a party how to reach this node; repeated after a reconnect. */
  announce(party: PartyId, data: Uint8Array): void;
  /**
   * Sends a message to one member, sealed for it; resolves when the peer has confirmed it.
   * @throws ControlError `peer-offline`, `no-answer`, `signal-refused` or `server-unavailable`.
   */
  signal(party: PartyId, peer: PeerId, data: Uint8Array, options?: { signal?: AbortSignal }): Promise<void>;

  /** Returns the relays that the servers named last. */
  relays(): readonly Relay[];
  /** Returns credentials for these relays: issued before, while they are valid for two more minutes, or new ones. */
  turnCredentials(options?: { signal?: AbortSignal }): Promise<TurnCredentials>;

  /**
   * Takes a member's head from another channel than the servers (a tunnel), so that servers cannot hide a removal from
   * members that are connected to each other. Emits `suspicion` when it does not match.
   */
  observeHead(party: PartyId, from: PeerId, head: LogHead): void;
}

export interface InviteOptions {
  /** @default 'member' */
  role?: InvitedRole;
  /** @default 1 */
  maxUses?: number;
  /** Validity, ms. @default 24 hours */
  validForMs?: number;
  signal?: AbortSignal | undefined;
}
