import type { Clock, Random, Timer } from '@towpath/core';
import type { Endpoint } from '@towpath/net';
import type { Allocation } from './allocation.ts';
import type { ClientLink } from './client-link.ts';
import { RESERVATION_LIFETIME_MS, type TurnLimits } from './options.ts';
import type { RelaySocket } from './relay-ports.ts';
import type { PeerConnection } from './tcp-relay.ts';
import { TokenBucket } from './token-bucket.ts';

/** What is counted for one user while it has an allocation or has just asked for one. */
interface User {
  allocations: number;
  readonly requests: TokenBucket;
  readonly bandwidth: TokenBucket | undefined;
  lastAt: number;
}

/** A client's place in the table, taken before its ports are open. */
interface Place {
  readonly user: User;
  allocation: Allocation | undefined;
}

interface Reservation {
  readonly relay: RelaySocket;
  readonly user: string;
  readonly timer: Timer;
}

/** Users without allocations are remembered for their request rate only up to this many. */
const MAX_IDLE_USERS = 4096;

/** All allocations of a server, with what is counted per user. */
export class Allocations {
  /** TCP connections to peers by CONNECTION-ID (RFC 6062). */
  readonly connections: Map<number, PeerConnection> = new Map();
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #limits: TurnLimits;
  readonly #byLink = new Map<ClientLink, Place>();
  readonly #users = new Map<string, User>();
  /** Relayed ports in use, for peers that are clients of this server too. */
  readonly #relayed = new Map<string, Set<number>>();
  readonly #reservations = new Map<string, Reservation>();

  constructor(clock: Clock, random: Random, limits: TurnLimits) {
    this.#clock = clock;
    this.#random = random;
    this.#limits = limits;
  }

  get size(): number {
    return this.#byLink.size;
  }

  get users(): number {
    let count = 0;
    for (const { allocations } of this.#users.values()) if (allocations > 0) count++;
    return count;
  }

  all(): Allocation[] {
    return [...this.#byLink.values()].map(({ allocation }) => allocation).filter((one) => one !== undefined);
  }

  /** The allocation of a client, or `pending` while its ports are being opened. */
  of(link: ClientLink): Allocation | 'pending' | undefined {
    const place = this.#byLink.get(link);
    return place === undefined ? undefined : (place.allocation ?? 'pending');
  }

  /** Counts one request of a user; false when it sends too many. */
  allowRequest(name: string): boolean {
    const now = this.#clock.now();
    const user = this.#user(name);
    user.lastAt = now;
    return user.requests.take(1, now);
  }

  /** Reserves a place for an allocation; undefined when a quota is reached. */
  begin(link: ClientLink, name: string): { bandwidth: TokenBucket | undefined } | undefined {
    const user = this.#user(name);
    if (this.#byLink.size >= this.#limits.allocations || user.allocations >= this.#limits.allocationsPerUser)
      return undefined;
    user.allocations++;
    this.#byLink.set(link, { user, allocation: undefined });
    link.hold();
    return { bandwidth: user.bandwidth };
  }

  /** The ports are open: the place becomes an allocation. */
  commit(allocation: Allocation): void {
    const place = this.#byLink.get(allocation.link);
    if (place !== undefined) place.allocation = allocation;
    allocation.link.sink = allocation;
    for (const relay of allocation.relays()) this.#ports(relay.announced.address).add(relay.announced.port);
  }

  /** Gives a place back, of an allocation or of one that came to nothing. */
  release(link: ClientLink): void {
    const place = this.#byLink.get(link);
    if (place === undefined) return;
    this.#byLink.delete(link);
    link.sink = undefined;
    link.release();
    place.user.allocations--;
    for (const relay of place.allocation?.relays() ?? []) this.dropPort(relay.announced);
  }

  dropPort({ address, port }: Endpoint): void {
    this.#relayed.get(address)?.delete(port);
  }

  isRelayed({ address, port }: Endpoint): boolean {
    return this.#relayed.get(address)?.has(port) ?? false;
  }

  /** Keeps an open port for the next allocation of the same user; returns its token (RFC 8656 §18.9). */
  reserve(relay: RelaySocket, user: string): Uint8Array {
    const token = this.#random.bytes(8);
    const name = Buffer.from(token).toString('hex');
    const timer = this.#clock.timer(RESERVATION_LIFETIME_MS, () => {
      this.#reservations.delete(name);
      void relay.socket.close();
    });
    this.#reservations.set(name, { relay, user, timer });
    return token;
  }

  /** Takes a reserved port; undefined when the token is wrong, used or too old. */
  claim(token: Uint8Array, user: string): RelaySocket | undefined {
    const name = Buffer.from(token).toString('hex');
    const reservation = this.#reservations.get(name);
    if (reservation === undefined || reservation.user !== user) return undefined;
    this.#reservations.delete(name);
    reservation.timer.cancel();
    return reservation.relay;
  }

  /** Closes everything. */
  async close(): Promise<void> {
    for (const { timer } of this.#reservations.values()) timer.cancel();
    const reserved = [...this.#reservations.values()].map(({ relay }) => relay.socket.close());
    this.#reservations.clear();
    const living = this.all();
    this.#byLink.clear();
    await Promise.all([...reserved, ...living.map((allocation) => allocation.close())]);
  }

  #user(name: string): User {
    const known = this.#users.get(name);
    if (known !== undefined) return known;
    if (this.#users.size >= this.#limits.allocations + MAX_IDLE_USERS) this.#forgetIdle();
    const now = this.#clock.now();
    const { requestsPerSecondPerUser: requests, bytesPerSecondPerUser: bytes } = this.#limits;
    const user: User = {
      allocations: 0,
      requests: new TokenBucket(requests, 2 * requests, now),
      bandwidth: Number.isFinite(bytes) ? new TokenBucket(bytes, bytes, now) : undefined,
      lastAt: now,
    };
    this.#users.set(name, user);
    return user;
  }

  /** Users whose rates have recovered need not be remembered. */
  #forgetIdle(): void {
    const before = this.#clock.now() - IDLE_USER_MS;
    for (const [name, user] of this.#users)
      if (user.allocations === 0 && user.lastAt < before) this.#users.delete(name);
  }

  #ports(address: string): Set<number> {
    const known = this.#relayed.get(address);
    if (known !== undefined) return known;
    const ports = new Set<number>();
    this.#relayed.set(address, ports);
    return ports;
  }
}

/** After this time every token bucket of a user is full again. */
const IDLE_USER_MS = 2_000;
