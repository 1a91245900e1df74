import type { Clock, Log, Random } from '@towpath/core';
import type { Endpoint, TcpConnection, TcpHandlers } from '@towpath/net';
import type { LongTermAuth } from '../../client/long-term-auth.ts';
import type { StunError } from '../../client/stun-error.ts';
import type { StunTransactions } from '../../client/stun-transactions.ts';

/** What an allocation tells its user. */
export interface TurnHandlers {
  /** A datagram from a peer. `data` is the receiver's to keep. */
  onData(data: Uint8Array, from: Endpoint): void;
  /** The allocation is gone although `close` was not called: called once. */
  onLost?(error: StunError): void;
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
  log?: Log;
  transactions: StunTransactions;
  auth: LongTermAuth;
  server: Endpoint;
  /** ChannelData needs padding. */
  stream: boolean;
  grant: Grant;
  handlers: TurnHandlers;
  /** How often something is sent so that NATs on the way keep their mapping, ms. */
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
