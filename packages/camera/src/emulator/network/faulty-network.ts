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

/** How the camera's line misbehaves. */
export interface LineFaults {
  readonly toCamera: LinkFaults;
  readonly fromCamera: LinkFaults;
  /** Nothing is heard and nothing leaves. */
  silent: boolean;
}

export interface FaultyNetworkOptions {
  readonly network: Network;
  readonly clock: Clock;
  readonly random: Random;
  readonly faults: LineFaults;
  /** Decides whether a datagram for the socket bound with these options is heard. */
  admits(from: Endpoint, boundWith: UdpOptions): boolean;
}

/** The network as an emulated camera has it: UDP goes through its faults and its firewall. */
export class FaultyNetwork implements Network {
  readonly #options: FaultyNetworkOptions;

  constructor(options: FaultyNetworkOptions) {
    this.#options = options;
  }

  async bindUdp(options: UdpOptions): Promise<UdpSocket> {
    const { network, faults, admits } = this.#options;
    const incoming = new Impairment(faults.toCamera, this.#options, (data, from) => {
      if (!faults.silent && admits(from, options)) options.onMessage(data, from);
    });
    const socket = await network.bindUdp({
      ...options,
      onMessage: (data, from) => {
        if (!faults.silent) incoming.pass(data, from);
      },
    });
    const outgoing = new Impairment(faults.fromCamera, this.#options, (data, to) => {
      if (!faults.silent) socket.send(data, to);
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
