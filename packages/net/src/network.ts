/** An IP address and a port. `address` is in text form, IPv6 without brackets (`fe80::1%eth0` keeps its zone). */
export interface Endpoint {
  readonly address: string;
  /** 1…65535; 0 only where a call lets the system choose. */
  readonly port: number;
}

/** What happens on a UDP socket. Handlers run synchronously, in order of arrival. */
export interface UdpHandlers {
  /** `data` is the receiver's to keep. `from` may be an object that is shared between calls only when equal. */
  onMessage(data: Uint8Array, from: Endpoint): void;
  /** A send that failed later, or an ICMP error (`ECONNREFUSED`). Never fatal: the socket stays open. */
  onError?(error: Error): void;
}

export interface UdpOptions extends UdpHandlers {
  /** Local address; all addresses of the family when absent. */
  address?: string;
  /** Local port; the system chooses when absent or 0. */
  port?: number;
  /** @default 4 */
  family?: 4 | 6;
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
  sendBufferBytes?: number;
  /** Closes the socket when it aborts, also while binding. */
  signal?: AbortSignal;
}

/** A bound UDP socket. */
export interface UdpSocket extends AsyncDisposable {
  /** Read from the socket after bind: the port is never 0. */
  readonly local: Endpoint;
  /** Sends one datagram, without waiting. A failure reaches `onError`; after `close` nothing is sent. */
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
  localAddress?: string;
  localPort?: number;
  tls?: TlsClientOptions;
  /** Closes the connection when it aborts, also while connecting. */
  signal?: AbortSignal;
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
  /** Drops everything at once (reset). */
  destroy(): void;
}

export interface TcpListenOptions {
  address?: string;
  port?: number;
  tls?: TlsServerOptions;
  /** As {@link UdpOptions.reusePort}. @default false */
  reusePort?: boolean;
  /** Called for each accepted connection; returns its handlers. */
  onConnection(connection: TcpConnection): TcpHandlers;
  onError?(error: Error): void;
  /** Closes the listener (not its connections) when it aborts. */
  signal?: AbortSignal;
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
  readonly broadcast?: string;
  readonly internal: boolean;
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
}
