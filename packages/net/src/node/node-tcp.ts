import { constants } from 'node:crypto';
import { type AddressInfo, createConnection, createServer, isIP, type Server, type Socket } from 'node:net';
import {
  checkServerIdentity,
  connect as connectTls,
  createServer as createTlsServer,
  type ConnectionOptions,
  getCACertificates,
  TLSSocket,
} from 'node:tls';
import type { Clock, Timer } from '@towpath/core';
import { type Endpoint, formatEndpoint } from '../endpoint.ts';
import type {
  TcpConnection,
  TcpConnectOptions,
  TcpHandlers,
  TcpListener,
  TcpListenOptions,
  TlsClientOptions,
} from '../network.ts';
import { admitSocket, endsOf } from './admit-socket.ts';
import { toNetError } from './system-error.ts';

/** How long a closed connection whose data is out waits for the other side to end too, before it is cut off. */
const CLOSE_GRACE_MS = 5_000;

/**
 * A client that has not finished its TLS handshake after this time, ms, is dropped. Node's own limit begins anew with each
 * byte, so that a client could stay in its handshake for ever.
 */
const HANDSHAKE_TIMEOUT_MS = 10_000;

/** Opens a TCP or TLS connection on `node:net`; see {@link TcpConnectOptions}. */
export async function connectNodeTcp(clock: Clock, to: Endpoint, options: TcpConnectOptions): Promise<TcpConnection> {
  const { signal, tls } = options;
  signal?.throwIfAborted();
  const target = formatEndpoint(to);
  const where = {
    host: to.address,
    port: to.port,
    localAddress: options.localAddress,
    localPort: options.localPort,
    noDelay: true,
  };
  let socket: Socket | undefined;
  try {
    const opening = tls ? connectTls({ ...where, ...tlsOptions(to, tls) }) : createConnection(where);
    socket = opening;
    await opened(opening, tls ? 'secureConnect' : 'connect', signal);
    signal?.throwIfAborted();
  } catch (cause) {
    // Errors of a socket that is being thrown away have no one to go to.
    socket?.on('error', () => {});
    socket?.destroy();
    if (signal?.aborted) throw signal.reason;
    throw toNetError(cause, `connect to TCP ${target}`, { target, tls: tls !== undefined });
  }
  const connection = new NodeTcpConnection(clock, socket, signal);
  connection.attach(options);
  return connection;
}

/** Waits for `event`; leaves no listener behind. @throws the socket's error, or the signal's reason */
function opened(socket: Socket, event: 'connect' | 'secureConnect', signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = (outcome: () => void) => {
      signal?.removeEventListener('abort', aborted);
      socket.off(event, succeeded);
      socket.off('error', failed);
      outcome();
    };
    const aborted = () => settle(() => reject(signal?.reason));
    const succeeded = () => settle(resolve);
    const failed = (cause: Error) => settle(() => reject(cause));
    signal?.addEventListener('abort', aborted, { once: true });
    socket.once(event, succeeded);
    socket.once('error', failed);
  });
}

function tlsOptions(to: Endpoint, tls: TlsClientOptions): ConnectionOptions {
  const name = tls.serverName ?? to.address;
  return {
    ca: tls.ca ?? (tls.moreAuthorities && [...getCACertificates('default'), tls.moreAuthorities]),
    rejectUnauthorized: !(tls.insecure ?? false),
    // The server name indication of TLS is for names only.
    ...(isIP(name) === 0 ? { servername: name } : {}),
    checkServerIdentity: (_host, certificate) => checkServerIdentity(name, certificate),
  };
}

/** Listens for TCP or TLS connections on `node:net`; see {@link TcpListenOptions}. */
export async function listenNodeTcp(clock: Clock, options: TcpListenOptions): Promise<TcpListener> {
  options.signal?.throwIfAborted();
  const { tls } = options;
  const wanted = { address: options.address ?? '0.0.0.0', port: options.port ?? 0 };
  const action = `listen on TCP ${formatEndpoint(wanted)}`;
  let server: Server;
  try {
    // A client that renegotiates (TLS 1.2) makes a handshake anew, of which no limit knows.
    const secureOptions = constants.SSL_OP_NO_RENEGOTIATION;
    const { cert, key } = tls ?? {};
    server = tls ? createTlsServer({ cert, key, secureOptions, noDelay: true }) : createServer({ noDelay: true });
  } catch (cause) {
    throw toNetError(cause, action, { target: formatEndpoint(wanted), tls: true });
  }
  const listener = new NodeTcpListener(clock, server, options);
  try {
    await listener.listen(wanted);
  } catch (cause) {
    throw toNetError(cause, action, { target: formatEndpoint(wanted) });
  }
  if (options.signal?.aborted) {
    await listener.close();
    throw options.signal.reason;
  }
  return listener;
}

class NodeTcpListener implements TcpListener {
  local: Endpoint = { address: '', port: 0 };
  readonly #server: Server;
  readonly #options: TcpListenOptions;
  /** Every accepted socket, those in a TLS handshake too. */
  readonly #sockets = new Set<Socket>();
  readonly #clock: Clock;
  /** Time limits of TLS handshakes that are not finished, by the ends of the connection. */
  readonly #handshakes = new Map<string, Timer>();
  #closing: Promise<void> | undefined;

  constructor(clock: Clock, server: Server, options: TcpListenOptions) {
    this.#clock = clock;
    this.#server = server;
    this.#options = options;
    server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
      this.#admit(socket);
      if (options.tls) this.#limitHandshake(socket);
    });
    server.on(options.tls ? 'secureConnection' : 'connection', (socket: Socket) => {
      // It was refused above, or has ended since.
      if (socket.destroyed) return;
      this.#handshakes.get(keyOf(socket))?.cancel();
      const connection = new NodeTcpConnection(clock, socket);
      options.limit?.replaceDrop(connection.local, connection.remote, () => connection.destroy());
      connection.attach(options.onConnection(connection));
    });
    server.on('tlsClientError', (cause) => this.#report(cause, true));
  }

  /** Counts a connection before its handshake, or closes it. */
  #admit(socket: Socket): void {
    const { limit } = this.#options;
    if (limit !== undefined) admitSocket(socket, limit);
  }

  #limitHandshake(socket: Socket): void {
    if (socket.destroyed) return;
    const key = keyOf(socket);
    const timer = this.#clock.timer(HANDSHAKE_TIMEOUT_MS, () => socket.destroy());
    this.#handshakes.set(key, timer);
    socket.once('close', () => {
      timer.cancel();
      if (this.#handshakes.get(key) === timer) this.#handshakes.delete(key);
    });
  }

  async listen({ address, port }: Endpoint): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      const { reusePort = false } = this.#options;
      this.#server.listen({ host: address, port, ipv6Only: true, exclusive: true, reusePort }, () => {
        this.#server.off('error', reject);
        resolve();
      });
    });
    this.#server.on('error', (cause) => this.#report(cause));
    const bound = this.#server.address() as AddressInfo;
    this.local = { address: bound.address, port: bound.port };
    this.#options.signal?.addEventListener('abort', this.#stop, { once: true });
  }

  close(): Promise<void> {
    this.#stop();
    for (const socket of this.#sockets) socket.destroy();
    return this.#closing!;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Stops accepting; connections live on. */
  readonly #stop = (): void => {
    this.#options.signal?.removeEventListener('abort', this.#stop);
    this.#closing ??= new Promise((resolve) => {
      this.#server.close(() => resolve());
    });
  };

  #report(cause: Error, tls = false): void {
    if (this.#closing === undefined) {
      this.#options.onError?.(toNetError(cause, `accept on TCP ${formatEndpoint(this.local)}`, { tls }));
    }
  }
}

/** The same for a TLS connection and for the TCP connection below it. */
function keyOf(socket: Socket): string {
  return endsOf(socket).map(formatEndpoint).join(' ');
}

class NodeTcpConnection implements TcpConnection {
  readonly local: Endpoint;
  readonly remote: Endpoint;
  readonly #clock: Clock;
  readonly #socket: Socket;
  readonly #signal: AbortSignal | undefined;
  readonly #closed: Promise<void>;
  #ending = false;

  constructor(clock: Clock, socket: Socket, signal?: AbortSignal) {
    this.#clock = clock;
    this.#socket = socket;
    this.#signal = signal;
    [this.local, this.remote] = endsOf(socket);
    this.#closed = new Promise((resolve) => socket.once('close', () => resolve()));
    signal?.addEventListener('abort', this.#abort, { once: true });
  }

  /** Connects the handlers; data that came before waits in the socket until then. */
  attach(handlers: TcpHandlers): void {
    let failure: Error | undefined;
    this.#socket.on('error', (cause) => {
      failure ??= toNetError(cause, `keep TCP ${formatEndpoint(this.remote)} open`, {
        target: formatEndpoint(this.remote),
      });
    });
    this.#socket.on('data', (data: Buffer) => {
      if (!this.#ending) handlers.onData(data);
    });
    this.#socket.on('drain', () => {
      if (!this.#ending) handlers.onDrain?.();
    });
    this.#socket.once('close', () => {
      this.#signal?.removeEventListener('abort', this.#abort);
      // What happens to a connection after our own end of it is no failure of it.
      handlers.onClose?.(this.#ending ? undefined : failure);
    });
  }

  get bufferedBytes(): number {
    return this.#socket.writableLength;
  }

  write(data: Uint8Array): boolean {
    if (this.#ending || !this.#socket.writable) return false;
    return this.#socket.write(data);
  }

  setPaused(paused: boolean): void {
    if (paused) this.#socket.pause();
    else this.#socket.resume();
  }

  async close(): Promise<void> {
    if (!this.#ending && !this.#socket.destroyed) {
      this.#ending = true;
      this.#socket.end(() => {
        const cutOff = this.#clock.timer(CLOSE_GRACE_MS, () => this.#socket.destroy());
        void this.#closed.then(() => cutOff.cancel());
      });
    }
    return this.#closed;
  }

  destroy(): void {
    this.#ending = true;
    if (this.#socket.destroyed) return;
    // Node refuses to reset a TLS socket, and resetting the TCP socket under it crashes Node 24: TLS is closed at once.
    if (this.#socket instanceof TLSSocket) this.#socket.destroy();
    else this.#socket.resetAndDestroy();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  readonly #abort = (): void => this.destroy();
}
