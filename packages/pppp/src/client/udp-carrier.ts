import type { Endpoint, UdpSocket } from '@towpath/net';
import type { SessionCarrier } from '../session/carrier.ts';
import type { SessionMode } from '../session-types.ts';

/** A session with a UDP socket of its own. */
export class UdpCarrier implements SessionCarrier {
  readonly mode: SessionMode;
  readonly peer: Endpoint;
  readonly #socket: UdpSocket;

  constructor(socket: UdpSocket, peer: Endpoint, mode: SessionMode) {
    this.#socket = socket;
    this.peer = peer;
    this.mode = mode;
  }

  get local(): Endpoint {
    return this.#socket.local;
  }

  send(datagram: Uint8Array): void {
    this.#socket.send(datagram, this.peer);
  }

  close(): Promise<void> {
    return this.#socket.close();
  }
}
