import type { Clock, Log, Random } from '@towpath/core';
import type { Network, TlsServerOptions } from '@towpath/net';
import type { PlaneStats, RelayPlane } from '@towpath/splice';
import type { CredentialsOptions } from './credentials.ts';
import type { TurnGroupLimits } from './group-quotas.ts';
import type { PeerPolicyOptions } from './peer-policy.ts';

export interface TurnServerComponents {
  network: Network;
  clock: Clock;
  random: Random;
  log?: Log | undefined;
  /** The kernel, which forwards for plain ports where it can; without it, the server does. */
  plane?: RelayPlane | undefined;
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
  /** Address announced to clients and peers, behind a one-to-one NAT. @default address */
  announce?: string;
}

/** Limits of a user, of a source, and in total. */
export interface TurnLimits {
  /** Allocations at a time. @default 4096 */
  allocations: number;
  /** Allocations of one user at a time. @default 32 */
  allocationsPerUser: number;
  /** Requests of one user per second, with a burst of twice that. @default 200 */
  requestsPerSecondPerUser: number;
  /** Answers to unauthenticated requests from one network (IPv4 /24, IPv6 /56) per second. @default 100 */
  unauthenticatedPerSecond: number;
  /** The same from all networks together. @default 2000 */
  unauthenticatedPerSecondTotal: number;
  /** Answers to Binding requests from one network per second. @default 500 */
  bindingsPerSecond: number;
  /** The same from all networks together. @default 20000 */
  bindingsPerSecondTotal: number;
  /** Relayed bytes per second of one user, both directions together; Infinity is no limit. @default Infinity */
  bytesPerSecondPerUser: number;
  /** Ports for plain relaying at a time (docs/protocol/turn-plain.md); 0 offers none. @default 4096 */
  plainPorts: number;
  /** Of these, ports of one user. @default 64 */
  plainPortsPerUser: number;
  /** TCP and TLS connections of clients at a time, unfinished handshakes included. @default 4096 */
  connections: number;
  /** Of these, connections of one IPv4 address or one IPv6 /64. @default 256 */
  connectionsPerAddress: number;
}

export const DEFAULT_LIMITS: TurnLimits = {
  allocations: 4096,
  allocationsPerUser: 32,
  requestsPerSecondPerUser: 200,
  unauthenticatedPerSecond: 100,
  unauthenticatedPerSecondTotal: 2_000,
  bindingsPerSecond: 500,
  bindingsPerSecondTotal: 20_000,
  bytesPerSecondPerUser: Number.POSITIVE_INFINITY,
  plainPorts: 4096,
  plainPortsPerUser: 64,
  connections: 4096,
  connectionsPerAddress: 256,
};

export interface TurnServerOptions {
  /** @default 'towpath' */
  realm?: string;
  listeners: readonly TurnListenerOptions[];
  /** One address per family that clients may be relayed on. */
  relay: readonly RelayAddressOptions[];
  /** First and last port for relaying. @default [49152, 65535] (RFC 8656 §7.2) */
  relayPorts?: readonly [number, number];
  credentials: CredentialsOptions;
  limits?: Partial<TurnLimits>;
  /** Limits that users share with others of their group, besides their own. @default none */
  groups?: readonly TurnGroupLimits[];
  peers?: PeerPolicyOptions;
  /** Validity of a nonce, ms. @default 600000 */
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
  signal?: AbortSignal | undefined;
}

/** Default and smallest life of an allocation (RFC 8656 §3.2, §7.2). */
export const DEFAULT_LIFETIME_MS = 600_000;
/** Life of a permission (RFC 8656 §9). */
export const PERMISSION_LIFETIME_MS = 300_000;
/** Life of a channel (RFC 8656 §12). */
export const CHANNEL_LIFETIME_MS = 600_000;
/** How long a reserved port waits for its token (RFC 8656 §7.2). */
export const RESERVATION_LIFETIME_MS = 30_000;
/** More peers than this are a scan, not connections. */
export const MAX_PERMISSIONS = 512;
/** Channels of one allocation; bounds its memory. */
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
  /** Allocations refused with 486, by the limit that was reached: `total`, `user`, or the name of a kind of group. */
  quotaReached: Record<string, number>;
  /** Users that have allocations. */
  users: number;
  /** TCP and TLS connections of clients, unfinished handshakes included. */
  connections: number;
  /** Of these, connections without an allocation. */
  connectionsUnused: number;
  /** Connections that were refused because every place was in use. */
  connectionsRefused: number;
  /** Unused connections that were closed to make room for others. */
  connectionsEvicted: number;
  /** Ports for plain relaying. */
  plainPorts: number;
  /** What the kernel has forwarded; its packets are in no other counter. Undefined without a kernel. */
  kernel: PlaneStats | undefined;
  /** Binding requests answered. */
  bindings: number;
  /** Requests answered with 401, 438 or 441. */
  unauthenticated: number;
  /** ICMP errors that clients were told of. */
  icmpErrors: number;
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
export type TurnCounters = Omit<
  TurnServerStats,
  | 'allocations'
  | 'users'
  | 'plainPorts'
  | 'kernel'
  | 'connections'
  | 'connectionsUnused'
  | 'connectionsRefused'
  | 'connectionsEvicted'
>;

export function newCounters(): TurnCounters {
  return {
    allocated: 0,
    refused: {},
    quotaReached: {},
    bindings: 0,
    unauthenticated: 0,
    icmpErrors: 0,
    packetsToPeers: 0,
    bytesToPeers: 0,
    packetsToClients: 0,
    bytesToClients: 0,
    dropped: { notPermitted: 0, bandwidth: 0, backlog: 0, malformed: 0, rate: 0 },
  };
}
