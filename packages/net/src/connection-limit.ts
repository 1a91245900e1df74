import { subnetOf } from './address/subnet.ts';
import type { Endpoint } from './endpoint.ts';

export interface ConnectionLimitOptions {
  /** Connections at a time, unfinished TLS handshakes included. */
  total: number;
  /** Connections of one IPv4 address or one IPv6 /64 at a time. @default a sixteenth of `total`, at least 8 */
  perAddress?: number | undefined;
}

/** What a limit counts at this moment, and since the start. */
export interface ConnectionLimitStats {
  readonly open: number;
  /** Of these, the ones that nobody has marked as used; unfinished handshakes are among them. */
  readonly unused: number;
  /** Connections that were refused because everything was in use. */
  readonly refused: number;
  /** Unused connections that were closed to make room. */
  readonly evicted: number;
}

interface Place {
  readonly key: string;
  readonly source: Source;
  used: boolean;
  drop(): void;
}

/** The places of one address, the oldest first. */
interface Source {
  readonly key: string;
  readonly places: Set<Place>;
  readonly unused: Set<Place>;
}

/**
 * Limits the connections of one or several listeners, per address and in total, from the moment that they are accepted.
 * Where a limit is reached, a new connection takes the place of the oldest unused one of the address that has most of
 * them: one address that opens connections without end cannot keep others out.
 */
export class ConnectionLimit {
  readonly #total: number;
  readonly #perAddress: number;
  readonly #places = new Map<string, Place>();
  readonly #sources = new Map<string, Source>();
  #unused = 0;
  #refused = 0;
  #evicted = 0;

  constructor({ total, perAddress = Math.max(8, total / 16) }: ConnectionLimitOptions) {
    this.#total = total;
    this.#perAddress = perAddress;
  }

  get stats(): ConnectionLimitStats {
    return { open: this.#places.size, unused: this.#unused, refused: this.#refused, evicted: this.#evicted };
  }

  /**
   * Takes a place for a connection. Called by the network when it accepts one.
   * @param ends of the connection; {@link leave} gives the place back.
   * @param drop closes the connection at once.
   * @returns false when there is no place: close it.
   */
  enter(local: Endpoint, remote: Endpoint, drop: () => void): boolean {
    const key = addressKey(remote.address);
    const source = this.#sources.get(key) ?? { key, places: new Set(), unused: new Set() };
    if (source.places.size >= this.#perAddress) this.#evict(source);
    else if (this.#places.size >= this.#total) this.#evict(this.#heaviest());
    if (source.places.size >= this.#perAddress || this.#places.size >= this.#total) {
      this.#refused++;
      return false;
    }
    const place: Place = { key: keyOf(local, remote), source, used: false, drop };
    this.#sources.set(key, source);
    this.#places.set(place.key, place);
    source.places.add(place);
    source.unused.add(place);
    this.#unused++;
    return true;
  }

  /** Replaces how a connection is closed: it was a TCP connection and now is a TLS one. */
  replaceDrop(local: Endpoint, remote: Endpoint, drop: () => void): void {
    const place = this.#places.get(keyOf(local, remote));
    if (place !== undefined) place.drop = drop;
  }

  /** Marks a connection as used by its client, or not. Used ones are never closed to make room. */
  setUsed({ local, remote }: { readonly local: Endpoint; readonly remote: Endpoint }, used: boolean): void {
    const place = this.#places.get(keyOf(local, remote));
    if (place === undefined || place.used === used) return;
    place.used = used;
    this.#unused += used ? -1 : 1;
    if (used) place.source.unused.delete(place);
    else place.source.unused.add(place);
  }

  /** Gives the place of a connection back. Called by the network when it has ended. */
  leave(local: Endpoint, remote: Endpoint): void {
    const place = this.#places.get(keyOf(local, remote));
    if (place !== undefined) this.#free(place);
  }

  #free(place: Place): void {
    this.#places.delete(place.key);
    const { source } = place;
    source.places.delete(place);
    if (source.unused.delete(place)) this.#unused--;
    if (source.places.size === 0) this.#sources.delete(source.key);
  }

  #heaviest(): Source | undefined {
    let heaviest: Source | undefined;
    for (const source of this.#sources.values()) {
      if (heaviest === undefined || source.unused.size > heaviest.unused.size) heaviest = source;
    }
    return heaviest;
  }

  #evict(source: Source | undefined): void {
    const oldest = source?.unused.values().next().value;
    if (oldest === undefined) return;
    this.#evicted++;
    // The place is free at once, although the system may take its time to close.
    this.#free(oldest);
    oldest.drop();
  }
}

function keyOf(local: Endpoint, remote: Endpoint): string {
  return `${local.address} ${local.port} ${remote.address} ${remote.port}`;
}

/** Whoever has an IPv6 address usually has a /64. */
function addressKey(address: string): string {
  if (!address.includes(':')) return address;
  return subnetOf(address.split('%')[0]!, 64)?.address ?? address;
}
