import type { Clock, Log, Random } from '@towpath/core';
import type { Network, TlsServerOptions } from '@towpath/net';
import type { CredentialsOptions } from './credentials.ts';
import type { PeerPolicyOptions } from './peer-policy.ts';

export interface TurnServerComponents {
  network: Network;
  clock: Clock;
  random: Random;
  log?: Log;
}

/** Where clients reach the server. */
export interface TurnListenerOptions {
  /** @default 'udp' */
  transport?: 'udp' | 'tcp' | 'tls';
  address: string;
  /** @default 3478, for TLS 5349 */
  port?: number;
  /** Certificate and key, for TLS. */
  tls?: TlsServerOptions;
}

/** An address that relayed ports are opened on. */
export interface RelayAddressOptions {
  address: string;
  /** What clients and peers are told, when the server is behind a one-to-one NAT. @default address */
  announce?: string;
}

/** What a user, a source and everybody together may use. */
export interface TurnLimits {
  /** Allocations at a time. @default 4096 */
  allocations: number;
  /** Allocations of one user at a time. @default 32 */
  allocationsPerUser: number;
  /** Requests of one user per second, with a burst of twice that. @default 200 */
  requestsPerSecondPerUser: number;
  /** Answers to unauthenticated requests from one source address per second. @default 200 */
  unauthenticatedPerSecond: number;
  /** Relayed bytes per second of one user, both directions together; Infinity is no limit. @default Infinity */
  bytesPerSecondPerUser: number;
  /** TCP and TLS connections of clients at a time. @default 4096 */
  connections: number;
}

export const DEFAULT_LIMITS: TurnLimits = {
  allocations: 4096,
  allocationsPerUser: 32,
  requestsPerSecondPerUser: 200,
  unauthenticatedPerSecond: 200,
  bytesPerSecondPerUser: Number.POSITIVE_INFINITY,
  connections: 4096,
};

export interface TurnServerInit {
  /** @default 'towpath' */
  realm?: string;
  listeners: readonly TurnListenerOptions[];
  /** One address per family that clients may be relayed on. */
  relay: readonly RelayAddressOptions[];
  /** First and last port for relaying. @default [49152, 65535] (RFC 8656 §7.2) */
  relayPorts?: readonly [number, number];
  credentials: CredentialsOptions;
  limits?: Partial<TurnLimits>;
  peers?: PeerPolicyOptions;
  /** How long a nonce is good for, ms. @default 600000 */
  nonceLifetimeMs?: number;
  /** Signs nonces; servers that share one accept each other's. @default random */
  nonceSecret?: Uint8Array;
  /**
   * This server is one of several processes that share their ports and relay addresses. Allocations may send to
   * every port of {@link relayPorts} on the relay addresses, because it may be another process's. TCP allocations
   * are refused with 442: the kernel would hand their data connections to any of the processes. @default false
   */
  shared?: boolean;
  /** Longest life of an allocation without refresh, ms. @default 3600000 */
  maxLifetimeMs?: number;
  /** Sent as SOFTWARE; absent sends nothing. */
  software?: string;
  signal?: AbortSignal;
}

/** Default and smallest life of an allocation (RFC 8656 §3.2, §7.2). */
export const DEFAULT_LIFETIME_MS = 600_000;
/** Life of a permission (RFC 8656 §9). */
export const PERMISSION_LIFETIME_MS = 300_000;
/** Life of a channel (RFC 8656 §12). */
export const CHANNEL_LIFETIME_MS = 600_000;
/** How long a reserved port waits for its token (RFC 8656 §7.2). */
export const RESERVATION_LIFETIME_MS = 30_000;
/** A client with more peers than this is not connecting but scanning. */
export const MAX_PERMISSIONS = 512;
/** A client that binds more channels than this on one allocation wants to use up memory. */
export const MAX_CHANNELS = 512;
/** How far a client's TCP connection may fall behind before datagrams for it are dropped, in bytes. */
export const MAX_STREAM_BACKLOG_BYTES: number = 1 << 18;

/** Counters of a server; a snapshot of a moment. */
export interface TurnServerStats {
  /** Living allocations. */
  allocations: number;
  /** Allocations ever made. */
  allocated: number;
  /** Allocations refused, by error code. */
  refused: Record<number, number>;
  /** Users that have allocations. */
  users: number;
  /** TCP and TLS connections of clients. */
  connections: number;
  /** Binding requests answered. */
  bindings: number;
  /** Requests answered with 401, 438 or 441. */
  unauthenticated: number;
  packetsToPeers: number;
  bytesToPeers: number;
  packetsToClients: number;
  bytesToClients: number;
  dropped: {
    /** to or from a peer without permission, or on a channel that is not bound */
    notPermitted: number;
    /** over the user's bandwidth */
    bandwidth: number;
    /** a TCP client is too slow */
    backlog: number;
    /** neither STUN nor ChannelData, or damaged */
    malformed: number;
    /** over the rate of a source or user */
    rate: number;
  };
}

/** Stats without what is counted elsewhere. */
export type TurnCounters = Omit<TurnServerStats, 'allocations' | 'users' | 'connections'>;

export function newCounters(): TurnCounters {
  return {
    allocated: 0,
    refused: {},
    bindings: 0,
    unauthenticated: 0,
    packetsToPeers: 0,
    bytesToPeers: 0,
    packetsToClients: 0,
    bytesToClients: 0,
    dropped: { notPermitted: 0, bandwidth: 0, backlog: 0, malformed: 0, rate: 0 },
  };
}
