import { type Clock, errorMessage, type Log, type Random, SharedWork, silentLog } from '@towpath/core';
import {
  ConnectionLimit,
  type Endpoint,
  formatEndpoint,
  type Network,
  type TcpConnection,
  type TcpHandlers,
  type TcpListener,
} from '@towpath/net';
import type { LiveSource } from '../live-source.ts';
import type { RtspUser } from './digest.ts';
import { RtspConnection } from './rtsp-connection.ts';
import { describeStream, type StreamDescription } from './sdp.ts';

export interface RtspServerComponents {
  readonly network: Network;
  readonly clock: Clock;
  readonly random: Random;
  readonly log?: Log;
  /** The camera. Its stream runs only while somebody watches. */
  readonly source: LiveSource;
}

export interface RtspServerOptions {
  /** @default 127.0.0.1 */
  readonly address?: string;
  /** @default 8554 */
  readonly port?: number;
  readonly user: RtspUser;
  /** Viewers at a time. @default 8 */
  readonly maxConnections?: number;
}

const DEFAULT_PORT = 8554;
const MAX_CONNECTIONS = 8;

/**
 * Serves the live video of one camera by RTSP 1.0 (RFC 2326): H.264 and AAC as RTP over UDP or inside the connection,
 * for any number of paths, with digest authentication.
 */
export class RtspServer implements AsyncDisposable {
  readonly #components: RtspServerComponents;
  readonly #options: RtspServerOptions;
  readonly #log: Log;
  readonly #connections = new Set<RtspConnection>();
  readonly #describing: SharedWork<StreamDescription>;
  #description: StreamDescription | undefined;
  #listener: TcpListener | undefined;

  private constructor(components: RtspServerComponents, options: RtspServerOptions) {
    this.#components = components;
    this.#options = options;
    this.#log = (components.log ?? silentLog).child('RTSP');
    this.#describing = new SharedWork((signal) => describeStream(components.source.live({ signal })));
  }

  /** @throws NetError as `Network.listenTcp` */
  static async listen(components: RtspServerComponents, options: RtspServerOptions): Promise<RtspServer> {
    const server = new RtspServer(components, options);
    const { address = '127.0.0.1', port = DEFAULT_PORT, maxConnections = MAX_CONNECTIONS } = options;
    // Strangers make room for each other, never a viewer for them.
    const limit = new ConnectionLimit({ total: maxConnections, perAddress: maxConnections });
    server.#listener = await components.network.listenTcp({
      address,
      port,
      limit,
      onConnection: (connection) => server.#accept(connection, () => limit.setUsed(connection, true)),
      onError: (error) => server.#log.warn(`The listener failed: ${errorMessage(error)}`),
    });
    return server;
  }

  get local(): Endpoint {
    return this.#listener!.local;
  }

  /** Viewers that are playing. */
  get playing(): number {
    return [...this.#connections].filter((connection) => connection.playing).length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#listener?.close();
    await Promise.all([...this.#connections].map((connection) => connection.close()));
  }

  #accept(tcp: TcpConnection, onAuthorized: () => void): TcpHandlers {
    const from = formatEndpoint(tcp.remote);
    this.#log.debug(`${from} connected`);
    const connection = new RtspConnection(
      { ...this.#components, log: this.#log, tcp },
      {
        user: this.#options.user,
        describe: (signal) => this.#describe(signal),
        onAuthorized,
        onClosed: () => {
          this.#connections.delete(connection);
          this.#log.debug(`${from} left`);
        },
      },
    );
    this.#connections.add(connection);
    return connection.handlers();
  }

  /** The camera sends the same kind of stream each time, so it is asked once. */
  async #describe(signal: AbortSignal): Promise<StreamDescription> {
    this.#description ??= await this.#describing.join(signal);
    return this.#description;
  }
}
