import type { Clock, Log, Random } from '@towpath/core';
import type { Network } from '@towpath/net';
import type { RelayPlane } from '@towpath/splice';

/** What a server needs of its host. */
export interface ServerComponents {
  network: Network;
  clock: Clock;
  random: Random;
  /** @default silent */
  log?: Log | undefined;
}

/** What a relay needs. */
export interface RelayComponents extends ServerComponents {
  /** The kernel, which forwards for sessions where it can; opened with the options of `relayPlaneOptions`. */
  plane?: RelayPlane | undefined;
}
