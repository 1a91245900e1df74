import type { Clock, Log } from '@towpath/core';
import { AbortedError, silentLog } from '@towpath/core';
import { type Endpoint, formatEndpoint, type Network, type UdpSocket } from '@towpath/net';
import { type BoundSocket, bindPreferred } from './bind.ts';
import { ReceivedDatagram } from './received-datagram.ts';

/** Components of an {@link AttemptSocket}. */
export interface AttemptSocketComponents {
  network: Network;
  clock: Clock;
  log?: Log | undefined;
}

export interface AttemptSocketOptions {
  /** Preferred local port; when it is in use, another one is taken and logged. */
  localPort?: number;
  /** Local address to connect from. @default all addresses */
  localAddress?: string;
  /** Broadcasts may be sent. @default true */
  broadcast?: boolean;
}

/** An attempt that uses the socket. */
export interface SocketMember {
  /** It accepts answers of unknown devices: a LAN search. */
  readonly searches: boolean;
  /** @returns false when the datagram is not for this attempt */
  receive(datagram: ReceivedDatagram): boolean;
  onError(error: Error): void;
  /** Another attempt on the socket has opened the session. */
  supersede(reason: AbortedError): void;
}

interface Handlers {
  receive(data: Uint8Array, from: Endpoint): void;
  fail(error: Error): void;
}

/**
 * One UDP socket for all attempts of one connect, such as a LAN search and the known ports of a device. A device sees
 * one client, every address is punched by one attempt only, and the first session takes the socket. So a device that
 * serves a single client is not occupied by other attempts. It is bound with the first attempt and closed with the
 * last.
 *
 * @example
 * const socket = new AttemptSocket({ network, clock });
 * await Promise.any([connectByLanSearch({ ...common, socket }), connectDirect({ ...common, socket, to })]);
 */
export class AttemptSocket {
  readonly #components: AttemptSocketComponents;
  readonly #options: AttemptSocketOptions;
  readonly #members: Set<SocketMember> = new Set();
  /** The attempt that punches an address. */
  readonly #claims: Map<string, SocketMember> = new Map();
  readonly #bound: Map<4 | 6, Promise<BoundSocket>> = new Map();
  /** Kept apart, so that a session's socket does not keep this object in memory. */
  #handlers: Handlers;
  #taken: UdpSocket | undefined;

  constructor(components: AttemptSocketComponents, options: AttemptSocketOptions = {}) {
    this.#components = components;
    this.#options = options;
    this.#handlers = this.#newHandlers();
  }

  /**
   * Binds the socket if necessary, and passes received datagrams to the attempt.
   * @throws NetError when no socket can be bound, or AbortedError when another attempt has the session already; then
   * the
   *   attempt is no member
   */
  async join(member: SocketMember, family: 4 | 6): Promise<BoundSocket> {
    if (this.#taken !== undefined) throw superseded();
    this.#members.add(member);
    let bound = this.#bound.get(family);
    if (bound === undefined) {
      bound = this.#bind(family);
      this.#bound.set(family, bound);
    }
    try {
      return await bound;
    } catch (error) {
      await this.leave(member);
      throw error;
    }
  }

  /** Ends the attempt. Closes the socket with the last one, unless a session uses it. */
  async leave(member: SocketMember): Promise<void> {
    this.#members.delete(member);
    for (const [key, owner] of this.#claims) if (owner === member) this.#claims.delete(key);
    if (this.#members.size > 0) return;
    const bound = [...this.#bound.values()];
    this.#bound.clear();
    for (const result of await Promise.allSettled(bound)) {
      if (result.status === 'fulfilled' && result.value.socket !== this.#taken) await result.value.socket.close();
    }
    if (this.#taken === undefined) this.#handlers = this.#newHandlers();
  }

  /** Reserves an address for an attempt. @returns false when another attempt has it */
  claim(member: SocketMember, to: Endpoint): boolean {
    const key = formatEndpoint(to);
    const owner = this.#claims.get(key) ?? member;
    if (owner === member) this.#claims.set(key, member);
    return owner === member;
  }

  /** Passes the socket to the session of an attempt; the other attempts end. */
  take(member: SocketMember, socket: UdpSocket, receive: (data: Uint8Array, from: Endpoint) => void): void {
    this.#taken = socket;
    this.#handlers.receive = receive;
    this.#handlers.fail = ignore;
    const others = [...this.#members].filter((other) => other !== member);
    if (others.length === 0) return;
    // A race has cancelled them before; attempts outside of a race must end as well.
    this.#components.clock.timer(1, () => {
      for (const other of others) if (this.#members.has(other)) other.supersede(superseded());
    });
  }

  #bind(family: 4 | 6): Promise<BoundSocket> {
    const { network, log = silentLog } = this.#components;
    const { localPort, localAddress, broadcast = true } = this.#options;
    const handlers = this.#handlers;
    return bindPreferred(network, log, localPort, {
      address: localAddress,
      family,
      broadcast: broadcast && family === 4,
      onMessage: (data, from) => handlers.receive(data, from),
      onError: (error) => handlers.fail(error),
    });
  }

  #newHandlers(): Handlers {
    return {
      receive: (data, from) => this.#dispatch(data, from),
      fail: (error) => {
        for (const member of [...this.#members]) member.onError(error);
      },
    };
  }

  /** Passes a datagram to the attempt that punches the sender; else to a search; else to the first that accepts it. */
  #dispatch(data: Uint8Array, from: Endpoint): void {
    const datagram = new ReceivedDatagram(data, from);
    const owner = this.#claims.get(formatEndpoint(from));
    if (owner !== undefined) {
      owner.receive(datagram);
      return;
    }
    const members = [...this.#members];
    for (const member of members) if (member.searches && member.receive(datagram)) return;
    for (const member of members) if (!member.searches && member.receive(datagram)) return;
  }
}

/** A session detects silence itself. Not a closure of `take`, which would keep the race in memory with the session. */
function ignore(): void {}

function superseded(): AbortedError {
  return new AbortedError('Another attempt on the same socket has the session.');
}
