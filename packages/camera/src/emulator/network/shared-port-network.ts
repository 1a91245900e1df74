import type {
  Endpoint,
  InterfaceAddress,
  Network,
  TcpConnection,
  TcpConnectOptions,
  TcpListener,
  TcpListenOptions,
  UdpOptions,
  UdpSocket,
} from '@towpath/net';

interface SharedSocket {
  readonly members: Set<UdpOptions>;
  readonly socket: Promise<UdpSocket>;
}

/**
 * A network on which several listeners of one process share one UDP port: each hears every datagram that arrives there.
 * So that several emulated cameras on one address all answer a LAN search, also one by unicast.
 */
export class SharedPortNetwork implements Network {
  readonly #network: Network;
  readonly #port: number;
  readonly #sockets: Map<string, SharedSocket> = new Map();

  constructor(network: Network, port: number) {
    this.#network = network;
    this.#port = port;
  }

  async bindUdp(options: UdpOptions): Promise<UdpSocket> {
    if (options.port !== this.#port) return this.#network.bindUdp(options);
    options.signal?.throwIfAborted();
    const key = options.address ?? '';
    const shared = this.#sockets.get(key) ?? this.#open(options);
    this.#sockets.set(key, shared);
    shared.members.add(options);
    let socket: UdpSocket;
    try {
      socket = await shared.socket;
    } catch (error) {
      this.#sockets.delete(key);
      throw error;
    }
    const leave = async () => {
      shared.members.delete(options);
      if (shared.members.size > 0) return;
      if (this.#sockets.get(key) === shared) this.#sockets.delete(key);
      await socket.close();
    };
    if (options.signal?.aborted) {
      await leave();
      throw options.signal.reason;
    }
    options.signal?.addEventListener('abort', () => void leave(), { once: true });
    return {
      local: socket.local,
      send: (data, to) => {
        if (shared.members.has(options)) socket.send(data, to);
      },
      close: leave,
      [Symbol.asyncDispose]: leave,
    };
  }

  #open(options: UdpOptions): SharedSocket {
    const members = new Set<UdpOptions>();
    const socket = this.#network.bindUdp({
      ...options,
      signal: undefined,
      onMessage: (data, from) => {
        for (const member of members) member.onMessage(data.slice(), from);
      },
      onError: (error) => {
        for (const member of members) member.onError?.(error);
      },
    });
    return { members, socket };
  }

  connectTcp(to: Endpoint, options: TcpConnectOptions): Promise<TcpConnection> {
    return this.#network.connectTcp(to, options);
  }

  listenTcp(options: TcpListenOptions): Promise<TcpListener> {
    return this.#network.listenTcp(options);
  }

  interfaces(): InterfaceAddress[] {
    return this.#network.interfaces();
  }
}
