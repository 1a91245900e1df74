import { type Log, silentLog } from '@towpath/core';
import { type Endpoint, formatEndpoint } from '@towpath/net';
import type { RemoteOptions } from './options.ts';

/** Passes on, once, that servers know several devices with the UID. */
export class ContestedNotice {
  readonly #uid: string;
  readonly #log: Log;
  readonly #onContested: ((server: Endpoint) => void) | undefined;
  #told = false;

  constructor(uid: string, { log = silentLog, onContested }: Pick<RemoteOptions, 'log' | 'onContested'>) {
    this.#uid = uid;
    this.#log = log;
    this.#onContested = onContested;
  }

  tell(server: Endpoint): void {
    if (this.#told) return;
    this.#told = true;
    this.#log.warn(
      `${formatEndpoint(server)} knows several devices that claim to be ${this.#uid} and connects to the one that was there first. Check that it is yours; a secret for the device at the server rules the others out.`,
    );
    this.#onContested?.(server);
  }
}
