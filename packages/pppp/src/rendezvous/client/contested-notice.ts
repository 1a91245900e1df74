import { type Log, silentLog } from '@towpath/core';
import { type Endpoint, formatEndpoint } from '@towpath/net';

export interface ContestedNoticeOptions {
  uid: string;
  onContested: ((server: Endpoint) => void) | undefined;
}

/** Passes on, once, that servers know several devices with the UID. */
export class ContestedNotice {
  readonly #uid: string;
  readonly #log: Log;
  readonly #onContested: ((server: Endpoint) => void) | undefined;
  #told = false;

  constructor({ log = silentLog }: { log?: Log | undefined }, { uid, onContested }: ContestedNoticeOptions) {
    this.#uid = uid;
    this.#log = log;
    this.#onContested = onContested;
  }

  tell(server: Endpoint): void {
    if (this.#told) return;
    this.#told = true;
    // Who observes it tells it to people; a second warning of the same would only be noise.
    const level = this.#onContested === undefined ? 'warn' : 'debug';
    this.#log[level](
      `${formatEndpoint(server)} knows several devices that claim to be ${this.#uid} and connects to the one that was there first. Check that it is yours; a secret for the device at the server rules the others out.`,
    );
    this.#onContested?.(server);
  }
}
