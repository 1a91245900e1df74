import { type Endpoint, formatEndpoint, type UdpHandlers, type UdpSocket } from '@towpath/net';
import { RecentMap } from '../../server/recent-map.ts';
import type { RelaySession, RelaySide } from './relay-session.ts';

/** Receive buffer for bursts of all sessions of the port. The system may grant less. */
const SOCKET_BUFFER_BYTES = 4 * 1024 * 1024;

/** Most stored reservations of a port, twice over; a flood of them costs others a second attempt at most. */
const MAX_EXPECTED = 1024;

export interface SessionPortHandlers {
  now(): number;
  /** A datagram from an address without a session here, or a RLY_PKT. `side`: who has that address so far. */
  onIntroduction(port: SessionPort, data: Uint8Array, from: Endpoint, side: RelaySide | undefined): void;
}

/** The parties of a session, as far as the reservation names them. */
export interface PortUser {
  /** The device, when the client names it. */
  readonly uid: string | undefined;
  /** The client's address; undefined for one that comes over TCP. */
  readonly client: Endpoint | undefined;
}

/**
 * A UDP port shared by many sessions; packets are assigned by source address, so one address
 * can have one session on a port.
 */
export class SessionPort {
  readonly #handlers: SessionPortHandlers;
  /** By address, then port: looking a packet up makes no garbage. */
  readonly #sides = new Map<string, Map<number, RelaySide>>();
  /** How many sessions each device has here. */
  readonly #uids = new Map<string, number>();
  /** Devices and clients with a reservation here, by what {@link PortUser} knows of them, and when it expires. */
  readonly #expected = new RecentMap<string, number>(MAX_EXPECTED);
  #socket: UdpSocket | undefined;

  /**
   * @param bindUdp binds the socket; its owner closes it
   * @throws NetError when the port cannot be had.
   */
  static async bind(
    bindUdp: (handlers: UdpHandlers, sendBufferBytes: number) => Promise<UdpSocket>,
    handlers: SessionPortHandlers,
  ): Promise<SessionPort> {
    const port = new SessionPort(handlers);
    // No `onError`: reports of failed sends would cost a sixteenth of the relay's processor time.
    port.#socket = await bindUdp({ onMessage: (data, from) => port.#onMessage(data, from) }, SOCKET_BUFFER_BYTES);
    return port;
  }

  private constructor(handlers: SessionPortHandlers) {
    this.#handlers = handlers;
  }

  get socket(): UdpSocket {
    return this.#socket!;
  }

  /** Whether one of these has a session here, so that another's packets could not be told apart from its. */
  serves({ uid, client }: PortUser): boolean {
    if (uid !== undefined && this.#uids.has(uid)) return true;
    return client !== undefined && this.#sides.get(client.address)?.has(client.port) === true;
  }

  /** Whether one of these has a reservation here that nobody has used yet. */
  expects(user: PortUser, nowMs: number): boolean {
    return names(user).some((name) => (this.#expected.get(name) ?? 0) > nowMs);
  }

  expect(user: PortUser, untilMs: number): void {
    for (const name of names(user)) this.#expected.set(name, untilMs);
  }

  /** The reservation is used, or has expired. */
  unexpect(user: PortUser): void {
    for (const name of names(user)) this.#expected.delete(name);
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

/** No UID looks like an endpoint. */
function names({ uid, client }: PortUser): string[] {
  const known = uid === undefined ? [] : [uid];
  if (client !== undefined) known.push(formatEndpoint(client));
  return known;
}
