import {
  DatagramRoutes,
  type Endpoint,
  type Network,
  type NetworkChanges,
  type UdpOptions,
  type UdpSocket,
} from '@towpath/net';

/** A network in which the test makes the packets: any source, any number, nothing in between. */
export class StubNetwork implements Network {
  readonly sent: { data: Uint8Array; to: Endpoint; from: number }[] = [];
  readonly #bound = new Map<number, DatagramRoutes>();
  readonly changes: NetworkChanges = { subscribe: () => ({ [Symbol.dispose]() {} }) };
  #nextPort = 50_000;

  bindUdp(options: UdpOptions): Promise<UdpSocket> {
    const port = options.port || this.#nextPort++;
    const routes = new DatagramRoutes(options.onMessage?.bind(options));
    this.#bound.set(port, routes);
    const close = () => {
      this.#bound.delete(port);
      return Promise.resolve();
    };
    return Promise.resolve({
      unroutedDatagrams: 0,
      route: (match, handler) => routes.add(match, handler),
      local: { address: options.address ?? '0.0.0.0', port },
      send: (data: Uint8Array, to: Endpoint) => this.sent.push({ data: data.slice(), to, from: port }),
      close,
      [Symbol.asyncDispose]: close,
    });
  }

  connectTcp(): never {
    throw new Error('no TCP here');
  }

  listenTcp(): never {
    throw new Error('no TCP here');
  }

  resolve(): never {
    throw new Error('no names here');
  }

  defaultRoute(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  interfaces(): [] {
    return [];
  }

  get openSockets(): number {
    return this.#bound.size;
  }

  deliver(port: number, from: Endpoint, data: Uint8Array): void {
    this.#bound.get(port)?.dispatch(data, from);
  }

  /** Takes out what was sent to one address (and port, when given). */
  take(address: string, port?: number): Uint8Array[] {
    const taken: Uint8Array[] = [];
    for (let i = 0; i < this.sent.length; ) {
      const { data, to } = this.sent[i]!;
      if (to.address === address && (port === undefined || to.port === port)) {
        taken.push(data);
        this.sent.splice(i, 1);
      } else {
        i++;
      }
    }
    return taken;
  }
}
