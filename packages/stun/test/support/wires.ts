import { TowpathError } from '@towpath/core';
import { type Endpoint, formatEndpoint, type Network, type UdpOptions } from '@towpath/net';

type Receiver = (data: Uint8Array, from: Endpoint) => void;

/** A datagram that a socket has sent. */
export interface Sent {
  readonly data: Uint8Array;
  readonly from: Endpoint;
  readonly to: Endpoint;
}

/** Sockets whose datagrams the test delivers itself. */
export class Wires {
  readonly sockets: Map<string, { local: Endpoint; receive: Receiver; sent: { data: Uint8Array; to: Endpoint }[] }> =
    new Map();
  readonly network: Network;
  #port = 40_000;

  /** @param host address of sockets that are bound to none */
  constructor(host: string) {
    const bindUdp = async ({ address = host, port = 0, onMessage }: UdpOptions) => {
      const local = { address, port: port || ++this.#port };
      const key = formatEndpoint(local);
      if (this.sockets.has(key)) throw new TowpathError('address-in-use', `${key} is in use.`);
      const socket = {
        local,
        receive: (data: Uint8Array, from: Endpoint) => onMessage?.(data, from),
        sent: [] as { data: Uint8Array; to: Endpoint }[],
      };
      this.sockets.set(key, socket);
      const close = async () => void this.sockets.delete(key);
      const send = (data: Uint8Array, to: Endpoint) => void socket.sent.push({ data, to });
      return {
        local,
        unroutedDatagrams: 0,
        send,
        close,
        route: () => ({ [Symbol.dispose]() {} }),
        [Symbol.asyncDispose]: close,
      };
    };
    this.network = { bindUdp, interfaces: () => [] } as unknown as Network;
  }

  /** Delivers a datagram and returns what the socket answers with. */
  deliver(data: Uint8Array, from: Endpoint, to: Endpoint): Uint8Array | undefined {
    const socket = this.sockets.get(formatEndpoint(to));
    if (socket === undefined) return undefined;
    socket.sent.length = 0;
    socket.receive(data, from);
    return socket.sent.at(-1)?.data;
  }

  /** Delivers a datagram and returns what leaves. */
  pass(data: Uint8Array, from: Endpoint, to: Endpoint): Sent[] {
    this.take();
    this.sockets.get(formatEndpoint(to))!.receive(data, from);
    return this.take();
  }

  /** Returns what sockets have sent since the last call. */
  take(): Sent[] {
    return [...this.sockets.values()].flatMap(({ local, sent }) =>
      sent.splice(0).map(({ data, to }) => ({ data, from: local, to })),
    );
  }
}
