import { type Clock, deadline, errorMessage, type PathKind } from '@towpath/core';
import type { Endpoint, Network, TcpConnection } from '@towpath/net';
import type { StreamCipher } from '../cipher/stream-cipher.ts';
import { encodeTcpFrame, TcpDeframer } from '../codec/tcp-frame.ts';
import { PpppError } from '../pppp-error.ts';
import type { SessionCarrier } from '../session/carrier.ts';

/** Messages that wait for the connection; unanswered requests are sent again anyway. */
const MAX_WAITING = 16;

/** Unsent bytes above which datagrams are dropped, as a full link would: the session sends them again. */
const MAX_BUFFERED_BYTES: number = 256 * 1024;

/** How long a closing connection may take to send what is queued. */
const CLOSE_LIMIT_MS = 500;

export interface FramedConnectionOptions {
  to: Endpoint;
  localAddress?: string | undefined;
  cipher: StreamCipher | undefined;
  /** The connection is there. */
  onOpen?: (local: Endpoint) => void;
  /** A datagram in its cipher, the receiver's to keep. */
  onDatagram(datagram: Uint8Array): void;
  /**
   * Called once: it could not be opened, broke, or was ended by the other side. Not called after `close` or `destroy`.
   */
  onLost(error: Error): void;
}

/**
 * Datagrams to a server or relay in frames on a TCP connection (docs/protocol/pppp.md, "TCP framing"). They may be sent
 * before it is there.
 */
export class FramedConnection {
  readonly #network: Network;
  readonly #clock: Clock;
  readonly #options: FramedConnectionOptions;
  readonly #deframer = new TcpDeframer();
  readonly #opening = new AbortController();
  #waiting: Uint8Array[] = [];
  #connection: TcpConnection | undefined;
  #over = false;

  constructor({ network, clock }: { network: Network; clock: Clock }, options: FramedConnectionOptions) {
    this.#network = network;
    this.#clock = clock;
    this.#options = options;
    void this.#open();
  }

  get to(): Endpoint {
    return this.#options.to;
  }

  /** Undefined until the connection is there. */
  get local(): Endpoint | undefined {
    return this.#connection?.local;
  }

  /** Sends a datagram in the clear in the connection's cipher. */
  send(clear: Uint8Array): void {
    const { cipher } = this.#options;
    this.sendDatagram(cipher === undefined ? clear : cipher.encipher(clear));
  }

  /** Sends a datagram as it is. */
  sendDatagram(datagram: Uint8Array): void {
    if (this.#over) return;
    if (this.#connection === undefined) {
      if (this.#waiting.length < MAX_WAITING) this.#waiting.push(datagram);
    } else if (this.#connection.bufferedBytes <= MAX_BUFFERED_BYTES) {
      this.#connection.write(encodeTcpFrame(datagram));
    }
  }

  /** Sends what is queued, then closes. */
  async close(): Promise<void> {
    const connection = this.#connection;
    this.#end();
    if (connection === undefined) return;
    using limit = deadline(this.#clock, CLOSE_LIMIT_MS);
    limit.signal.addEventListener('abort', () => connection.destroy(), { once: true });
    await connection.close();
  }

  /** Drops everything at once. */
  destroy(): void {
    const connection = this.#connection;
    this.#end();
    connection?.destroy();
  }

  async #open(): Promise<void> {
    const { to, localAddress, onOpen } = this.#options;
    try {
      const connection = await this.#network.connectTcp(to, {
        localAddress,
        signal: this.#opening.signal,
        onData: (piece) => this.#onData(piece),
        onClose: (error) => this.#lose(error ?? new Error('the other side closed the connection')),
      });
      if (this.#over) {
        connection.destroy();
        return;
      }
      this.#connection = connection;
      onOpen?.(connection.local);
      for (const datagram of this.#waiting.splice(0)) this.sendDatagram(datagram);
    } catch (error) {
      this.#lose(error instanceof Error ? error : new Error(errorMessage(error)));
    }
  }

  #onData(piece: Uint8Array): void {
    if (this.#over) return;
    const failure = this.#deframer.push(piece, (datagram) => {
      if (!this.#over) this.#options.onDatagram(datagram);
    });
    if (failure === undefined || this.#over) return;
    const error = new PpppError('not-pppp', `What comes over TCP is not PPPP (${failure}). Check the port.`);
    this.#connection?.destroy();
    this.#lose(error);
  }

  #lose(error: Error): void {
    if (this.#over) return;
    this.#end();
    this.#options.onLost(error);
  }

  #end(): void {
    this.#over = true;
    this.#waiting = [];
    // An open connection is closed by its owner: aborting would reset it.
    if (this.#connection === undefined) this.#opening.abort();
    this.#connection = undefined;
  }
}

/** A session over a connection to a relay. */
export class TcpCarrier implements SessionCarrier {
  readonly pathKind: PathKind = 'relay';
  readonly local: Endpoint;
  readonly peer: Endpoint;
  readonly #connection: FramedConnection;
  readonly #onClose: () => void;

  /** @param onClose called when the session is over */
  constructor(connection: FramedConnection, onClose: () => void = () => {}) {
    this.#connection = connection;
    this.#onClose = onClose;
    this.local = connection.local ?? { address: '0.0.0.0', port: 0 };
    this.peer = connection.to;
  }

  send(datagram: Uint8Array): void {
    this.#connection.sendDatagram(datagram);
  }

  close(): Promise<void> {
    this.#onClose();
    return this.#connection.close();
  }
}
