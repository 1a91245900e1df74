import type { Clock, Log, Random } from '@towpath/core';
import type { Network } from '@towpath/net';
import type { Bus } from '@towpath/wake';
import type { Io } from './io.ts';

/** Everything that a command needs from its environment. */
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
  /** Opens the system's message bus. @default that of the platform */
  openBus?(): Promise<Bus>;
  /** Called before a command runs: loads what `--help` does not need. */
  prepare?(): Promise<void>;
}

/** The part of {@link Runtime} that exists before any package is loaded. */
export interface ProcessRuntimeOptions {
  io: Io;
  signal: AbortSignal;
  verbose: boolean;
  /** Undefined when there is none: then no command runs, and the help does. */
  configFolder: string | undefined;
}

/**
 * The process's own runtime: the system's clock, network and random source. They are loaded by {@link prepare}, because
 * loading them takes longer than printing the help.
 */
export class ProcessRuntime implements Runtime {
  readonly io: Io;
  readonly signal: AbortSignal;
  readonly configFolder: string;
  clock!: Clock;
  random!: Random;
  network!: Network;
  log!: Log;
  readonly #verbose: boolean;
  readonly #hasFolder: boolean;

  constructor(options: ProcessRuntimeOptions) {
    this.io = options.io;
    this.signal = options.signal;
    this.configFolder = options.configFolder ?? '~/.config/towpath';
    this.#hasFolder = options.configFolder !== undefined;
    this.#verbose = options.verbose;
  }

  /** Loads the packages and fills `clock`, `random`, `network` and `log`. @throws TowpathError `no-home` */
  async prepare(): Promise<void> {
    const [core, net, log] = await Promise.all([import('@towpath/core'), import('@towpath/net'), import('./log.ts')]);
    if (!this.#hasFolder) {
      const message =
        'This user has no home folder (HOME is not set, and the system knows none). Next: set TOWPATH_HOME to a folder for keys and settings.';
      throw new core.TowpathError('no-home', message, { kind: 'local' });
    }
    this.clock = new core.SystemClock();
    this.random = new core.SystemRandom();
    this.network = new net.NodeNetwork();
    this.log = this.#verbose ? log.terminalLog(this.io, this.clock) : core.silentLog;
  }
}

/** Options that every command has. */
export interface CommonOptions {
  json?: boolean;
  verbose?: boolean;
}
