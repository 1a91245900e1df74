import type { ConnectionLimit } from './connection-limit.ts';
import type { DatagramHandler, DatagramMatch } from './datagram-routes.ts';
import type { DefaultRoute, DefaultRouteOptions } from './default-route.ts';
import type { Endpoint } from './endpoint.ts';
import type { NetworkChanges } from './network-changes.ts';

/** What happens on a UDP socket. Handlers run synchronously, in order of arrival. */
export interface UdpHandlers {
  /**
   * Takes the datagrams that no route takes; see {@link UdpSocket.route}. `data` is the receiver's to keep. `from` may be
   * an object that is shared between calls only when equal.
   */
  onMessage?: ((data: Uint8Array, from: Endpoint) => void) | undefined;
  /** A send that failed later, or an ICMP error (see {@link UdpOptions.remote}). Never fatal: the socket stays open. */
  onError?(error: Error): void;
}

export interface UdpOptions extends UdpHandlers {
  /** Local address; all addresses of the family when absent. */
  address?: string | undefined;
  /** Local port; the system chooses when absent or 0. */
  port?: number | undefined;
  /** @default 4 */
  family?: 4 | 6;
  /**
   * Connects the socket: it sends to and hears only this endpoint, `local.address` is the address that the route to it
   * leaves from, and ICMP errors reach `onError` at once: `connection-refused` for a closed port (Linux, macOS, Windows),
   * `unreachable` where no route leads. Systems report nothing to sockets that are not connected.
   */
  remote?: Endpoint;
  /** Allow sending to broadcast addresses. @default false */
  broadcast?: boolean;
  /** Allow several sockets on one port (LAN search listeners). @default false */
  reuseAddress?: boolean;
  /**
   * Share the port with sockets of other processes that ask for the same; the kernel spreads senders over them
   * (SO_REUSEPORT). The simulated network, which has no processes, ignores it. @default false
   */
  reusePort?: boolean;
  /** Multicast groups to hear (SSDP's 239.255.255.250), joined on every interface. */
  multicastGroups?: readonly string[];
  /** Receive buffer asked of the system, in bytes; the system may give less. */
  receiveBufferBytes?: number;
  /** Send buffer asked of the system, in bytes; the system may give less. */
  sendBufferBytes?: number | undefined;
  /** Closes the socket when it aborts, also while binding. */
  signal?: AbortSignal | undefined;
}

/** A bound UDP socket. */
export interface UdpSocket extends AsyncDisposable {
  /** Read from the socket after bind: the port is never 0. */
  readonly local: Endpoint;
  /** The only endpoint that it speaks with, where {@link UdpOptions.remote} connected it. */
  readonly remote?: Endpoint | undefined;
  /** Datagrams that arrived for no route and no default handler. */
  readonly unroutedDatagrams: number;
  /**
   * Hands the datagrams that match to `handler` until the result is disposed. Each datagram goes to one handler only:
   * predicates are asked first, then the routes of its kind, then `onMessage`; among equals the youngest route first.
   */
  route(match: DatagramMatch, handler: DatagramHandler): Disposable;
  /**
   * Sends one datagram, without waiting. A failure reaches `onError` (`bad-address` on a connected socket when `to` is
   * another endpoint than its remote one); after `close` nothing is sent.
   */
  send(data: Uint8Array, to: Endpoint): void;
  /** Idempotent; no handler runs after it was called. */
  close(): Promise<void>;
}

/** What happens on a TCP connection. */
export interface TcpHandlers {
  /** A piece of the byte stream, the receiver's to keep. */
  onData(data: Uint8Array): void;
  /** The send buffer has emptied after {@link TcpConnection.write} returned false. */
  onDrain?(): void;
  /** Called exactly once; with the error when the connection broke, without when either side ended it. */
  onClose?(error?: Error): void;
}

export interface TlsClientOptions {
  /** PEM of the authorities to trust, instead of the system's. */
  ca?: string;
  /** PEM of authorities to trust besides the system's; has no effect with `ca`. */
  moreAuthorities?: string | undefined;
  /** Name to verify; the address when absent. */
  serverName?: string;
  /** Accept any certificate: only for tests and for protocols that authenticate otherwise. @default false */
  insecure?: boolean;
}

export interface TlsServerOptions {
  /** PEM. */
  cert: string;
  /** PEM. */
  key: string;
}

export interface TcpConnectOptions extends TcpHandlers {
  /** Local address and port to leave from. */
  localAddress?: string | undefined;
  localPort?: number | undefined;
  tls?: TlsClientOptions | undefined;
  /** Closes the connection when it aborts, also while connecting. */
  signal?: AbortSignal | undefined;
}

export interface TcpConnection extends AsyncDisposable {
  readonly local: Endpoint;
  readonly remote: Endpoint;
  /** Bytes written but not yet handed to the system. */
  readonly bufferedBytes: number;
  /** Queues bytes. False means: wait for `onDrain` before writing much more. */
  write(data: Uint8Array): boolean;
  /** Stops handing out what arrives, which slows the sender down, or goes on with it. */
  setPaused(paused: boolean): void;
  /** Sends what is queued, then closes. Idempotent. */
  close(): Promise<void>;
  /**
   * Drops the connection and what is queued at once. The other side sees a reset (`connection-reset`); with TLS on the
   * real network it may see a plain end instead.
   */
  destroy(): void;
}

export interface TcpListenOptions {
  address?: string | undefined;
  port?: number;
  tls?: TlsServerOptions | undefined;
  /** As {@link UdpOptions.reusePort}. @default false */
  reusePort?: boolean;
  /** Limits connections per address and in total; several listeners may share one. */
  limit?: ConnectionLimit | undefined;
  /** Called for each accepted connection, with TLS after its handshake; returns its handlers. */
  onConnection(connection: TcpConnection): TcpHandlers;
  onError?(error: Error): void;
  /** Closes the listener (not its connections) when it aborts. */
  signal?: AbortSignal | undefined;
}

export interface TcpListener extends AsyncDisposable {
  readonly local: Endpoint;
  /** Stops accepting and destroys the connections that it accepted. Idempotent. */
  close(): Promise<void>;
}

/** One address of one interface of this host. */
export interface InterfaceAddress {
  /** Interface name, `wlan0`. */
  readonly name: string;
  readonly address: string;
  readonly family: 4 | 6;
  /** Length of the network prefix in bits. */
  readonly prefixLength: number;
  /** Directed broadcast address (IPv4 only). */
  readonly broadcast?: string | undefined;
  readonly internal: boolean;
}

export interface ResolveOptions {
  /** Addresses of this family only; both when absent. */
  family?: 4 | 6 | undefined;
  /** Ends the look-up when it aborts; nothing of it keeps the process alive afterwards. */
  signal?: AbortSignal | undefined;
}

/** Everything that Towpath needs of a network stack: the real one or a simulated one. */
export interface Network {
  /**
   * Binds a UDP socket.
   * @throws NetError `address-in-use`, `address-not-available`, `permission-denied`, or `network-failed`
   *   with the system's error as cause; the signal's reason when it aborts.
   */
  bindUdp(options: UdpOptions): Promise<UdpSocket>;
  /**
   * Opens a TCP (or TLS) connection.
   * @throws NetError `connection-refused`, `unreachable`, `timed-out`, `tls-failed` or `network-failed`.
   */
  connectTcp(to: Endpoint, options: TcpConnectOptions): Promise<TcpConnection>;
  /** Listens for TCP (or TLS) connections. @throws NetError as {@link bindUdp}. */
  listenTcp(options: TcpListenOptions): Promise<TcpListener>;
  /** The addresses of this host at this moment, loopback included. */
  interfaces(): InterfaceAddress[];
  /** What changes: interfaces, addresses, default routes, sleep. */
  readonly changes: NetworkChanges;
  /**
   * Looks up the addresses of a host name, the hosts file first. An IP address is returned as it is.
   * @returns at least one address. Without `family` both families are asked at once; when one has an answer the other is
   *   waited for a short time only (RFC 8305 §3, 50 ms), and its failure does not count.
   * @throws NetError `name-not-found`, `name-without-address` (it has none of the family), `name-server-silent` (no
   *   answer in time, or no name server there), `name-server-failed` (SERVFAIL, REFUSED); the signal's reason.
   */
  resolve(name: string, options?: ResolveOptions): Promise<string[]>;
  /** Returns the route that packets to a destination take now; `undefined` where none leads. */
  defaultRoute(options?: DefaultRouteOptions): Promise<DefaultRoute | undefined>;
}
