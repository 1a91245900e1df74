import type { Endpoint } from '@towpath/net';
import type { SessionCarrier } from '../session/carrier.ts';
import type { SessionMode } from '../session-types.ts';

/** A carrier that says when it has been let go. */
export class LetGoCarrier implements SessionCarrier {
  readonly mode: SessionMode;
  readonly local: Endpoint;
  readonly peer: Endpoint;
  readonly #inner: SessionCarrier;
  readonly #done: () => void;

  constructor(inner: SessionCarrier, done: () => void) {
    this.mode = inner.mode;
    this.local = inner.local;
    this.peer = inner.peer;
    this.#inner = inner;
    this.#done = done;
  }

  send(datagram: Uint8Array): void {
    this.#inner.send(datagram);
  }

  close(): Promise<void> {
    this.#done();
    return this.#inner.close();
  }
}
