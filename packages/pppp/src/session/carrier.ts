import type { PathKind } from '@towpath/core';
import type { Endpoint } from '@towpath/net';

/** What carries the datagrams of one session: a UDP socket of its own, a share of one, a relay connection. */
export interface SessionCarrier {
  readonly pathKind: PathKind;
  readonly local: Endpoint;
  /** The peer's address, or the relay's. */
  readonly peer: Endpoint;
  /** Sends one datagram to the peer, without waiting. The bytes do not change afterwards. */
  send(datagram: Uint8Array): void;
  /**
   * Takes a message that came from the peer's address and belongs to the path itself, such as a relay's.
   * @param type its type byte
   * @returns false when it is for the session
   */
  intercepts?(type: number): boolean;
  /** Lets go of whatever carries. Idempotent. */
  close(): Promise<void>;
}
