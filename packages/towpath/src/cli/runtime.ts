import type { Clock, Log, Random } from '@towpath/core';
import type { Network } from '@towpath/net';
import type { Io } from './io.ts';

/** Everything that a command needs of the world, put together in one place. */
export interface Runtime {
  io: Io;
  clock: Clock;
  random: Random;
  network: Network;
  /** Silent unless --verbose was given. */
  log: Log;
  /** Aborts on Ctrl-C and termination. */
  signal: AbortSignal;
  /** Folder of keys, stores and configuration; created with mode 0700 on first write. */
  configFolder: string;
}

/** Options that every command has. */
export interface CommonOptions {
  json?: boolean;
  verbose?: boolean;
}
