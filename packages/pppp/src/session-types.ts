import type { PathKind } from '@towpath/core';
import type { Endpoint } from '@towpath/net';

/** Role of this end of a session. */
export type SessionRole = 'client' | 'device';

/** Why a session is over. */
export type CloseReason =
  /** we called `close` */
  | 'closed-locally'
  /** the peer sent CLOSE */
  | 'closed-by-peer'
  /** keep-alives went unanswered (docs/protocol/pppp.md, "Keep-alive") */
  | 'timed-out'
  /** the carrier broke (socket closed, TCP connection ended) */
  | 'carrier-failed';

/** Callbacks of a session. Handlers run synchronously and must not throw. */
export interface SessionHandlers {
  /** The next bytes of a channel's stream, in order, exactly once. `data` is the receiver's to keep. */
  onData(channel: number, data: Uint8Array): void;
  /** `bufferedBytes(channel)` has fallen below the low-water mark after `write` returned false. */
  onDrain?(channel: number): void;
  /** Called exactly once. Undelivered and unsent data is discarded. */
  onClose?(reason: CloseReason): void;
}

/** Counters of one session; a snapshot. */
export interface SessionStats {
  /** Smoothed round-trip time in ms, undefined before the first sample. */
  rttMs: number | undefined;
  /** Smallest round-trip time in ms, absent before the first sample. */
  minRttMs?: number | undefined;
  /** Bytes of all datagrams, repeats and headers included. */
  bytesSent: number;
  bytesReceived: number;
  packetsSent: number;
  packetsReceived: number;
  retransmissions: number;
  duplicatesReceived: number;
  /** Packets sent and not yet acknowledged or taken for lost. */
  inFlight?: number;
  /** Datagrams that were malformed, of unknown type, or came from somebody else. */
  rejected: number;
  /** Clock time (`Clock.now`) of the last datagram from the peer. */
  lastReceivedAt: number;
}

/** A PPPP session: eight reliable, ordered byte channels to one peer, seen from either end. */
export interface PpppSession extends AsyncDisposable {
  readonly role: SessionRole;
  readonly pathKind: PathKind;
  /** Text form of the device's UID, `PREFIX-000001-CHECK`. */
  readonly uid: string;
  readonly local: Endpoint;
  /** The peer's address, or the relay's. */
  readonly peer: Endpoint;
  /** Why it is over; undefined while it lives. */
  readonly closed: CloseReason | undefined;
  readonly stats: SessionStats;
  /** Takes the session over. What arrived before is delivered at once, in order. */
  attach(handlers: SessionHandlers): void;
  /**
   * Queues bytes on a channel (0–7). Returns false when the queue is over the high-water mark: wait for `onDrain`.
   * Writing to a closed session is ignored and returns false.
   */
  write(channel: number, data: Uint8Array): boolean;
  /** Bytes queued or in flight, not yet acknowledged. */
  bufferedBytes(channel: number): number;
  /** Stops reading a channel (its receive window fills, the peer slows down) or continues. */
  setPaused(channel: number, paused: boolean): void;
  /** Sends CLOSE (three copies, docs/protocol/pppp.md, "Closing") and releases the carrier. Idempotent. */
  close(): Promise<void>;
}
