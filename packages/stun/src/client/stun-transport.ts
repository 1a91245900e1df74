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

export interface StunTransportOptions {
  transport?: TransportProtocol;
  tls?: TlsClientOptions | undefined;
  localAddress?: string | undefined;
  localPort?: number | undefined;
  /** One message or ChannelData, without padding. */
  onFrame(frame: Uint8Array, from: Endpoint): void;
  /** The connection ended by itself or broke; never called over UDP or after `close`. */
  onClose?(error: StunError): void;
  signal?: AbortSignal | undefined;
}

export function isStream(transport: TransportProtocol): boolean {
  return transport !== 'udp';
}

/** Opens the transport to `server`. @throws what {@link Network.bindUdp} and {@link Network.connectTcp} throw. */
export function openStunTransport(
  network: Network,
  server: Endpoint,
  options: StunTransportOptions,
): Promise<StunTransport> {
  return (options.transport ?? 'udp') === 'udp'
    ? openUdp(network, server, options)
    : openStream(network, server, options);
}

async function openUdp(network: Network, server: Endpoint, options: StunTransportOptions): Promise<StunTransport> {
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

async function openStream(network: Network, server: Endpoint, options: StunTransportOptions): Promise<StunTransport> {
  const transport = options.transport ?? 'tcp';
  const target = formatEndpoint(server);
  let closed = false;
  const lost = (why: string, cause?: unknown) => {
    if (closed) return;
    closed = true;
    options.onClose?.(new StunError('stun-closed', `The connection to ${target} ended: ${why}.`, { target, cause }));
  };
  const framer = new StreamFramer((frame) => options.onFrame(frame, server), { stunFirst: true });
  const connection = await network.connectTcp(server, {
    localAddress: options.localAddress,
    localPort: options.localPort,
    tls: transport === 'tls' ? (options.tls ?? {}) : undefined,
    signal: options.signal,
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
