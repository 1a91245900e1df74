import {
  DatagramRoutes,
  DelegatingNetwork,
  DerivedUdpSocket,
  type Network,
  type TcpListener,
  type TcpListenOptions,
  type UdpOptions,
  type UdpSocket,
} from '@towpath/net';

/** Receive buffer for bursts; the system may grant less. */
const SOCKET_BUFFER_BYTES: number = 1 << 22;

/** The first two bytes of a Binding request (RFC 8489 §5). */
const isBindingRequest = (data: Uint8Array): boolean => data[0] === 0 && data[1] === 1;

/**
 * Puts a STUN server and a TURN server on the same UDP ports: Binding requests go to the first, which can answer from
 * other addresses (RFC 5780), everything else to the second. The STUN server must bind first.
 */
export class SharedPorts {
  /** The network of the STUN server. */
  readonly stun: Network;
  /** The network of the TURN server. */
  readonly turn: Network;
  readonly #network: Network;
  readonly #reusePort: boolean;
  readonly #sockets = new Set<UdpSocket>();

  /** @param options.reusePort other processes serve the same ports. */
  constructor(network: Network, { reusePort }: { reusePort: boolean }) {
    this.#network = network;
    this.#reusePort = reusePort;
    this.stun = new ServerNetwork(network, reusePort, (options) => this.#bindStun(options));
    this.turn = new ServerNetwork(network, reusePort, (options) => this.#bindTurn(options));
  }

  async #bindStun(options: UdpOptions): Promise<UdpSocket> {
    const socket = await this.#network.bindUdp({
      ...options,
      reusePort: this.#reusePort,
      receiveBufferBytes: SOCKET_BUFFER_BYTES,
      sendBufferBytes: SOCKET_BUFFER_BYTES,
    });
    this.#sockets.add(socket);
    const routes = new DatagramRoutes();
    const close = () => {
      this.#sockets.delete(socket);
      return socket.close();
    };
    return new DerivedUdpSocket({ inner: socket, routes }, { close });
  }

  async #bindTurn(options: UdpOptions): Promise<UdpSocket> {
    const inner = [...this.#sockets].find(
      ({ local }) => local.port === options.port && local.address === options.address,
    );
    // Relayed ports belong to the TURN server.
    if (inner === undefined) return this.#network.bindUdp(options);
    const routes = new DatagramRoutes(options.onMessage?.bind(options));
    const route = inner.route(
      (data) => !isBindingRequest(data),
      (data, from) => routes.dispatch(data, from),
    );
    const close = async () => route[Symbol.dispose]();
    return new DerivedUdpSocket({ inner, routes }, { close });
  }
}

/** A network that binds UDP sockets in its own way, and listens on shared ports. */
class ServerNetwork extends DelegatingNetwork {
  readonly #reusePort: boolean;
  readonly #bind: (options: UdpOptions) => Promise<UdpSocket>;

  constructor(network: Network, reusePort: boolean, bind: (options: UdpOptions) => Promise<UdpSocket>) {
    super({ network });
    this.#reusePort = reusePort;
    this.#bind = bind;
  }

  override bindUdp(options: UdpOptions): Promise<UdpSocket> {
    return this.#bind(options);
  }

  override listenTcp(options: TcpListenOptions): Promise<TcpListener> {
    return this.inner.listenTcp({ ...options, reusePort: this.#reusePort });
  }
}
