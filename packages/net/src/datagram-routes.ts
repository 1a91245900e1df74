import type { Endpoint } from './endpoint.ts';

/**
 * What the first bytes of a datagram say it is (RFC 7983 §7, with WireGuard's message types beside STUN's).
 * - `stun`: the first byte is 0 to 3, and it is no WireGuard message
 * - `channel-data`: TURN ChannelData; the first byte is 64 to 79
 * - `wireguard`: a type of 1 to 4, three zero bytes, and the length that the type has
 * - `other`: everything else, PPPP and empty datagrams included
 */
export type DatagramKind = 'stun' | 'channel-data' | 'wireguard' | 'other';

/** Takes one datagram; runs synchronously. `data` is the handler's to keep. */
export type DatagramHandler = (data: Uint8Array, from: Endpoint) => void;

/** Which datagrams a route takes: a kind, or those for which a predicate returns true. */
export type DatagramMatch = DatagramKind | ((data: Uint8Array, from: Endpoint) => boolean);

/** Lengths of WireGuard's initiation, response and cookie reply; transport data (type 4) has at least 32 bytes. */
const WIREGUARD_BYTES: readonly (number | undefined)[] = [undefined, 148, 92, 64];
const WIREGUARD_DATA_TYPE = 4;
const WIREGUARD_DATA_MIN_BYTES = 32;

/** Returns the kind of a datagram. Never throws; see {@link DatagramKind}. */
export function datagramKind(data: Uint8Array): DatagramKind {
  const first = data[0];
  if (first === undefined) return 'other';
  if (first >= 64 && first <= 79) return 'channel-data';
  if (first > WIREGUARD_DATA_TYPE) return 'other';
  if (isWireGuard(first, data)) return 'wireguard';
  return first <= 3 ? 'stun' : 'other';
}

function isWireGuard(type: number, data: Uint8Array): boolean {
  if (data[1] !== 0 || data[2] !== 0 || data[3] !== 0) return false;
  if (type === WIREGUARD_DATA_TYPE) return data.length >= WIREGUARD_DATA_MIN_BYTES;
  return data.length === WIREGUARD_BYTES[type];
}

interface Route {
  readonly match: DatagramMatch;
  readonly handler: DatagramHandler;
}

/** Shared by all sockets that have no route, and never changed. */
const NO_ROUTES: readonly Route[] = [];
const NO_KINDS: Readonly<Partial<Record<DatagramKind, readonly Route[]>>> = {};

/**
 * Hands each datagram to one handler. Predicates are asked first, then the routes of the datagram's kind, then the default
 * handler; among equals the route that was added last comes first. What nobody takes is counted.
 */
export class DatagramRoutes {
  readonly #default: DatagramHandler | undefined;
  /** Newest first. */
  #predicates: readonly Route[] = NO_ROUTES;
  #kinds: Readonly<Partial<Record<DatagramKind, readonly Route[]>>> = NO_KINDS;
  #size = 0;
  #unrouted = 0;

  /** @param defaultHandler gets what no route takes. */
  constructor(defaultHandler?: DatagramHandler) {
    this.#default = defaultHandler;
  }

  /** Datagrams that neither a route nor the default handler took. */
  get unrouted(): number {
    return this.#unrouted;
  }

  /** Adds a route; dispose the result to remove it. A route may be added or removed by a handler. */
  add(match: DatagramMatch, handler: DatagramHandler): Disposable {
    const route: Route = { match, handler };
    if (typeof match === 'function') this.#predicates = [route, ...this.#predicates];
    else this.#kinds = { ...this.#kinds, [match]: [route, ...(this.#kinds[match] ?? [])] };
    this.#size++;
    return { [Symbol.dispose]: () => this.#remove(route) };
  }

  /** Hands a datagram to the handler that it belongs to. What the handler throws reaches the caller. */
  dispatch(data: Uint8Array, from: Endpoint): void {
    const handler = this.#size === 0 ? this.#default : this.#find(data, from);
    if (handler) handler(data, from);
    else this.#unrouted++;
  }

  #find(data: Uint8Array, from: Endpoint): DatagramHandler | undefined {
    for (const { match, handler } of this.#predicates) {
      if (typeof match === 'function' && match(data, from)) return handler;
    }
    return this.#kinds[datagramKind(data)]?.[0]?.handler ?? this.#default;
  }

  #remove(route: Route): void {
    const without = (routes: readonly Route[]) => routes.filter((other) => other !== route);
    const { match } = route;
    const before = typeof match === 'function' ? this.#predicates : (this.#kinds[match] ?? []);
    const after = without(before);
    this.#size -= before.length - after.length;
    if (typeof match === 'function') this.#predicates = after;
    else this.#kinds = { ...this.#kinds, [match]: after };
  }
}
