import {
  DelegatingNetwork,
  type Endpoint,
  formatEndpoint,
  type Network,
  type UdpOptions,
  type UdpSocket,
} from '@towpath/net';
import type { FakeKernel } from '@towpath/splice/testing';

/** The network of a host whose kernel forwards before its sockets see anything. */
export class KernelNetwork extends DelegatingNetwork {
  /** Datagrams that the kernel has forwarded. */
  forwarded = 0;
  readonly #kernel: FakeKernel;
  /** What reaches the sockets in any case, and fragments would. */
  readonly #isControl: (data: Uint8Array) => boolean;
  readonly #sockets = new Map<string, UdpSocket>();

  constructor(components: { network: Network; kernel: FakeKernel }, isControl: (data: Uint8Array) => boolean) {
    super(components);
    this.#kernel = components.kernel;
    this.#isControl = isControl;
  }

  override async bindUdp(options: UdpOptions): Promise<UdpSocket> {
    const socket = await this.inner.bindUdp({
      ...options,
      onMessage: (data, from) => {
        if (!this.#forward(data, from, socket.local)) options.onMessage?.(data, from);
      },
    });
    this.#sockets.set(formatEndpoint(socket.local), socket);
    return socket;
  }

  #forward(data: Uint8Array, from: Endpoint, to: Endpoint): boolean {
    if (this.#isControl(data)) return false;
    const out = this.#kernel.forward({ from, to, bytes: data.length });
    if (out === undefined) return false;
    if (out === 'dropped') return true;
    this.forwarded++;
    this.#sockets.get(formatEndpoint(out.from))!.send(data, out.to);
    return true;
  }
}
