import type { DatagramHandler, DatagramMatch, DatagramRoutes } from './datagram-routes.ts';
import type { DefaultRoute, DefaultRouteOptions } from './default-route.ts';
import type { Endpoint } from './endpoint.ts';
import type {
  InterfaceAddress,
  Network,
  ResolveOptions,
  TcpConnection,
  TcpConnectOptions,
  TcpListener,
  TcpListenOptions,
  UdpOptions,
  UdpSocket,
} from './network.ts';
import type { NetworkChanges } from './network-changes.ts';

/** Passes every call on to another network. Extend it to change some of them. */
export class DelegatingNetwork implements Network {
  protected readonly inner: Network;

  constructor(components: { network: Network }) {
    this.inner = components.network;
  }

  get changes(): NetworkChanges {
    return this.inner.changes;
  }

  bindUdp(options: UdpOptions): Promise<UdpSocket> {
    return this.inner.bindUdp(options);
  }

  connectTcp(to: Endpoint, options: TcpConnectOptions): Promise<TcpConnection> {
    return this.inner.connectTcp(to, options);
  }

  listenTcp(options: TcpListenOptions): Promise<TcpListener> {
    return this.inner.listenTcp(options);
  }

  interfaces(): InterfaceAddress[] {
    return this.inner.interfaces();
  }

  resolve(name: string, options?: ResolveOptions): Promise<string[]> {
    return this.inner.resolve(name, options);
  }

  defaultRoute(options?: DefaultRouteOptions): Promise<DefaultRoute | undefined> {
    return this.inner.defaultRoute(options);
  }
}

export interface DerivedUdpSocketOptions {
  /** Replaces sending. */
  send?: ((data: Uint8Array, to: Endpoint) => void) | undefined;
  /** Replaces closing. */
  close?: (() => Promise<void>) | undefined;
}

/** A UDP socket with routes of its own on top of another one, for networks that change what passes. */
export class DerivedUdpSocket implements UdpSocket {
  readonly local: Endpoint;
  readonly remote: Endpoint | undefined;
  readonly #inner: UdpSocket;
  readonly #routes: DatagramRoutes;
  readonly #options: DerivedUdpSocketOptions;

  /** @param components.routes get what the owner of the other socket hands to them. */
  constructor(components: { inner: UdpSocket; routes: DatagramRoutes }, options: DerivedUdpSocketOptions = {}) {
    this.#inner = components.inner;
    this.#routes = components.routes;
    this.#options = options;
    this.local = components.inner.local;
    this.remote = components.inner.remote;
  }

  get unroutedDatagrams(): number {
    return this.#routes.unrouted;
  }

  route(match: DatagramMatch, handler: DatagramHandler): Disposable {
    return this.#routes.add(match, handler);
  }

  send(data: Uint8Array, to: Endpoint): void {
    if (this.#options.send) this.#options.send(data, to);
    else this.#inner.send(data, to);
  }

  close(): Promise<void> {
    return this.#options.close ? this.#options.close() : this.#inner.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
