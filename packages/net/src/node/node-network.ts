import { type Clock, SystemClock } from '@towpath/core';
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
} from '../network.ts';
import { nodeInterfaces } from './node-interfaces.ts';
import { connectNodeTcp, listenNodeTcp } from './node-tcp.ts';
import { bindNodeUdp } from './node-udp.ts';

/**
 * The network of this machine, on Node's own sockets.
 *
 * UDP sends take IP literals only; `connectTcp` also takes host names.
 *
 * @example
 * const network = new NodeNetwork();
 * await using socket = await network.bindUdp({ onMessage: (data, from) => socket.send(data, from) });
 * console.log(`echo on port ${socket.local.port}`);
 */
export class NodeNetwork implements Network {
  readonly #clock: Clock;

  /** @param components.clock used to cut off connections whose other side never ends. */
  constructor(components: { clock?: Clock } = {}) {
    this.#clock = components.clock ?? new SystemClock();
  }

  bindUdp(options: UdpOptions): Promise<UdpSocket> {
    return bindNodeUdp(options);
  }

  connectTcp(to: Endpoint, options: TcpConnectOptions): Promise<TcpConnection> {
    return connectNodeTcp(this.#clock, to, options);
  }

  listenTcp(options: TcpListenOptions): Promise<TcpListener> {
    return listenNodeTcp(this.#clock, options);
  }

  interfaces(): InterfaceAddress[] {
    return nodeInterfaces();
  }
}
