import { createSocket, type Socket, type SocketOptions } from 'node:dgram';
import { type DatagramHandler, type DatagramMatch, DatagramRoutes } from '../datagram-routes.ts';
import { type Endpoint, formatEndpoint, sameEndpoint } from '../endpoint.ts';
import { ADVICE, NetError } from '../net-error.ts';
import type { UdpOptions, UdpSocket } from '../network.ts';
import { nodeInterfaces } from './node-interfaces.ts';
import { toNetError } from './system-error.ts';

/** Binds a UDP socket on `node:dgram`; see {@link UdpOptions}. */
export async function bindNodeUdp(options: UdpOptions): Promise<UdpSocket> {
  options.signal?.throwIfAborted();
  const family = options.family ?? 4;
  const any = family === 4 ? '0.0.0.0' : '::';
  const wanted = { address: options.address ?? any, port: options.port ?? 0 };
  const socket = createSocket({
    type: family === 4 ? 'udp4' : 'udp6',
    reuseAddr: options.reuseAddress ?? false,
    reusePort: options.reusePort ?? false,
    ipv6Only: family === 6,
    lookup: literalLookup,
  });
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject);
      socket.bind({ address: wanted.address, port: wanted.port, exclusive: true }, () => {
        socket.off('error', reject);
        resolve();
      });
    });
  } catch (cause) {
    socket.close();
    throw toNetError(cause, `bind UDP ${formatEndpoint(wanted)}`, { target: formatEndpoint(wanted) });
  }
  try {
    if (options.remote) await connect(socket, options.remote);
  } catch (cause) {
    socket.close();
    const target = formatEndpoint(options.remote ?? wanted);
    throw toNetError(cause, `connect UDP to ${target}`, { target });
  }
  const bound = new NodeUdpSocket(socket, options);
  if (options.signal?.aborted) {
    await bound.close();
    throw options.signal.reason;
  }
  return bound;
}

/** Gives the socket its only remote endpoint. @throws the system's error */
function connect(socket: Socket, to: Endpoint): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.connect(to.port, to.address, (error?: Error) => (error ? reject(error) : resolve()));
  });
}

/**
 * Node resolves the address of every datagram; its own resolver costs a turn of the event loop even
 * for IP literals. Anything that is not a literal of the family fails in `send` as EINVAL.
 */
const literalLookup: NonNullable<SocketOptions['lookup']> = (address, options, callback) => {
  callback(null, address, typeof options === 'number' ? options : 0);
};

class NodeUdpSocket implements UdpSocket {
  readonly local: Endpoint;
  readonly remote: Endpoint | undefined;
  readonly #socket: Socket;
  readonly #routes: DatagramRoutes;
  readonly #signal: AbortSignal | undefined;
  readonly #onError: ((error: Error) => void) | undefined;
  #closing: Promise<void> | undefined;

  constructor(socket: Socket, options: UdpOptions) {
    this.#socket = socket;
    this.#signal = options.signal;
    this.#onError = options.onError?.bind(options);
    this.#sent = this.#onError && ((error) => error !== null && this.#report(error));
    const { address, port } = socket.address();
    this.local = { address, port };
    this.remote = options.remote;
    const routes = new DatagramRoutes(options.onMessage?.bind(options));
    this.#routes = routes;

    let from: Endpoint = { address: '', port: 0 };
    socket.on('message', (data, { address, port }) => {
      if (this.#closing !== undefined) return;
      if (port !== from.port || address !== from.address) from = { address, port };
      routes.dispatch(data, from);
    });
    socket.on('error', this.#report);
    this.#configure(options);
    options.signal?.addEventListener('abort', this.#abort, { once: true });
  }

  get unroutedDatagrams(): number {
    return this.#routes.unrouted;
  }

  route(match: DatagramMatch, handler: DatagramHandler): Disposable {
    return this.#routes.add(match, handler);
  }

  send(data: Uint8Array, to: Endpoint): void {
    if (this.#closing !== undefined) return;
    try {
      if (this.remote !== undefined) this.#sendConnected(data, to, this.remote);
      else this.#socket.send(data, to.port, to.address, this.#sent);
    } catch (error) {
      this.#report(error);
    }
  }

  #sendConnected(data: Uint8Array, to: Endpoint, remote: Endpoint): void {
    if (sameEndpoint(to, remote)) this.#socket.send(data, this.#sent);
    else {
      const message = `Could not send to ${formatEndpoint(to)}: the socket is connected to ${formatEndpoint(remote)}.`;
      const error = new NetError('bad-address', `${message} ${ADVICE['bad-address']}`, { target: formatEndpoint(to) });
      queueMicrotask(() => this.#report(error));
    }
  }

  close(): Promise<void> {
    this.#closing ??= new Promise((resolve) => {
      this.#signal?.removeEventListener('abort', this.#abort);
      this.#socket.close(resolve);
    });
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /**
   * One function for all sends: without it Node drops the error of a send. Where nobody wants to hear of
   * errors there is none, which saves a turn of the tick queue per datagram.
   */
  readonly #sent: ((error: Error | null) => void) | undefined;

  readonly #report = (cause: unknown): void => {
    if (this.#closing !== undefined) return;
    const target = this.remote && formatEndpoint(this.remote);
    const action = target ? `exchange UDP with ${target}` : `send from UDP ${formatEndpoint(this.local)}`;
    this.#onError?.(toNetError(cause, action, target === undefined ? {} : { target }));
  };

  readonly #abort = (): void => {
    void this.close();
  };

  #join(group: string, family: 4 | 6): void {
    const joined = new Set<string>();
    for (const { name, address, internal, family: candidate } of nodeInterfaces()) {
      // IPv6 needs the address that carries the zone.
      const usable = family === 4 || internal || address.startsWith('fe80:');
      if (candidate !== family || !usable || joined.has(name)) continue;
      joined.add(name);
      try {
        this.#socket.addMembership(group, address);
      } catch (error) {
        // One interface without multicast must not cost the others.
        this.#report(error);
      }
    }
  }

  #configure(options: UdpOptions): void {
    if (options.broadcast) this.#socket.setBroadcast(true);
    for (const group of options.multicastGroups ?? []) this.#join(group, options.family ?? 4);
    try {
      if (options.receiveBufferBytes) this.#socket.setRecvBufferSize(options.receiveBufferBytes);
      if (options.sendBufferBytes) this.#socket.setSendBufferSize(options.sendBufferBytes);
    } catch (error) {
      // Some systems refuse a large size instead of giving less: the socket works with its default.
      this.#report(error);
    }
  }
}
