import type { Random } from '@towpath/core';
import type { Endpoint, Network, TcpConnection, TcpHandlers, TcpListener } from '@towpath/net';
import { ipv4ToNumber } from '../codec/socket-address.ts';
import { encodeTcpFrame, TcpDeframer } from '../codec/tcp-frame.ts';

/** What a server lets TCP clients do. */
export interface TcpLimits {
  /** Connections in all. @default 10000 */
  connections: number;
  /** Connections of one address: several homes behind one carrier NAT. @default 128 */
  connectionsPerAddress: number;
  /** A connection that sent nothing for so long is closed, ms. @default 90000 */
  idleMs: number;
  /** Unsent bytes of one connection above which messages to it are dropped, as a full link would. @default 262144 */
  bufferedBytes: number;
}

export const DEFAULT_TCP_LIMITS: TcpLimits = {
  connections: 10_000,
  connectionsPerAddress: 128,
  // Three device logins.
  idleMs: 90_000,
  bufferedBytes: 262_144,
};

/** Counters; a snapshot. */
export interface TcpCounters {
  accepted: number;
  /** Connections over a limit. */
  refused: number;
  /** Connections closed because they sent something that is no frame. */
  badFrames: number;
  idleClosed: number;
  /** Messages dropped because the client does not read. */
  congested: number;
}

/** One connected client. `state` is the server's to use. */
export class TcpClient<State> {
  readonly remote: Endpoint;
  readonly ip: number;
  state: State | undefined;
  lastHeardMs: number;
  readonly #connection: TcpConnection;
  readonly #front: TcpFront<State>;
  /** It sent frames in the relay form: it gets the same. */
  enciphered = false;

  constructor(front: TcpFront<State>, connection: TcpConnection, ip: number, nowMs: number) {
    this.#front = front;
    this.#connection = connection;
    this.remote = connection.remote;
    this.ip = ip;
    this.lastHeardMs = nowMs;
  }

  send(message: Uint8Array): void {
    if (this.#connection.bufferedBytes > this.#front.limits.bufferedBytes) {
      this.#front.counters.congested++;
      return;
    }
    this.#connection.write(encodeTcpFrame(message, this.enciphered ? this.#front.nonce() : undefined));
  }

  /** Drops the connection at once. */
  destroy(): void {
    this.#connection.destroy();
    this.#front.forget(this);
  }
}

export interface TcpFrontHandlers<State> {
  onMessage(client: TcpClient<State>, message: Uint8Array): void;
  onClose?(client: TcpClient<State>): void;
}

/** The TCP port of a server: messages in frames (spec/pppp §5.7) from a limited number of clients. */
export class TcpFront<State> {
  readonly limits: TcpLimits;
  readonly counters: TcpCounters = { accepted: 0, refused: 0, badFrames: 0, idleClosed: 0, congested: 0 };
  readonly #now: () => number;
  readonly #random: Random;
  readonly #handlers: TcpFrontHandlers<State>;
  readonly #clients = new Set<TcpClient<State>>();
  readonly #perAddress = new Map<number, number>();
  #listener: TcpListener | undefined;

  constructor(now: () => number, random: Random, limits: TcpLimits, handlers: TcpFrontHandlers<State>) {
    this.#now = now;
    this.#random = random;
    this.limits = limits;
    this.#handlers = handlers;
  }

  /** @throws NetError when the port cannot be had. */
  async listen(network: Network, address: string | undefined, port: number): Promise<void> {
    this.#listener = await network.listenTcp({
      address,
      port,
      onConnection: (connection) => this.#accept(connection),
    });
  }

  get local(): Endpoint | undefined {
    return this.#listener?.local;
  }

  get connections(): number {
    return this.#clients.size;
  }

  nonce(): number {
    return this.#random.integer(1, 0xffff);
  }

  /** Closes connections that have been silent for too long. */
  sweep(nowMs: number): void {
    for (const client of this.#clients) {
      if (nowMs - client.lastHeardMs <= this.limits.idleMs) continue;
      this.counters.idleClosed++;
      client.destroy();
    }
  }

  async close(): Promise<void> {
    await this.#listener?.close();
    for (const client of this.#clients) client.destroy();
  }

  #accept(connection: TcpConnection): TcpHandlers {
    const ip = ipv4ToNumber(connection.remote.address);
    const here = ip === undefined ? 0 : (this.#perAddress.get(ip) ?? 0);
    const { connections, connectionsPerAddress } = this.limits;
    if (ip === undefined || this.#clients.size >= connections || here >= connectionsPerAddress) {
      this.counters.refused++;
      connection.destroy();
      return { onData: () => {} };
    }
    this.counters.accepted++;
    this.#perAddress.set(ip, here + 1);
    const client = new TcpClient<State>(this, connection, ip, this.#now());
    this.#clients.add(client);
    const deframer = new TcpDeframer();
    const onMessage = (message: Uint8Array, enciphered: boolean) => {
      client.enciphered = enciphered;
      this.#handlers.onMessage(client, message);
    };
    return {
      onData: (piece) => {
        client.lastHeardMs = this.#now();
        if (deframer.failure !== undefined || deframer.push(piece, onMessage) === undefined) return;
        this.counters.badFrames++;
        client.destroy();
      },
      onClose: () => this.forget(client),
    };
  }

  /** A client is gone. Idempotent. */
  forget(client: TcpClient<State>): void {
    if (!this.#clients.delete(client)) return;
    const rest = (this.#perAddress.get(client.ip) ?? 1) - 1;
    if (rest === 0) this.#perAddress.delete(client.ip);
    else this.#perAddress.set(client.ip, rest);
    this.#handlers.onClose?.(client);
  }
}
