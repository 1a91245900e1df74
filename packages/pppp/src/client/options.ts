import type { Clock, Log, Random } from '@towpath/core';
import type { Endpoint, Network } from '@towpath/net';
import type { SessionOptions } from '../session/options.ts';
import type { SessionMode } from '../session-types.ts';

/** What every way of connecting takes. */
export interface ConnectOptions {
  network: Network;
  clock: Clock;
  /** Spreads the repeats a little, so that many attempts do not send in step. Without it they are evenly spaced. */
  random?: Random;
  log?: Log;
  /** Local port to leave from, if it is free; otherwise a fresh one is taken and the log says why. */
  localPort?: number;
  /** Local address to leave from. @default all addresses */
  localAddress?: string;
  /** What {@link PpppSession.mode} will say. @default 'lan' */
  mode?: SessionMode;
  session?: SessionOptions;
  /** Give up after so many ms with `no-answer`. @default none: until the signal aborts */
  timeoutMs?: number;
  /** Aborting closes socket and timer at once and tells a device that may hold a session already. */
  signal?: AbortSignal;
  /**
   * The attempt's own socket is bound.
   * @param local its address and port, never 0
   * @param portLost why `localPort` could not be had
   */
  onSocket?: (local: Endpoint, portLost?: Error) => void;
}
