import { type Clock, errorMessage, type Log, type Random, Renewal } from '@towpath/core';
import { type Endpoint, formatEndpoint, sameEndpoint, type UdpSocket } from '@towpath/net';
import { LongTermAuth, type LongTermCredentials } from '../../client/long-term-auth.ts';
import { requestWithAuth } from '../../client/stun-client.ts';
import { StunTransactions } from '../../client/stun-transactions.ts';
import * as attr from '../../message/attributes.ts';
import { beginsLikeStun, Method } from '../../message/header.ts';
import { decodeStun } from '../../message/stun-message.ts';
import type { StunWriter } from '../../message/stun-writer.ts';

/** A UDP socket that carries other traffic too; `UdpSocket` of `@towpath/net` has these members. */
export type SharedSocket = Pick<UdpSocket, 'send' | 'route' | 'local'>;

/**
 * A port of the relay that carries the datagrams between this client and one peer unframed
 * (docs/protocol/turn-plain.md). While it is not verified, the channel carries them.
 */
export interface PlainPath {
  readonly peer: Endpoint;
  /** The client's socket, and the relay's port: what one sends to the other reaches the peer, and the reverse. */
  readonly local: Endpoint;
  readonly remote: Endpoint;
  /** The relay has verified our address lately. */
  readonly verified: boolean;
}

export interface PlainPathHandlers {
  /** The path carries data from now on, or no longer. */
  onChange?(path: PlainPath): void;
}

export interface PlainPathsParts {
  clock: Clock;
  random: Random;
  log: Log;
  socket: SharedSocket;
  credentials: LongTermCredentials;
  onData(data: Uint8Array, peer: Endpoint): void;
}

/**
 * How long a verification counts here: half of it is the interval of the next, which also keeps the NAT's mapping
 * (RFC 4787 §4.3). The relay keeps it for two minutes.
 */
const VERIFIED_MS = 30_000;
/**
 * Length of a request that is not signed yet: a relay answers at a plain port with no more bytes than it got, and its challenge has
 * a realm of up to about 380 bytes then. Fits every path.
 */
const UNSIGNED_BYTES = 512;
/** Of a Binding request with PLAIN-RELAY, and of the header of PADDING. */
const HEADER_BYTES = 28;
/** One verification: four requests of two, in 2.4 s. */
const VERIFY = { rtoMs: 200, maxSends: 4, lastWaitFactor: 4 } as const;

class Path implements PlainPath {
  readonly peer: Endpoint;
  readonly remote: Endpoint;
  readonly auth: LongTermAuth;
  readonly transactions: StunTransactions;
  readonly #parts: PlainPathsParts;
  readonly #handlers: PlainPathHandlers;
  readonly #renewal: Renewal;
  #verified = false;

  constructor(parts: PlainPathsParts, peer: Endpoint, remote: Endpoint, handlers: PlainPathHandlers) {
    const { clock, random, log, socket } = parts;
    this.#parts = parts;
    this.#handlers = handlers;
    this.peer = peer;
    this.remote = remote;
    this.auth = new LongTermAuth(parts.credentials);
    this.transactions = new StunTransactions({ clock, random, send: (data, to) => socket.send(data, to) }, VERIFY);
    this.#renewal = new Renewal(
      { clock, random, log },
      {
        name: `the plain port ${formatEndpoint(remote)}`,
        renew: async (signal) => {
          const write = (writer: StunWriter) => {
            writer.add(attr.plainRelay, true);
            if (this.auth.key === undefined) writer.add(attr.padding, new Uint8Array(UNSIGNED_BYTES - HEADER_BYTES));
          };
          await requestWithAuth(this.transactions, this.auth, remote, { method: Method.Binding, signal, write });
          return VERIFIED_MS;
        },
        onRenewed: () => this.#become(true),
        onExpired: () => this.#become(false),
      },
    );
  }

  get local(): Endpoint {
    return this.#parts.socket.local;
  }

  get verified(): boolean {
    return this.#verified;
  }

  receive(data: Uint8Array, from: Endpoint): void {
    if (!beginsLikeStun(data)) {
      this.#parts.onData(data, this.peer);
      return;
    }
    const result = decodeStun(data);
    if (result.ok) this.transactions.handle(result.message, from);
  }

  close(): void {
    this.#become(false);
    this.transactions.close();
    this.#renewal.stop().catch((error: unknown) => this.#parts.log.debug(errorMessage(error)));
  }

  #become(verified: boolean): void {
    if (verified === this.#verified) return;
    this.#verified = verified;
    this.#handlers.onChange?.(this);
  }
}

/** The plain ports that an allocation has at its relay. */
export class PlainPaths {
  readonly #parts: PlainPathsParts;
  readonly #route: Disposable;
  /** By the peer's endpoint; and by the relay's port, for each datagram that arrives. */
  readonly #byPeer = new Map<string, Path>();
  readonly #byPort = new Map<number, Path>();
  readonly #wanted = new Map<string, PlainPathHandlers>();
  /** By the peer's address, then port: looked up for each datagram that is sent. */
  readonly #carriers = new Map<string, Map<number, Path>>();

  constructor(parts: PlainPathsParts) {
    this.#parts = parts;
    this.#route = parts.socket.route(
      (_data, from) => this.#byPort.get(from.port)?.remote.address === from.address,
      (data, from) => this.#byPort.get(from.port)?.receive(data, from),
    );
  }

  /** Asks for a plain port at each binding of this peer's channel from now on. */
  want(peer: Endpoint, handlers: PlainPathHandlers): void {
    this.#wanted.set(formatEndpoint(peer), handlers);
  }

  wants(peer: Endpoint): boolean {
    return this.#wanted.has(formatEndpoint(peer));
  }

  of(peer: Endpoint): PlainPath | undefined {
    return this.#byPeer.get(formatEndpoint(peer));
  }

  /** Takes the relay's answer: its port for this peer, or that it has none. */
  granted(peer: Endpoint, remote: Endpoint | undefined): void {
    const key = formatEndpoint(peer);
    const before = this.#byPeer.get(key);
    if (before !== undefined && remote !== undefined && sameEndpoint(before.remote, remote)) return;
    if (before !== undefined) this.#remove(key, before);
    const handlers = this.#wanted.get(key);
    if (remote === undefined || handlers === undefined || this.#byPort.has(remote.port)) return;
    const path = new Path(this.#parts, peer, remote, handlers);
    this.#byPeer.set(key, path);
    this.#byPort.set(remote.port, path);
    const ports = this.#carriers.get(peer.address) ?? new Map<number, Path>();
    this.#carriers.set(peer.address, ports.set(peer.port, path));
  }

  /** The channel of a peer is gone, and its plain port with it. */
  lost(peer: Endpoint): void {
    const key = formatEndpoint(peer);
    const path = this.#byPeer.get(key);
    if (path !== undefined) this.#remove(key, path);
  }

  /** Sends a datagram to a peer; false when the channel must carry it. */
  send(data: Uint8Array, peer: Endpoint): boolean {
    if (this.#byPeer.size === 0) return false;
    const path = this.#carriers.get(peer.address)?.get(peer.port);
    if (!path?.verified || beginsLikeStun(data)) return false;
    this.#parts.socket.send(data, path.remote);
    return true;
  }

  replaceCredentials(credentials: LongTermCredentials): void {
    this.#parts.credentials = credentials;
    for (const path of this.#byPeer.values()) path.auth.replace(credentials);
  }

  close(): void {
    this.#wanted.clear();
    for (const [key, path] of [...this.#byPeer]) this.#remove(key, path);
    this.#route[Symbol.dispose]();
  }

  #remove(key: string, path: Path): void {
    this.#byPeer.delete(key);
    this.#byPort.delete(path.remote.port);
    this.#carriers.get(path.peer.address)?.delete(path.peer.port);
    if (this.#carriers.get(path.peer.address)?.size === 0) this.#carriers.delete(path.peer.address);
    path.close();
  }
}
