import type { PathKind } from '@towpath/core';
import type { Endpoint } from '@towpath/net';

/** Between these two, datagrams leave and arrive unchanged. */
export interface PlainEnds {
  readonly local: Endpoint;
  readonly remote: Endpoint;
}

/** Sends one datagram of WireGuard, without waiting. */
export type SendDatagram = (datagram: Uint8Array) => void;

/** One verified path that WireGuard's datagrams to a peer can take. */
export interface PeerPath {
  /** Unique among the paths of the peer. */
  readonly id: string;
  readonly kind: PathKind;
  readonly family: 4 | 6;
  /** The path socket that it uses. */
  readonly local: Endpoint;
  /** Where its datagrams go: the peer, a relayed address, or a relay server. */
  readonly remote: Endpoint;
  /** The relay that it goes through, as a person reads it; undefined for direct paths. */
  readonly relay: string | undefined;
  /**
   * True when a datagram of WireGuard leaves unchanged from `local` to `remote` and comes back the same way, so that the
   * kernel can do it: direct paths, a peer's relayed address, and a relay's plain port. False for TURN channels and TCP. May
   * change while the path is used; the path is selected again then.
   */
  readonly isPlain: boolean;
  /** The path socket and the relay's plain port (docs/protocol/turn-plain.md), instead of `local` and `remote`. */
  readonly plain?: PlainEnds | undefined;
  /** Sends one datagram of WireGuard, without waiting; a failure shows in the path's health. */
  send(datagram: Uint8Array): void;
}
