import type { PathKind } from '@towpath/core';
import type { Endpoint, UdpSocket } from '@towpath/net';
import type { SessionCarrier } from './carrier.ts';

/** Carries a session over a UDP socket of its own, or over its share of one. */
export class UdpCarrier implements SessionCarrier {
  readonly pathKind: PathKind;
  readonly peer: Endpoint;
  readonly #socket: UdpSocket;
  readonly #onClose: () => Promise<void> | void;
  #closed = false;

  /** @param onClose called once when the session is over: closes the socket, or removes the session from a shared one */
  constructor(socket: UdpSocket, path: { peer: Endpoint; pathKind: PathKind }, onClose: () => Promise<void> | void) {
    this.#socket = socket;
    this.peer = path.peer;
    this.pathKind = path.pathKind;
    this.#onClose = onClose;
  }

  get local(): Endpoint {
    return this.#socket.local;
  }

  /** Sends nothing once it is closed: another session with the same peer may use the socket then. */
  send(datagram: Uint8Array): void {
    if (!this.#closed) this.#socket.send(datagram, this.peer);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#onClose();
  }
}
