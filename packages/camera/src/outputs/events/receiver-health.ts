import { type Clock, type Log, silentLog } from '@towpath/core';

/** Why a receiver does not take what it is given. */
export interface ReceiverFailure {
  /** The last error. */
  readonly message: string;
  /** Wall time of the first error since it took something, ms since the Unix epoch. */
  readonly sinceMs: number;
}

export interface ReceiverHealthComponents {
  readonly clock: Clock;
  readonly log?: Log | undefined;
}

export interface ReceiverHealthOptions {
  /** Called when the receiver begins to fail, fails with another error, or works again. */
  readonly onChanged?: ((failure: ReceiverFailure | undefined) => void) | undefined;
  /** Level of the errors after the first. @default info */
  readonly repeated?: 'info' | 'debug';
}

/** Whether a receiver works. Its first error is a warning in the log; the others are not, until it works again. */
export class ReceiverHealth {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #options: ReceiverHealthOptions;
  #failure: ReceiverFailure | undefined;

  constructor({ clock, log = silentLog }: ReceiverHealthComponents, options: ReceiverHealthOptions = {}) {
    this.#clock = clock;
    this.#log = log;
    this.#options = options;
  }

  /** Undefined while it works. */
  get failure(): ReceiverFailure | undefined {
    return this.#failure;
  }

  /** Notes an error. @param lost something is lost by it, which is a warning each time */
  failed(message: string, fields?: { waiting: number; nextMs?: number }, lost = false): void {
    const before = this.#failure;
    this.#log[before === undefined || lost ? 'warn' : (this.#options.repeated ?? 'info')](message, fields);
    if (before?.message === message) return;
    this.#failure = { message, sinceMs: before?.sinceMs ?? this.#clock.wallTime() };
    this.#options.onChanged?.(this.#failure);
  }

  /** Notes that it took something, or can be reached again. */
  works(): void {
    if (this.#failure === undefined) return;
    this.#failure = undefined;
    this.#log.info('The receiver works again.');
    this.#options.onChanged?.(undefined);
  }
}
