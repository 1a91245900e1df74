import type { Random } from '@towpath/core';
import type { Endpoint } from '@towpath/net';
import type { StreamCipher } from '../../cipher/stream-cipher.ts';
import type { AttemptOptions, ConnectComponents } from '../../client/options.ts';

/** What an attempt that uses servers works with. */
export interface RemoteComponents extends ConnectComponents {
  /** Randomises intervals, so that many clients do not send at the same time. */
  random: Random;
}

/** Settings of attempts that use servers. */
export interface RemoteAttemptOptions extends Omit<AttemptOptions, 'pathKind'> {
  /** UID of the device, as people write it. */
  uid: string;
  /** Rendezvous servers; all are asked at once. */
  servers: readonly Endpoint[];
  /** Cipher of a keyed network, towards servers, relays and device. @default plaintext */
  cipher?: StreamCipher;
  /** The device's secret (DSK), at most 20 printable ASCII characters. */
  secret?: string | undefined;
  /** A server without an answer for this time counts as unreachable, ms. @default 3000 */
  serverLimitMs?: number;
  /**
   * A server reports that several devices claim the UID; it connects to the first of them. Called once.
   * @default a warning in the log
   */
  onContested?: (server: Endpoint) => void;
}

/** What the functions take that connect with the help of servers. */
export interface RemoteOptions extends RemoteComponents, RemoteAttemptOptions {}

export const DEFAULT_SERVER_LIMIT_MS = 3_000;

/**
 * Version in requests: the one that servers expect of clients that use secrets (docs/protocol/pppp.md,
 * "Rendezvous messages").
 */
export const API_VERSION: readonly [number, number, number] = [4, 0, 0];
