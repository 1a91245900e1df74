import type { Clock, Log } from '@towpath/core';
import type { Endpoint, Network } from '@towpath/net';
import type { StreamCipher } from '../cipher/stream-cipher.ts';
import type { Message } from '../codec/message.ts';
import type { SessionOptions } from '../session/options.ts';
import type { PpppSession, SessionMode } from '../session-types.ts';

/** What makes a {@link PpppDevice}. */
export interface PpppDeviceOptions {
  network: Network;
  clock: Clock;
  log?: Log;
  /** UID of the device, as people write it. */
  uid: string;
  /** Port of the listen socket, where sessions run. @default one that the system chooses */
  listenPort?: number;
  /** Local address of both sockets. @default all addresses */
  address?: string;
  /** Port where LAN searches arrive, shared with other devices; `false`: the device cannot be found. @default 32108 */
  searchPort?: number | false;
  /** Keys of the networks that the device belongs to, beside plaintext. @default none */
  keys?: readonly string[];
  /** Understand and answer plaintext. @default true */
  plaintext?: boolean;
  /** Sessions at once; a further client meets silence. @default 8 */
  maxSessions?: number;
  /** Send 51 copies of 0x43 before P2P_RDY to clients that searched, as the recorded camera does (spec §5.4). @default false */
  offersTcp?: boolean;
  /** How the sessions behave, such as `{ sending: 'as-device', closeOnBadAck: true }`. */
  session?: SessionOptions;
  /** False: a punch from there is not heard, such as with a firewall on (address, port). @default all are heard */
  admits?: (from: Endpoint) => boolean;
  /** A client is there; P2P_RDY has just been sent for the first time. Write the greeting at once. */
  onSession(session: PpppSession): void;
  /** A message to the listen socket that is neither a punch nor of a session: a rendezvous server's, a relay's. */
  onMessage?: (message: Message, from: Endpoint, cipher: StreamCipher | undefined) => void;
}

/** Something that works over a device's listen socket beside it: a registration at rendezvous servers. */
export interface DeviceCompanion {
  /** As {@link PpppDeviceOptions.onMessage}. */
  onMessage(message: Message, from: Endpoint, cipher: StreamCipher | undefined): void;
  /** Over what kind of path a client comes that punches from there; undefined: not known here. */
  modeOf(from: Endpoint): SessionMode | undefined;
}
