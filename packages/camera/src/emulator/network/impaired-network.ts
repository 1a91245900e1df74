import type { Clock, Random } from '@towpath/core';
import {
  DatagramRoutes,
  DelegatingNetwork,
  DerivedUdpSocket,
  type Endpoint,
  type Network,
  type UdpOptions,
  type UdpSocket,
} from '@towpath/net';
import { Impairment } from './impairment.ts';
import type { LinkFaults } from './link-faults.ts';

export interface ImpairedNetworkComponents {
  readonly network: Network;
  readonly clock: Clock;
  readonly random: Random;
}

export interface ImpairedNetworkOptions {
  readonly toCamera: LinkFaults;
  readonly fromCamera: LinkFaults;
  /** True: no datagram is received or sent. */
  deaf(): boolean;
  /** Decides whether a datagram for the socket bound with these options is accepted. */
  admits(from: Endpoint, boundWith: UdpOptions): boolean;
}

/** The network of an emulated camera: UDP with its faults and its firewall. */
export class ImpairedNetwork extends DelegatingNetwork {
  readonly #components: ImpairedNetworkComponents;
  readonly #options: ImpairedNetworkOptions;

  constructor(components: ImpairedNetworkComponents, options: ImpairedNetworkOptions) {
    super(components);
    this.#components = components;
    this.#options = options;
  }

  override async bindUdp(options: UdpOptions): Promise<UdpSocket> {
    const { network } = this.#components;
    const { toCamera, fromCamera, deaf, admits } = this.#options;
    const routes = new DatagramRoutes(options.onMessage?.bind(options));
    const incoming = new Impairment(this.#components, toCamera, (data, from) => {
      if (!deaf() && admits(from, options)) routes.dispatch(data, from);
    });
    const inner = await network.bindUdp({
      ...options,
      onMessage: (data, from) => {
        if (!deaf()) incoming.pass(data, from);
      },
    });
    const outgoing = new Impairment(this.#components, fromCamera, (data, to) => {
      if (!deaf()) inner.send(data, to);
    });
    const close = () => {
      incoming.clear();
      outgoing.clear();
      return inner.close();
    };
    return new DerivedUdpSocket({ inner, routes }, { send: (data, to) => outgoing.pass(data, to), close });
  }
}
