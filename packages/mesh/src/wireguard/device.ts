import type { Endpoint } from '@towpath/net';

/** A change of one peer of a WireGuard interface; what is absent stays as it is. */
export interface PeerChange {
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  /** Removes the peer; all other fields are ignored. */
  readonly remove?: boolean;
  /** Changes the peer only if it exists: a change that comes late must not create it again. */
  readonly updateOnly?: boolean;
  /** 32 bytes. */
  readonly presharedKey?: Uint8Array;
  readonly endpoint?: Endpoint;
  /** 0 turns it off. */
  readonly persistentKeepaliveSeconds?: number;
  /** Replaces the networks that the peer may use, `10.66.0.7/32`. */
  readonly allowedIps?: readonly string[];
}

/** A change of a WireGuard interface; what is absent stays as it is. */
export interface DeviceChange {
  /** 32 bytes; never logged and never on a command line. */
  readonly privateKey?: Uint8Array;
  /** UDP port; 0 lets the system choose. */
  readonly listenPort?: number;
  /** Removes all peers that `peers` does not name. */
  readonly replacePeers?: boolean;
  readonly peers?: readonly PeerChange[];
}

/** One peer as WireGuard reports it. */
export interface WireGuardPeer {
  readonly publicKey: Uint8Array;
  /** Where it sends to, and heard the peer from last. */
  readonly endpoint: Endpoint | undefined;
  readonly allowedIps: readonly string[];
  /** Of the last completed handshake, ms since 1970; undefined before the first. */
  readonly lastHandshakeMs: number | undefined;
  readonly receivedBytes: number;
  readonly sentBytes: number;
  readonly persistentKeepaliveSeconds: number;
}

/** A WireGuard interface as it reports itself, without its secrets. */
export interface WireGuardDevice {
  readonly listenPort: number;
  readonly peers: readonly WireGuardPeer[];
}

/** How a WireGuard interface is configured: over the UAPI socket of wireguard-go, or with `wg` for the kernel's. */
export interface DeviceControl {
  /** @throws MeshError `wireguard-failed` when the change is refused or nobody answers. */
  configure(change: DeviceChange, signal?: AbortSignal): Promise<void>;
  /** @throws MeshError `wireguard-failed`. */
  read(signal?: AbortSignal): Promise<WireGuardDevice>;
}
