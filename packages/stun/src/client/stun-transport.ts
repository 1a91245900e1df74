import { type Clock, deadline } from '@towpath/core';
import { type Endpoint, formatEndpoint, type Network, type TlsClientOptions } from '@towpath/net';
import { StreamFramer } from '../message/stream-framer.ts';
import { StunError } from './stun-error.ts';

/** How a STUN or TURN server is reached. */
export type TransportProtocol = 'udp' | 'tcp' | 'tls';

/** The transport to one server: a UDP socket, or a TCP or TLS connection that is split into messages. */
export interface StunTransport extends AsyncDisposable {
  readonly transport: TransportProtocol;
  readonly local: Endpoint;
  readonly server: Endpoint;
  /** Bytes that wait for a slow connection; 0 over UDP. */
  readonly bufferedBytes: number;
  /** Sends one message or ChannelData (padded by the caller when {@link isStream}). */
  send(data: Uint8Array): void;
  /** Idempotent. */
  close(): Promise<void>;
}

export interface StunTransportComponents {
  network: Network;
  clock: Clock;
}

export interface StunTransportOptions {
  transport?: TransportProtocol;
  tls?: TlsClientOptions | undefined;
  localAddress?: string | undefined;
  localPort?: number | undefined;
  /** One message or ChannelData, without padding. */
  onFrame(frame: Uint8Array, from: Endpoint): void;
  /** The connection ended by itself or broke; never called over UDP or after `close`. */
  onClose?(error: StunError): void;
  /** Ends the transport, also while it is opened. */
  signal?: AbortSignal | undefined;
  /** Ends the opening only. */
  openSignal?: AbortSignal | undefined;
  /** Time limit of a connection, its TLS handshake included, ms. @default 39500 */
  openLimitMs?: number | undefined;
}

/** Wait for a reliable transport, ms (Ti of RFC 8489 §6.2.2). */
export const RELIABLE_TIMEOUT_MS = 39_500;

export function isStream(transport: TransportProtocol): boolean {
  return transport !== 'udp';
}

/**
 * Opens the transport to `server`.
 * @throws what {@link Network.bindUdp} and {@link Network.connectTcp} throw; StunError `stun-timed-out` when a connection is
 *   not open in time.
 */
export function openStunTransport(
  components: StunTransportComponents,
  server: Endpoint,
  options: StunTransportOptions,
): Promise<StunTransport> {
  return (options.transport ?? 'udp') === 'udp'
    ? openUdp(components, server, options)
    : openStream(components, server, options);
}

async function openUdp(
  { network }: StunTransportComponents,
  server: Endpoint,
  options: StunTransportOptions,
): Promise<StunTransport> {
  const socket = await network.bindUdp({
    address: options.localAddress,
    port: options.localPort,
    family: server.address.includes(':') ? 6 : 4,
    signal: options.signal,
    onMessage: (data, from) => options.onFrame(data, from),
  });
  return {
    transport: 'udp',
    local: socket.local,
    server,
    bufferedBytes: 0,
    send: (data) => socket.send(data, server),
    close: () => socket.close(),
    [Symbol.asyncDispose]: () => socket.close(),
  };
}

async function openStream(
  { network, clock }: StunTransportComponents,
  server: Endpoint,
  options: StunTransportOptions,
): Promise<StunTransport> {
  const transport = options.transport ?? 'tcp';
  const target = formatEndpoint(server);
  let closed = false;
  const lost = (why: string, cause?: unknown) => {
    if (closed) return;
    closed = true;
    options.onClose?.(new StunError('stun-closed', `The connection to ${target} ended: ${why}.`, { target, cause }));
  };
  const framer = new StreamFramer((frame) => options.onFrame(frame, server), { stunFirst: true });
  // A server that accepts and then leaves the handshake unanswered would be waited for without end.
  using limit = deadline(clock, options.openLimitMs ?? RELIABLE_TIMEOUT_MS, options.openSignal, () => {
    const text = `${target} has not completed the ${transport.toUpperCase()} connection in time. Next: check the address and the port.`;
    return new StunError('stun-timed-out', text, { target });
  });
  const connection = await network.connectTcp(server, {
    localAddress: options.localAddress,
    localPort: options.localPort,
    tls: transport === 'tls' ? (options.tls ?? {}) : undefined,
    signal: options.signal === undefined ? limit.signal : AbortSignal.any([limit.signal, options.signal]),
    onData(data) {
      if (closed || framer.push(data)) return;
      lost('it sent something that is not STUN');
      connection.destroy();
    },
    onClose: (error) => lost(error === undefined ? 'the server closed it' : error.message, error),
  });
  const close = () => {
    closed = true;
    return connection.close();
  };
  return {
    transport,
    local: connection.local,
    server,
    get bufferedBytes() {
      return connection.bufferedBytes;
    },
    send: (data) => {
      connection.write(data);
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}
