import type { Endpoint, Network, UdpSocket } from '@towpath/net';
import { isAnyChannelData } from '../../message/channel-data.ts';
import type { ChannelSink, ClientLink, LinkReceiver } from './client-link.ts';

/** Receive buffer for bursts; the system may grant less. */
const SOCKET_BUFFER_BYTES: number = 1 << 22;

class UdpLink implements ClientLink {
  readonly transport = 'udp';
  readonly remote: Endpoint;
  sink: ChannelSink | undefined;
  readonly #socket: UdpSocket;
  readonly #listener: UdpListener;

  constructor(listener: UdpListener, socket: UdpSocket, remote: Endpoint) {
    this.#listener = listener;
    this.#socket = socket;
    this.remote = remote;
  }

  send(data: Uint8Array): boolean {
    this.#socket.send(data, this.remote);
    return true;
  }

  hold(): void {
    this.#listener.keep(this);
  }

  release(): void {
    this.#listener.forget(this);
  }

  /** Does nothing: a datagram that is not answered changes nothing for the next one. */
  reject(): void {}
}

/**
 * One UDP port that clients send to. Clients with an allocation are found by address, then port: two map
 * look-ups, or none when the same client sends again.
 */
export class UdpListener {
  readonly #receiver: LinkReceiver;
  readonly #links = new Map<string, Map<number, UdpLink>>();
  #socket: UdpSocket | undefined;
  #lastFrom: Endpoint | undefined;
  #lastLink: UdpLink | undefined;

  constructor(receiver: LinkReceiver) {
    this.#receiver = receiver;
  }

  async bind(network: Network, where: { address: string; port: number }): Promise<void> {
    // No `onError`: a datagram that could not be sent counts as lost, and sending is faster without error reports.
    this.#socket = await network.bindUdp({
      ...where,
      family: where.address.includes(':') ? 6 : 4,
      receiveBufferBytes: SOCKET_BUFFER_BYTES,
      sendBufferBytes: SOCKET_BUFFER_BYTES,
      onMessage: (data, from) => this.#receive(data, from),
    });
  }

  get local(): Endpoint {
    return this.#socket!.local;
  }

  /** Stores a client, because it is getting an allocation. */
  keep(link: UdpLink): void {
    const { address, port } = link.remote;
    const ports = this.#links.get(address) ?? new Map<number, UdpLink>();
    this.#links.set(address, ports);
    ports.set(port, link);
    this.#lastFrom = undefined;
  }

  /** Removes a client whose allocation has ended. */
  forget({ remote }: UdpLink): void {
    const ports = this.#links.get(remote.address);
    ports?.delete(remote.port);
    if (ports?.size === 0) this.#links.delete(remote.address);
    this.#lastFrom = undefined;
  }

  async close(): Promise<void> {
    await this.#socket?.close();
  }

  #receive(data: Uint8Array, from: Endpoint): void {
    const link = this.#find(from);
    if (isAnyChannelData(data)) {
      if (link?.sink === undefined) this.#receiver.onStray('notPermitted');
      else link.sink.fromClientChannel(data);
      return;
    }
    if (this.#socket !== undefined) this.#receiver.onStun(link ?? new UdpLink(this, this.#socket, from), data);
  }

  #find(from: Endpoint): UdpLink | undefined {
    // The network hands out the same object while the sender stays the same.
    if (from === this.#lastFrom) return this.#lastLink;
    this.#lastFrom = from;
    this.#lastLink = this.#links.get(from.address)?.get(from.port);
    return this.#lastLink;
  }
}
