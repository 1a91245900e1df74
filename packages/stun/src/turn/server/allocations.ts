import { type Clock, type Random, RateLimit, type Timer } from '@towpath/core';
import { type Endpoint, formatEndpoint } from '@towpath/net';
import type { Allocation } from './allocation.ts';
import type { ClientLink } from './client-link.ts';
import type { GroupQuotas } from './group-quotas.ts';
import { RESERVATION_LIFETIME_MS, type TurnLimits } from './options.ts';
import type { RelaySocket } from './relay-ports.ts';
import type { PeerConnection, TcpRelay } from './tcp-relay.ts';

/** What is counted for one user while it has an allocation or a reserved port. */
interface User {
  readonly name: string;
  allocations: number;
  reservations: number;
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

/** All allocations of a server, with what is counted per user. */
export class Allocations {
  /** TCP connections to peers by CONNECTION-ID (RFC 6062). */
  readonly connections: Map<number, PeerConnection> = new Map();
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #limits: TurnLimits;
  readonly #groups: GroupQuotas;
  readonly #byLink = new Map<ClientLink, Place>();
  readonly #requests: RateLimit;
  readonly #users = new Map<string, User>();
  /** Relayed ports in use, for peers that are clients of this server too. */
  readonly #relayed = new Map<string, Set<number>>();
  readonly #tcpRelays = new Map<string, TcpRelay>();
  readonly #reservations = new Map<string, Reservation>();

  constructor({ clock, random, groups }: { clock: Clock; random: Random; groups: GroupQuotas }, limits: TurnLimits) {
    this.#groups = groups;
    this.#clock = clock;
    this.#random = random;
    this.#limits = limits;
    const perSecond = limits.requestsPerSecondPerUser;
    this.#requests = new RateLimit({ clock }, { perSecond, burst: 2 * perSecond });
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
    return this.#requests.take(name);
  }

  /**
   * Takes a place for an allocation.
   * @param token of the user's own reserved port, which has a place in the quota already.
   * @returns the quota that is reached; undefined when the place was taken.
   */
  begin(link: ClientLink, name: string, token?: Uint8Array): string | undefined {
    const user = this.#users.get(name) ?? { name, allocations: 0, reservations: 0 };
    const reserved = token !== undefined && this.#reservations.get(hex(token))?.user === name;
    const reached = this.#quotaReached(user, reserved ? 1 : 0);
    if (reached !== undefined) return reached;
    this.#users.set(name, user);
    user.allocations++;
    this.#groups.take(name);
    this.#byLink.set(link, { user, allocation: undefined });
    link.hold();
    return undefined;
  }

  /** The ports are open: the place becomes an allocation. */
  commit(allocation: Allocation): void {
    const place = this.#byLink.get(allocation.link);
    if (place !== undefined) place.allocation = allocation;
    allocation.link.sink = allocation;
    if (allocation.tcp !== undefined) this.#tcpRelays.set(formatEndpoint(allocation.tcp.announced), allocation.tcp);
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
    this.#groups.giveBack(place.user.name);
    this.#forgetIdle(place.user);
    const tcp = place.allocation?.tcp;
    if (tcp !== undefined) this.#tcpRelays.delete(formatEndpoint(tcp.announced));
    for (const relay of place.allocation?.relays() ?? []) this.dropPort(relay.announced);
  }

  dropPort({ address, port }: Endpoint): void {
    this.#relayed.get(address)?.delete(port);
  }

  /** The TCP allocation that has a relayed address (RFC 6062). */
  tcpRelay(announced: Endpoint): TcpRelay | undefined {
    return this.#tcpRelays.get(formatEndpoint(announced));
  }

  isRelayed({ address, port }: Endpoint): boolean {
    return this.#relayed.get(address)?.has(port) ?? false;
  }

  /** The quota that keeps a user from reserving one more port; reservations count as allocations. */
  reservationLimit(user: string): string | undefined {
    return this.#quotaReached(this.#users.get(user) ?? { name: user, allocations: 0, reservations: 0 });
  }

  /** Keeps an open port for the next allocation of the same user; returns its token (RFC 8656 §18.9). */
  reserve(relay: RelaySocket, user: string): Uint8Array {
    const token = this.#random.bytes(8);
    const name = hex(token);
    const timer = this.#clock.timer(RESERVATION_LIFETIME_MS, () => {
      this.#unreserve(name);
      void relay.socket.close();
    });
    this.#user(user).reservations++;
    this.#groups.take(user);
    this.#reservations.set(name, { relay, user, timer });
    return token;
  }

  /** Takes a reserved port; undefined when the token is wrong, used or too old. */
  claim(token: Uint8Array, user: string): RelaySocket | undefined {
    const name = hex(token);
    const reservation = this.#reservations.get(name);
    if (reservation === undefined || reservation.user !== user) return undefined;
    this.#unreserve(name);
    return reservation.relay;
  }

  /** @param counted places that the user gives back for the one that it takes. */
  #quotaReached({ name, allocations, reservations }: User, counted = 0): string | undefined {
    const { allocations: total, allocationsPerUser } = this.#limits;
    if (this.#byLink.size + this.#reservations.size - counted >= total) return 'total';
    if (allocations + reservations - counted >= allocationsPerUser) return 'user';
    return this.#groups.full(name, counted);
  }

  #unreserve(name: string): void {
    const reservation = this.#reservations.get(name);
    if (reservation === undefined) return;
    this.#reservations.delete(name);
    reservation.timer.cancel();
    const user = this.#user(reservation.user);
    user.reservations--;
    this.#groups.giveBack(user.name);
    this.#forgetIdle(user);
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
    const user: User = { name, allocations: 0, reservations: 0 };
    this.#users.set(name, user);
    return user;
  }

  #forgetIdle({ name, allocations, reservations }: User): void {
    if (allocations + reservations === 0) this.#users.delete(name);
  }

  #ports(address: string): Set<number> {
    const known = this.#relayed.get(address);
    if (known !== undefined) return known;
    const ports = new Set<number>();
    this.#relayed.set(address, ports);
    return ports;
  }
}

function hex(token: Uint8Array): string {
  return Buffer.from(token).toString('hex');
}
