import { createSocket, type Socket, type SocketOptions } from 'node:dgram';
import { formatEndpoint } from '../endpoint.ts';
import type { Endpoint, UdpOptions, UdpSocket } from '../network.ts';
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
  const bound = new NodeUdpSocket(socket, options);
  if (options.signal?.aborted) {
    await bound.close();
    throw options.signal.reason;
  }
  return bound;
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
  readonly #socket: Socket;
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

    let from: Endpoint = { address: '', port: 0 };
    socket.on('message', (data, { address, port }) => {
      if (this.#closing !== undefined) return;
      if (port !== from.port || address !== from.address) from = { address, port };
      options.onMessage(data, from);
    });
    socket.on('error', this.#report);
    this.#configure(options);
    options.signal?.addEventListener('abort', this.#abort, { once: true });
  }

  send(data: Uint8Array, to: Endpoint): void {
    if (this.#closing !== undefined) return;
    try {
      this.#socket.send(data, to.port, to.address, this.#sent);
    } catch (error) {
      this.#report(error);
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
    this.#onError?.(toNetError(cause, `send from UDP ${formatEndpoint(this.local)}`));
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
