import type { Clock, Log, Random, PathKind } from '@towpath/core';
import type { Endpoint, Network } from '@towpath/net';
import type { AttemptSocket } from './attempt-socket.ts';
import type { SessionOptions } from '../session/options.ts';

/** What an attempt works with. */
export interface ConnectComponents {
  network: Network;
  clock: Clock;
  /** Randomises intervals, so that attempts do not send at the same time. By default they are evenly spaced. */
  random?: Random;
  log?: Log | undefined;
  /**
   * The socket of several attempts of one connect; its own local port and address count.
   * @default a socket for this attempt alone
   */
  socket?: AttemptSocket;
}

/** Settings of every kind of attempt. */
export interface AttemptOptions {
  /** Preferred local port; when it is in use, another one is taken and logged. */
  localPort?: number;
  /** Local address to connect from. @default all addresses */
  localAddress?: string;
  /** Value of {@link PpppSession.pathKind}. @default 'lan' */
  pathKind?: PathKind;
  session?: SessionOptions;
  /** Time limit, ms, after which the attempt fails with `no-answer`. @default none: until the signal aborts */
  timeoutMs?: number;
  /** An abort closes socket and timer at once and sends CLOSE to a device that may have a session already. */
  signal?: AbortSignal | undefined;
  /**
   * The attempt's own socket is bound.
   * @param local its address and port, never 0
   * @param portLost why `localPort` was not available
   */
  onSocket?: (local: Endpoint, portLost?: Error) => void;
}

/** What the functions that connect take. */
export interface ConnectOptions extends ConnectComponents, AttemptOptions {}
