import type { Clock, Timer } from '@towpath/core';
import type {
  ConnectionLimit,
  Endpoint,
  Network,
  TcpConnection,
  TcpHandlers,
  TcpListener,
  TlsServerOptions,
} from '@towpath/net';
import { isAnyChannelData } from '../../message/channel-data.ts';
import { StreamFramer } from '../../message/stream-framer.ts';
import type { ChannelSink, ClientLink, LinkReceiver } from './client-link.ts';
import { MAX_STREAM_BACKLOG_BYTES } from './options.ts';
import type { PeerConnection, StreamEnd } from './tcp-relay.ts';

/** A connection that has no allocation after this time is of no use to its client. */
const UNUSED_CONNECTION_MS = 60_000;

export interface StreamListenerOptions {
  address: string;
  port: number;
  tls: TlsServerOptions | undefined;
  limit: ConnectionLimit;
  onError(error: Error): void;
}

/** A client's TCP or TLS connection: messages and ChannelData, or raw bytes once it is bound to a peer's connection. */
export class StreamLink implements ClientLink, StreamEnd {
  readonly transport: 'tcp' | 'tls';
  readonly remote: Endpoint;
  sink: ChannelSink | undefined;
  readonly #connection: TcpConnection;
  readonly #receiver: LinkReceiver;
  readonly #clock: Clock;
  readonly #framer: StreamFramer;
  readonly #setUsed: (used: boolean) => void;
  #peer: PeerConnection | undefined;
  #unused: Timer;

  /** @param setUsed tells the limit of connections whether this one is of use to its client. */
  constructor(
    connection: TcpConnection,
    transport: 'tcp' | 'tls',
    receiver: LinkReceiver,
    clock: Clock,
    setUsed: (used: boolean) => void,
  ) {
    this.#setUsed = setUsed;
    this.transport = transport;
    this.remote = connection.remote;
    this.#connection = connection;
    this.#receiver = receiver;
    this.#clock = clock;
    this.#framer = new StreamFramer((frame) => this.#frame(frame), { stunFirst: true });
    this.#unused = this.#watch();
  }

  get bufferedBytes(): number {
    return this.#connection.bufferedBytes;
  }

  send(data: Uint8Array): boolean {
    if (this.#connection.bufferedBytes > MAX_STREAM_BACKLOG_BYTES) return false;
    this.#connection.write(data);
    return true;
  }

  write(data: Uint8Array): void {
    this.#connection.write(data);
  }

  setPaused(paused: boolean): void {
    this.#connection.setPaused(paused);
  }

  drained(): void {
    this.#peer?.clientDrained();
  }

  hold(): void {
    this.#setUsed(true);
  }

  release(): void {
    this.#setUsed(false);
  }

  reject(): void {
    this.#connection.destroy();
  }

  /** From here on the stream is raw data to and from a peer (RFC 6062 §5.4). */
  become(peer: PeerConnection, answer: Uint8Array): void {
    this.#framer.stop();
    this.#setUsed(true);
    this.#connection.write(answer);
    this.#peer = peer;
    peer.bind(this);
    const early = this.#framer.rest();
    if (early.length > 0) peer.fromClient(early);
  }

  receive(data: Uint8Array): void {
    if (this.#peer !== undefined) this.#peer.fromClient(data);
    else if (!this.#framer.push(data)) {
      this.#receiver.onStray('malformed');
      this.#connection.destroy();
    }
  }

  gone(): void {
    this.#unused.cancel();
    this.#peer?.end();
    this.#receiver.onGone(this);
  }

  close(): void {
    void this.#connection.close();
  }

  #frame(frame: Uint8Array): void {
    if (!isAnyChannelData(frame)) this.#receiver.onStun(this, frame);
    else if (this.sink === undefined) this.#receiver.onStray('notPermitted');
    else this.sink.fromClientChannel(frame);
  }

  #watch(): Timer {
    return this.#clock.timer(UNUSED_CONNECTION_MS, () => {
      if (this.sink === undefined && this.#peer === undefined) this.#connection.destroy();
      else this.#unused = this.#watch();
    });
  }
}

/** One TCP or TLS port that clients connect to. */
export class StreamListener {
  readonly #receiver: LinkReceiver;
  readonly #clock: Clock;
  #listener: TcpListener | undefined;

  constructor(receiver: LinkReceiver, clock: Clock) {
    this.#receiver = receiver;
    this.#clock = clock;
  }

  async bind(network: Network, options: StreamListenerOptions): Promise<void> {
    const { address, port, tls, limit, onError } = options;
    this.#listener = await network.listenTcp({
      address,
      port,
      tls,
      limit,
      onError,
      onConnection: (connection) => this.#accept(connection, options),
    });
  }

  get local(): Endpoint {
    return this.#listener!.local;
  }

  /** Stops accepting and destroys the clients' connections. */
  async close(): Promise<void> {
    await this.#listener?.close();
  }

  #accept(connection: TcpConnection, { limit, tls }: StreamListenerOptions): TcpHandlers {
    const used = (value: boolean) => limit.setUsed(connection, value);
    const link = new StreamLink(connection, tls === undefined ? 'tcp' : 'tls', this.#receiver, this.#clock, used);
    return {
      onData: (data) => link.receive(data),
      onDrain: () => link.drained(),
      onClose: () => link.gone(),
    };
  }
}
