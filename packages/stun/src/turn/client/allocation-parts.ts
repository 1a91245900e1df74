import type { Clock, Log, PathHealth, Random } from '@towpath/core';
import type { Endpoint, TcpConnection, TcpHandlers } from '@towpath/net';
import type { IcmpValue } from '../../message/attribute.ts';
import type { LongTermAuth, LongTermCredentials } from '../../client/long-term-auth.ts';
import type { StunError } from '../../client/stun-error.ts';
import type { StunTransactions } from '../../client/stun-transactions.ts';
import type { SharedSocket } from './plain-paths.ts';

/** What an allocation tells its user. */
export interface TurnHandlers {
  /** A datagram from a peer. `data` is the receiver's to keep. */
  onData(data: Uint8Array, from: Endpoint): void;
  /** The allocation is gone although `close` was not called: called once. */
  onLost?(error: StunError): void;
  /**
   * Whether the server answers: `suspect` after two and `dead` after four requests without an answer. Over UDP the
   * allocation may still be there after `dead`, and `good` can follow; over TCP and TLS `onLost` follows.
   */
  onHealth?(health: PathHealth): void;
  /** A datagram to a peer was rejected on its path (RFC 8656 §11.5): its ICMP type and code. */
  onIcmpError?(peer: Endpoint, icmp: IcmpValue): void;
  /** A peer has connected to the relayed address of a TCP allocation; take it over with `acceptTcp`. */
  onConnection?(connectionId: number, peer: Endpoint): void;
}

/** What the server granted. */
export interface Grant {
  /** The relayed addresses, one or, for a dual allocation, two. */
  readonly relayed: readonly Endpoint[];
  /** Our own address as the server sees it. */
  readonly mapped: Endpoint;
  readonly lifetimeMs: number;
}

export interface TurnAllocationParts {
  clock: Clock;
  random: Random;
  log?: Log | undefined;
  transactions: StunTransactions;
  auth: LongTermAuth;
  server: Endpoint;
  /** Present where the server is reached from a UDP socket that can send elsewhere too: plain relaying is possible. */
  plain?: { socket: SharedSocket; credentials: LongTermCredentials } | undefined;
  /** ChannelData needs padding. */
  stream: boolean;
  grant: Grant;
  handlers: TurnHandlers;
  /** How often the server is asked while the allocation is idle, which also keeps NAT mappings alive, ms. */
  keepAliveMs: number;
  send(data: Uint8Array): void;
  /** Opens a data connection (RFC 6062 §4.3); undefined where the server is not reached over TCP. */
  openData: ((data: DataRequest) => Promise<TcpConnection>) | undefined;
  /** Gives the socket back. */
  release(): Promise<void>;
}

/** What a data connection is for. */
export interface DataRequest {
  connectionId: number;
  peer: Endpoint;
  handlers: TcpHandlers;
  auth: LongTermAuth;
  signal: AbortSignal;
}
