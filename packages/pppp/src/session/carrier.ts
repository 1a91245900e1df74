import type { Endpoint } from '@towpath/net';
import type { SessionMode } from '../session-types.ts';

/** What carries the datagrams of one session: a UDP socket of its own, a share of one, a relay connection. */
export interface SessionCarrier {
  readonly mode: SessionMode;
  readonly local: Endpoint;
  /** The peer's address, or the relay's. */
  readonly peer: Endpoint;
  /** Sends one datagram to the peer, without waiting. The bytes do not change afterwards. */
  send(datagram: Uint8Array): void;
  /** Lets go of whatever carries. Idempotent. */
  close(): Promise<void>;
}
