import {
  DatagramRoutes,
  DelegatingNetwork,
  DerivedUdpSocket,
  type Network,
  type UdpOptions,
  type UdpSocket,
} from '@towpath/net';

interface Member {
  readonly routes: DatagramRoutes;
  readonly options: UdpOptions;
}

interface SharedSocket {
  readonly members: Set<Member>;
  readonly socket: Promise<UdpSocket>;
}

/**
 * A network on which several listeners of one process share one UDP port: each receives every datagram.
 * So several emulated cameras on one address answer a LAN search, also a unicast one.
 */
export class SharedPortNetwork extends DelegatingNetwork {
  readonly #port: number;
  readonly #sockets: Map<string, SharedSocket> = new Map();

  constructor(network: Network, port: number) {
    super({ network });
    this.#port = port;
  }

  override async bindUdp(options: UdpOptions): Promise<UdpSocket> {
    if (options.port !== this.#port) return this.inner.bindUdp(options);
    options.signal?.throwIfAborted();
    const key = options.address ?? '';
    const shared = this.#sockets.get(key) ?? this.#open(options);
    this.#sockets.set(key, shared);
    const member: Member = { routes: new DatagramRoutes(options.onMessage?.bind(options)), options };
    shared.members.add(member);
    let socket: UdpSocket;
    try {
      socket = await shared.socket;
    } catch (error) {
      this.#sockets.delete(key);
      throw error;
    }
    const leave = async () => {
      shared.members.delete(member);
      if (shared.members.size > 0) return;
      if (this.#sockets.get(key) === shared) this.#sockets.delete(key);
      await socket.close();
    };
    if (options.signal?.aborted) {
      await leave();
      throw options.signal.reason;
    }
    options.signal?.addEventListener('abort', () => void leave(), { once: true });
    const send: UdpSocket['send'] = (data, to) => {
      if (shared.members.has(member)) socket.send(data, to);
    };
    return new DerivedUdpSocket({ inner: socket, routes: member.routes }, { send, close: leave });
  }

  #open(options: UdpOptions): SharedSocket {
    const members = new Set<Member>();
    const socket = this.inner.bindUdp({
      ...options,
      signal: undefined,
      onMessage: (data, from) => {
        for (const { routes } of members) routes.dispatch(data.slice(), from);
      },
      onError: (error) => {
        for (const { options: member } of members) member.onError?.(error);
      },
    });
    return { members, socket };
  }
}
