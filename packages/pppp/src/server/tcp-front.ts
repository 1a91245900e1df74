import type { Clock, Random } from '@towpath/core';
import type { Endpoint, Network, TcpConnection, TcpHandlers, TcpListener } from '@towpath/net';
import { ipv4ToNumber } from '../codec/socket-address.ts';
import { encodeTcpFrame, TcpDeframer } from '../codec/tcp-frame.ts';

/** What a server lets TCP clients do. */
export interface TcpLimits {
  /** Connections in all. @default 10000 */
  connections: number;
  /** Connections of one address: several homes behind one carrier NAT. @default 128 */
  connectionsPerAddress: number;
  /** Connections that have not sent a whole message yet. When there are more, the oldest is closed. @default 1000 */
  unfinished: number;
  /** The same of one address; a further connection is refused. @default 16 */
  unfinishedPerAddress: number;
  /** A message, the first one included, must be complete so many ms after the connection or its first byte. @default 10000 */
  messageMs: number;
  /** A connection that has completed no message for so long is closed, ms. @default 90000 */
  idleMs: number;
  /** Unsent bytes of one connection above which messages to it are dropped, as a full link would. @default 262144 */
  bufferedBytes: number;
  /** Unsent bytes of all connections together above which each may have a sixteenth of `bufferedBytes`. @default 256 MiB */
  totalBufferedBytes: number;
  /** A connection that has read so little for so long that messages to it are dropped is closed, ms. @default 30000 */
  congestedMs: number;
}

export const DEFAULT_TCP_LIMITS: TcpLimits = {
  connections: 10_000,
  connectionsPerAddress: 128,
  unfinished: 1_000,
  unfinishedPerAddress: 16,
  messageMs: 10_000,
  // Three device logins.
  idleMs: 90_000,
  bufferedBytes: 262_144,
  totalBufferedBytes: 256 * 1024 * 1024,
  congestedMs: 30_000,
};

/** What is left of `bufferedBytes` while all connections together are over their limit. */
const TIGHT_SHARE = 16;

/** Counters; a snapshot. `unfinished` is a level, the others only grow. */
export interface TcpCounters {
  accepted: number;
  /** Connections over a limit, closed as they came. */
  refused: number;
  /** Connections that have not sent a whole message yet. */
  unfinished: number;
  /** Connections closed because a message was not complete in time, or to make room for others. */
  unfinishedClosed: number;
  /** Connections closed because they sent something that is not a frame. */
  badFrames: number;
  idleClosed: number;
  /** Messages dropped because the client does not read. */
  congested: number;
  /** Connections closed because the client did not read for long. */
  congestedClosed: number;
}

/** One connected client. `state` is the server's to use. */
export class TcpClient<State> {
  readonly remote: Endpoint;
  readonly ip: number;
  state: State | undefined;
  /** When it completed its last message; at first when it came. */
  lastMessageMs: number;
  /** It has sent a whole message. */
  isFinished = false;
  /** When the message that it is sending began. */
  messageSinceMs: number | undefined;
  /** Since when messages to it are dropped. */
  congestedSinceMs: number | undefined;
  /** It sent frames in the relay form: it gets the same. */
  enciphered = false;
  readonly #connection: TcpConnection;
  readonly #front: TcpFront<State>;

  constructor(front: TcpFront<State>, connection: TcpConnection, ip: number, nowMs: number) {
    this.#front = front;
    this.#connection = connection;
    this.remote = connection.remote;
    this.ip = ip;
    this.lastMessageMs = nowMs;
    this.messageSinceMs = nowMs;
  }

  get bufferedBytes(): number {
    return this.#connection.bufferedBytes;
  }

  send(message: Uint8Array): void {
    if (!this.#front.mayQueue(this)) return;
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

/** How many connections an address has. */
interface AddressCount {
  all: number;
  unfinished: number;
}

/** The TCP port of a server: messages in frames (docs/protocol/pppp.md, "TCP framing") from a limited number of clients. */
export class TcpFront<State> {
  readonly limits: TcpLimits;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #handlers: TcpFrontHandlers<State>;
  readonly #clients = new Set<TcpClient<State>>();
  /** In the order in which they came. */
  readonly #unfinished = new Set<TcpClient<State>>();
  readonly #perAddress = new Map<number, AddressCount>();
  readonly #counters = {
    accepted: 0,
    refused: 0,
    unfinishedClosed: 0,
    badFrames: 0,
    idleClosed: 0,
    congested: 0,
    congestedClosed: 0,
  };
  /** All connections together hold more unsent bytes than they may. */
  #tight = false;
  #listener: TcpListener | undefined;

  constructor(components: { clock: Clock; random: Random }, limits: TcpLimits, handlers: TcpFrontHandlers<State>) {
    this.#clock = components.clock;
    this.#random = components.random;
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

  get counters(): TcpCounters {
    return { ...this.#counters, unfinished: this.#unfinished.size };
  }

  get connections(): number {
    return this.#clients.size;
  }

  nonce(): number {
    return this.#random.integer(1, 0xffff);
  }

  /** Whether one more message may wait to be sent to a client; counts it when not. */
  mayQueue(client: TcpClient<State>): boolean {
    const { bufferedBytes } = this.limits;
    if (client.bufferedBytes <= (this.#tight ? bufferedBytes / TIGHT_SHARE : bufferedBytes)) {
      client.congestedSinceMs = undefined;
      return true;
    }
    client.congestedSinceMs ??= this.#clock.now();
    this.#counters.congested++;
    return false;
  }

  /** Closes connections that take too long to complete a message, have been silent for too long or do not read. */
  sweep(nowMs: number): void {
    const { idleMs, messageMs, congestedMs, totalBufferedBytes } = this.limits;
    let buffered = 0;
    for (const client of this.#clients) {
      buffered += client.bufferedBytes;
      if (client.messageSinceMs !== undefined && nowMs - client.messageSinceMs > messageMs) {
        this.#counters.unfinishedClosed++;
      } else if (nowMs - client.lastMessageMs > idleMs) {
        this.#counters.idleClosed++;
      } else if (client.congestedSinceMs !== undefined && nowMs - client.congestedSinceMs > congestedMs) {
        this.#counters.congestedClosed++;
      } else {
        continue;
      }
      client.destroy();
    }
    this.#tight = buffered > totalBufferedBytes;
  }

  async close(): Promise<void> {
    await this.#listener?.close();
    for (const client of this.#clients) client.destroy();
  }

  #accept(connection: TcpConnection): TcpHandlers {
    const ip = ipv4ToNumber(connection.remote.address);
    if (ip === undefined || !this.#admit(ip)) {
      this.#counters.refused++;
      connection.destroy();
      return { onData: () => {} };
    }
    this.#counters.accepted++;
    const client = new TcpClient<State>(this, connection, ip, this.#clock.now());
    this.#clients.add(client);
    this.#unfinished.add(client);
    const deframer = new TcpDeframer();
    const onMessage = (message: Uint8Array, enciphered: boolean) => {
      this.#onMessage(client);
      client.enciphered = enciphered;
      this.#handlers.onMessage(client, message);
    };
    return {
      onData: (piece) => {
        if (deframer.failure !== undefined) return;
        client.messageSinceMs ??= this.#clock.now();
        if (deframer.push(piece, onMessage) === undefined) {
          if (deframer.waitingBytes === 0) client.messageSinceMs = undefined;
          return;
        }
        this.#counters.badFrames++;
        client.destroy();
      },
      onClose: () => this.forget(client),
    };
  }

  /** Counts one more connection of an address, making room for it where unfinished ones are in the way. */
  #admit(ip: number): boolean {
    const { connections, connectionsPerAddress, unfinished, unfinishedPerAddress } = this.limits;
    const count = this.#perAddress.get(ip) ?? { all: 0, unfinished: 0 };
    if (count.all >= connectionsPerAddress || count.unfinished >= unfinishedPerAddress) return false;
    if (this.#unfinished.size >= unfinished || this.#clients.size >= connections) {
      const [oldest] = this.#unfinished;
      if (oldest === undefined) return false;
      this.#counters.unfinishedClosed++;
      oldest.destroy();
    }
    // The one that was closed may have been of this address, the last that kept its count.
    const own = this.#perAddress.get(ip) ?? { all: 0, unfinished: 0 };
    own.all++;
    own.unfinished++;
    this.#perAddress.set(ip, own);
    return true;
  }

  #onMessage(client: TcpClient<State>): void {
    const now = this.#clock.now();
    client.lastMessageMs = now;
    // Bytes after it in the same piece begin another message.
    client.messageSinceMs = now;
    if (client.isFinished) return;
    client.isFinished = true;
    this.#unfinished.delete(client);
    const count = this.#perAddress.get(client.ip);
    if (count !== undefined) count.unfinished--;
  }

  /** A client is gone. Idempotent. */
  forget(client: TcpClient<State>): void {
    if (!this.#clients.delete(client)) return;
    const count = this.#perAddress.get(client.ip);
    if (count !== undefined) {
      count.all--;
      if (this.#unfinished.delete(client)) count.unfinished--;
      if (count.all === 0) this.#perAddress.delete(client.ip);
    }
    this.#handlers.onClose?.(client);
  }
}
