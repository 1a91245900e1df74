import type { Clock, Log, PathKind } from '@towpath/core';
import type { Endpoint, Network } from '@towpath/net';
import type { StreamCipher } from '../cipher/stream-cipher.ts';
import type { Message } from '../codec/message.ts';
import type { SessionOptions } from '../session/options.ts';
import type { PpppSession } from '../session-types.ts';

/** Components of a {@link PpppDevice}. */
export interface PpppDeviceComponents {
  network: Network;
  clock: Clock;
  log?: Log | undefined;
}

/** Options of a {@link PpppDevice}. */
export interface PpppDeviceOptions {
  /** UID of the device in text form. */
  uid: string;
  /** Port of the listen socket, where sessions run. @default any free port */
  listenPort?: number;
  /** Local address of both sockets. @default all addresses */
  address?: string;
  /** Port for LAN search, shared with other devices; `false`: the device cannot be found. @default 32108 */
  searchPort?: number | false;
  /** Network keys of the device, in addition to plaintext. @default none */
  keys?: readonly string[];
  /** Understand and answer plaintext. @default true */
  plaintext?: boolean;
  /** Most sessions at the same time; further clients get no answer. @default 8 */
  maxSessions?: number;
  /**
   * Send 51 copies of 0x43 before P2P_RDY to clients that searched, as the recorded camera does (docs/protocol/pppp.md,
   * "Message 0x43"). @default false
   */
  offersTcp?: boolean;
  /** How the sessions behave, such as `{ sending: 'as-device', closeOnBadAck: true }`. */
  session?: SessionOptions;
  /** False: punches from there are ignored, as by a firewall on (address, port). @default all are accepted */
  admits?: (from: Endpoint) => boolean;
  /** A client has connected; P2P_RDY was sent for the first time. Write the greeting at once. */
  onSession(session: PpppSession): void;
  /** A message to the listen socket that is neither a punch nor of a session: a rendezvous server's, a relay's. */
  onMessage?: (message: Message, from: Endpoint, cipher: StreamCipher | undefined) => void;
}

/** A component that uses a device's listen socket: a registration at rendezvous servers. */
export interface DeviceCompanion {
  /** As {@link PpppDeviceOptions.onMessage}. */
  onMessage(message: Message, from: Endpoint, cipher: StreamCipher | undefined): void;
  /** Path kind of a client that punches from there; undefined: not known here. */
  pathKindOf(from: Endpoint): PathKind | undefined;
}
