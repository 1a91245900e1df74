import { networkInterfaces } from 'node:os';
import { type Clock, SystemClock } from '@towpath/core';
import { broadcastAddress } from '../address/subnet.ts';
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
    const found: InterfaceAddress[] = [];
    for (const [name, addresses = []] of Object.entries(networkInterfaces())) {
      for (const { address, family, cidr, internal, ...rest } of addresses) {
        const prefixLength = Number(cidr?.split('/')[1] ?? (family === 'IPv4' ? 32 : 128));
        if (family === 'IPv4') {
          const broadcast = internal ? undefined : broadcastAddress(address, prefixLength);
          found.push({ name, address, family: 4, prefixLength, broadcast, internal });
          continue;
        }
        // Only with its zone can a link-local address be bound or sent to; Windows counts zones, others name them.
        const zone = process.platform === 'win32' ? String('scopeid' in rest ? rest.scopeid : 0) : name;
        const scoped = address.startsWith('fe80:') ? `${address}%${zone}` : address;
        found.push({ name, address: scoped, family: 6, prefixLength, internal });
      }
    }
    return found;
  }
}
