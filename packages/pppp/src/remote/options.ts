import type { Random } from '@towpath/core';
import type { Endpoint } from '@towpath/net';
import type { StreamCipher } from '../cipher/stream-cipher.ts';
import type { ConnectOptions } from '../client/options.ts';

/** What the ways that need servers have in common. */
export interface RemoteOptions extends Omit<ConnectOptions, 'mode' | 'random'> {
  /** Spreads repeats, so that many clients do not send in step. */
  random: Random;
  /** UID of the device, as people write it. */
  uid: string;
  /** Rendezvous servers; all are asked at once. */
  servers: readonly Endpoint[];
  /** Cipher of a keyed network, towards servers, relays and device. @default plaintext */
  cipher?: StreamCipher;
  /** The device's secret (DSK), at most 20 printable ASCII characters. */
  secret?: string;
  /** A server that has said nothing for so long counts as unreachable, in ms. @default 3000 */
  serverPatienceMs?: number;
}

export const DEFAULT_SERVER_PATIENCE_MS = 3_000;

/** What our requests say of us: the version that servers expect of clients that know secrets (spec §5.1). */
export const API_VERSION: readonly [number, number, number] = [4, 0, 0];
