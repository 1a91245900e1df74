import type { Endpoint, Network, UdpSocket } from '@towpath/net';
import type { RelaySession, RelaySide } from './relay-session.ts';

/** Room for a burst of every session of the port. The system may give less. */
const SOCKET_BUFFER_BYTES = 4 * 1024 * 1024;

export interface SessionPortHandlers {
  now(): number;
  /** A datagram from an address without a session here, or a RLY_PKT. `side`: who has that address so far. */
  onIntroduction(port: SessionPort, data: Uint8Array, from: Endpoint, side: RelaySide | undefined): void;
}

/**
 * A UDP port that many sessions share; their packets are told apart by the learnt addresses. That is why one address
 * can have one session on a port.
 */
export class SessionPort {
  readonly #handlers: SessionPortHandlers;
  /** By address, then port: looking a packet up makes no garbage. */
  readonly #sides = new Map<string, Map<number, RelaySide>>();
  /** How many sessions each device has here. */
  readonly #uids = new Map<string, number>();
  #socket: UdpSocket | undefined;

  /** @throws NetError when the port cannot be had. */
  static async bind(
    network: Network,
    local: { address: string | undefined; port: number },
    handlers: SessionPortHandlers,
  ): Promise<SessionPort> {
    const port = new SessionPort(handlers);
    // No `onError`: to hear of datagrams that could not be sent would cost a sixteenth of the relay's processor time.
    port.#socket = await network.bindUdp({
      ...local,
      receiveBufferBytes: SOCKET_BUFFER_BYTES,
      sendBufferBytes: SOCKET_BUFFER_BYTES,
      onMessage: (data, from) => port.#onMessage(data, from),
    });
    return port;
  }

  private constructor(handlers: SessionPortHandlers) {
    this.#handlers = handlers;
  }

  get socket(): UdpSocket {
    return this.#socket!;
  }

  hasDevice(uid: string): boolean {
    return this.#uids.has(uid);
  }

  open(session: RelaySession): void {
    this.#uids.set(session.uid, (this.#uids.get(session.uid) ?? 0) + 1);
  }

  close(session: RelaySession): void {
    const left = (this.#uids.get(session.uid) ?? 1) - 1;
    if (left === 0) this.#uids.delete(session.uid);
    else this.#uids.set(session.uid, left);
  }

  attach(endpoint: Endpoint, side: RelaySide): void {
    let ports = this.#sides.get(endpoint.address);
    if (ports === undefined) {
      ports = new Map();
      this.#sides.set(endpoint.address, ports);
    }
    ports.set(endpoint.port, side);
  }

  detach(endpoint: Endpoint): void {
    const ports = this.#sides.get(endpoint.address);
    if (ports?.delete(endpoint.port) && ports.size === 0) this.#sides.delete(endpoint.address);
  }

  #onMessage(data: Uint8Array, from: Endpoint): void {
    const side = this.#sides.get(from.address)?.get(from.port);
    if (side === undefined || side.isIntroduction(data)) this.#handlers.onIntroduction(this, data, from, side);
    else side.session.forward(side, data, this.#handlers.now());
  }
}
