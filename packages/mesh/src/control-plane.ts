import type { LogHead, PartyId, PeerId } from '@towpath/membership';

/** A member of a party, as its verified log says. */
export interface MeshMember {
  readonly id: PeerId;
  /** What it calls itself; not unique. */
  readonly name: string;
  /** 32 bytes, proven to be the member's. */
  readonly wireGuardKey: Uint8Array;
  /** In 10.66.0.0/16; see {@link addressIn} for parties that use another network. */
  readonly virtualAddress: string;
  /** Its place in the party's log: larger for whoever joined later. */
  readonly joinedAtSequence: number;
}

/** Another member, and whether it can be signalled now. */
export interface MeshPeer extends MeshMember {
  readonly online: boolean;
  /** What it announced last, proven to be its own. */
  readonly announcement: Uint8Array | undefined;
}

export interface MeshParty {
  readonly id: PartyId;
  readonly name: string;
  /** This node. */
  readonly self: MeshMember;
  readonly peers: readonly MeshPeer[];
}

/** A TURN server that relays for members. */
export interface MeshRelay {
  readonly id: string;
  /** `turn:host:port?transport=udp` (RFC 7065). */
  readonly urls: readonly string[];
  readonly region: string;
  /** 0 idle … 1 full. */
  readonly load: number;
  readonly healthy: boolean;
}

/** Time-limited credentials for every relay of the list. */
export interface RelayCredentials {
  readonly username: string;
  readonly credential: string;
  readonly expiresAtMs: number;
  readonly urls: readonly string[];
}

export interface MeshControlEvents {
  /** Members or keys of a party changed. */
  party: { readonly id: PartyId };
  /** This node is no member any more. */
  left: { readonly party: PartyId };
  /** A peer came, went, or announced something new. */
  presence: { readonly party: PartyId; readonly peer: MeshPeer };
  /** A message of another member, proven to be its own, taken once. */
  signal: { readonly party: PartyId; readonly from: PeerId; readonly data: Uint8Array };
  relays: readonly MeshRelay[];
  /** Whether a server is reachable now. */
  server: { readonly connected: boolean };
}

/**
 * What the mesh needs of a control plane. `@towpath/control`'s has it; tests have their own. Everything that it says about
 * members has been verified; a server behind it can withhold, but not forge.
 */
export interface ControlPlane {
  readonly events: {
    on<Name extends keyof MeshControlEvents>(
      name: Name,
      listener: (value: MeshControlEvents[Name]) => void,
    ): () => void;
  };
  /** False while no server is reachable: what is known stays, signals fail. */
  readonly connected: boolean;
  party(id: PartyId): MeshParty | undefined;
  /**
   * Sends a message to one member, sealed for it, of at most 8 KiB.
   * @throws when the peer is offline or no server is reachable.
   */
  signal(party: PartyId, peer: PeerId, data: Uint8Array, options?: { signal?: AbortSignal }): Promise<void>;
  /** Tells all members something of this node, at most 4 KiB; kept and told again after a reconnect. */
  announce(party: PartyId, data: Uint8Array): void;
  relays(): readonly MeshRelay[];
  /**
   * Takes the end of the party's log as another member knows it, told through the tunnel: a server that shows members
   * different logs is found out.
   */
  observeHead?(party: PartyId, from: PeerId, head: LogHead): void;
  /** @throws when no server is reachable. */
  turnCredentials(options?: { signal?: AbortSignal }): Promise<RelayCredentials>;
}
