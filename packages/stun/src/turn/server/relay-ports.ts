import { errorCode, type Random } from '@towpath/core';
import type { Endpoint, Network, TcpListener, TcpListenOptions, UdpSocket } from '@towpath/net';
import type { RelayAddressOptions } from './options.ts';

/** Ports that are tried before the range counts as full. */
const MAX_TRIES = 24;

export interface RelayPortsOptions {
  addresses: readonly RelayAddressOptions[];
  /** First and last port. */
  range: readonly [number, number];
}

/** A relay socket whose receiver is set when it is given to an allocation. */
export interface RelaySocket {
  readonly socket: UdpSocket;
  /** Address announced to peers. */
  readonly announced: Endpoint;
  readonly family: 4 | 6;
  onMessage: (data: Uint8Array, from: Endpoint) => void;
}

/** Opens relayed ports: random ones, so that they are hard to guess (RFC 8656 §21.1.3). */
export class RelayPorts {
  readonly #network: Network;
  readonly #random: Random;
  readonly #options: RelayPortsOptions;
  /** By announced address, where it is another than the bound one; and the reverse. */
  readonly #bound = new Map<string, string>();
  readonly #announced = new Map<string, string>();

  constructor({ network, random }: { network: Network; random: Random }, options: RelayPortsOptions) {
    this.#network = network;
    this.#random = random;
    this.#options = options;
    for (const { address, announce } of options.addresses) {
      if (announce === undefined || announce === address) continue;
      this.#bound.set(announce, address);
      this.#announced.set(address, announce);
    }
  }

  /**
   * Where to send so that it reaches `to`. Behind a one-to-one NAT the announced address of another client's relayed
   * port is the NAT's, which may not send packets back in (no hairpinning): they go to the bound address directly.
   */
  bound(to: Endpoint): Endpoint {
    const bound = this.#bound.get(to.address);
    return bound === undefined ? to : { address: bound, port: to.port };
  }

  /** How peers and clients know `from`: the reverse of {@link bound}. */
  announced(from: Endpoint): Endpoint {
    const announced = this.#announced.get(from.address);
    return announced === undefined ? from : { address: announced, port: from.port };
  }

  supports(family: 4 | 6): boolean {
    return this.#address(family) !== undefined;
  }

  /** Binds a port; undefined when none is free. @throws NetError when binding fails for another reason. */
  async udp(family: 4 | 6, port?: number): Promise<RelaySocket | undefined> {
    const where = this.#address(family);
    if (where === undefined) return undefined;
    return this.#try(port, async (wanted) => {
      const socket = await this.#network.bindUdp({
        address: where.address,
        port: wanted,
        family,
        onMessage: (data, from) => relay.onMessage(data, from),
      });
      const announced = { address: where.announce ?? where.address, port: socket.local.port };
      const relay: RelaySocket = { socket, announced, family, onMessage: () => {} };
      return relay;
    });
  }

  /** Binds an even port, and the port above it when `both`; undefined when no such pair is free. */
  async evenUdp(
    family: 4 | 6,
    both: boolean,
  ): Promise<{ even: RelaySocket; odd: RelaySocket | undefined } | undefined> {
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const port = this.#randomPort() & ~1;
      if (port < this.#options.range[0] || port + 1 > this.#options.range[1]) continue;
      const even = await this.udp(family, port);
      if (even === undefined) continue;
      if (!both) return { even, odd: undefined };
      const odd = await this.udp(family, port + 1);
      if (odd !== undefined) return { even, odd };
      await even.socket.close();
    }
    return undefined;
  }

  /** Listens for TCP peers (RFC 6062); undefined when no port is free. */
  async tcp(
    family: 4 | 6,
    options: Pick<TcpListenOptions, 'onConnection'>,
  ): Promise<{ listener: TcpListener; announced: Endpoint; address: string } | undefined> {
    const where = this.#address(family);
    if (where === undefined) return undefined;
    return this.#try(undefined, async (port) => {
      const listener = await this.#network.listenTcp({ address: where.address, port, ...options });
      const announced = { address: where.announce ?? where.address, port: listener.local.port };
      return { listener, announced, address: where.address };
    });
  }

  async #try<T>(port: number | undefined, open: (port: number) => Promise<T>): Promise<T | undefined> {
    const tries = port === undefined ? MAX_TRIES : 1;
    for (let count = 0; count < tries; count++) {
      try {
        return await open(port ?? this.#randomPort());
      } catch (error) {
        if (errorCode(error) !== 'address-in-use') throw error;
      }
    }
    return undefined;
  }

  #randomPort(): number {
    return this.#random.integer(this.#options.range[0], this.#options.range[1]);
  }

  #address(family: 4 | 6): RelayAddressOptions | undefined {
    return this.#options.addresses.find(({ address }) => (address.includes(':') ? 6 : 4) === family);
  }
}
