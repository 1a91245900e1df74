import type { Clock, Random } from '@towpath/core';
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
import { Impairment } from './impairment.ts';
import type { LinkFaults } from './link-faults.ts';

export interface ImpairedNetworkOptions {
  readonly network: Network;
  readonly clock: Clock;
  readonly random: Random;
  readonly toCamera: LinkFaults;
  readonly fromCamera: LinkFaults;
  /** True: nothing is heard and nothing leaves. */
  deaf(): boolean;
  /** Decides whether a datagram for the socket bound with these options is heard. */
  admits(from: Endpoint, boundWith: UdpOptions): boolean;
}

/** The network as an emulated camera has it: UDP goes through its faults and its firewall. */
export class ImpairedNetwork implements Network {
  readonly #options: ImpairedNetworkOptions;

  constructor(options: ImpairedNetworkOptions) {
    this.#options = options;
  }

  async bindUdp(options: UdpOptions): Promise<UdpSocket> {
    const { network, toCamera, fromCamera, deaf, admits } = this.#options;
    const incoming = new Impairment(toCamera, this.#options, (data, from) => {
      if (!deaf() && admits(from, options)) options.onMessage(data, from);
    });
    const socket = await network.bindUdp({
      ...options,
      onMessage: (data, from) => {
        if (!deaf()) incoming.pass(data, from);
      },
    });
    const outgoing = new Impairment(fromCamera, this.#options, (data, to) => {
      if (!deaf()) socket.send(data, to);
    });
    const close = () => {
      incoming.clear();
      outgoing.clear();
      return socket.close();
    };
    return {
      local: socket.local,
      send: (data, to) => outgoing.pass(data, to),
      close,
      [Symbol.asyncDispose]: close,
    };
  }

  connectTcp(to: Endpoint, options: TcpConnectOptions): Promise<TcpConnection> {
    return this.#options.network.connectTcp(to, options);
  }

  listenTcp(options: TcpListenOptions): Promise<TcpListener> {
    return this.#options.network.listenTcp(options);
  }

  interfaces(): InterfaceAddress[] {
    return this.#options.network.interfaces();
  }
}
