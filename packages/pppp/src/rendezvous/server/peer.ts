import type { Endpoint, UdpSocket } from '@towpath/net';
import type { StreamCipher } from '../../cipher/stream-cipher.ts';
import { encodeMessage, type Message } from '../../codec/message.ts';
import type { Source } from '../../server/admission.ts';
import type { TcpClient } from '../../server/tcp-front.ts';

/** A sender: endpoint, carrier and cipher of its answers. */
export class Peer {
  /** As the server sees it. */
  readonly endpoint: Endpoint;
  readonly ip: number;
  readonly source: Source;
  readonly #carrier: UdpSocket | TcpClient<Source>;
  readonly #cipher: StreamCipher | undefined;

  constructor(
    carrier: UdpSocket | TcpClient<Source>,
    endpoint: Endpoint,
    ip: number,
    source: Source,
    cipher: StreamCipher | undefined,
  ) {
    this.#carrier = carrier;
    this.endpoint = endpoint;
    this.ip = ip;
    this.source = source;
    this.#cipher = cipher;
  }

  /** The source address of a TCP connection cannot be punched. */
  get isUdp(): boolean {
    return 'local' in this.#carrier;
  }

  get over(): 'udp' | 'tcp' {
    return this.isUdp ? 'udp' : 'tcp';
  }

  /** True when both are reached at the same address over the same carrier. */
  isAt(other: Peer): boolean {
    return this.ip === other.ip && this.endpoint.port === other.endpoint.port && this.isUdp === other.isUdp;
  }

  send(message: Message): void {
    const clear = encodeMessage(message);
    const datagram = this.#cipher === undefined ? clear : this.#cipher.encipher(clear, clear);
    if ('local' in this.#carrier) this.#carrier.send(datagram, this.endpoint);
    else this.#carrier.send(datagram);
  }
}
