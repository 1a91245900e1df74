import type { Endpoint, Network, TcpListenOptions, UdpOptions, UdpSocket } from '@towpath/net';

/** Room for a burst of all clients at once; the system may give less. */
const SOCKET_BUFFER_BYTES: number = 1 << 22;

/** A UDP port that both servers answer on. */
interface SharedPort {
  readonly socket: UdpSocket;
  /** Where everything goes that is no Binding request. */
  turn: ((data: Uint8Array, from: Endpoint) => void) | undefined;
}

/**
 * Puts a STUN server and a TURN server on the same UDP ports: Binding requests go to the first, which can answer from
 * other addresses (RFC 5780), everything else to the second. The STUN server must bind first.
 */
export class SharedPorts {
  /** What the STUN server sees as its network. */
  readonly stun: Network;
  /** What the TURN server sees as its network. */
  readonly turn: Network;
  readonly #network: Network;
  readonly #reusePort: boolean;
  readonly #ports: SharedPort[] = [];

  /** @param options.reusePort other processes serve the same ports. */
  constructor(network: Network, { reusePort }: { reusePort: boolean }) {
    this.#network = network;
    this.#reusePort = reusePort;
    const rest = {
      connectTcp: network.connectTcp.bind(network),
      interfaces: network.interfaces.bind(network),
      listenTcp: (options: TcpListenOptions) => network.listenTcp({ ...options, reusePort }),
    };
    this.stun = { ...rest, bindUdp: (options) => this.#bindStun(options) };
    this.turn = { ...rest, bindUdp: (options) => this.#bindTurn(options) };
  }

  async #bindStun(options: UdpOptions): Promise<UdpSocket> {
    const onBinding = options.onMessage.bind(options);
    let port: SharedPort | undefined;
    const socket = await this.#network.bindUdp({
      ...options,
      reusePort: this.#reusePort,
      receiveBufferBytes: SOCKET_BUFFER_BYTES,
      sendBufferBytes: SOCKET_BUFFER_BYTES,
      onMessage(data, from) {
        const turn = port?.turn;
        // The first two bytes of a Binding request (RFC 8489 §5).
        if (turn === undefined || (data[0] === 0 && data[1] === 1)) onBinding(data, from);
        else turn(data, from);
      },
    });
    port = { socket, turn: undefined };
    this.#ports.push(port);
    return socket;
  }

  async #bindTurn(options: UdpOptions): Promise<UdpSocket> {
    const port = this.#ports.find(
      ({ socket: { local } }) => local.port === options.port && local.address === options.address,
    );
    // Relayed ports are the TURN server's alone.
    if (port === undefined) return this.#network.bindUdp(options);
    port.turn = options.onMessage.bind(options);
    const close = async () => {
      port.turn = undefined;
    };
    const { socket } = port;
    return {
      local: socket.local,
      send: socket.send.bind(socket),
      close,
      [Symbol.asyncDispose]: close,
    };
  }
}
