import type { IncomingHttpHeaders } from 'node:http';
import { isIPv6 } from 'node:net';
import type { Clock, Random } from '@towpath/core';
import { ControlError } from '../control-error.ts';
import type { ControlStore } from '../store/store.ts';
import { RateLimiter, type RateLimit } from '../server/rate-limit.ts';
import { claimsAreSigned, readClaims, type RequestClaims, type RequestParts } from '../wire/request-signing.ts';

/** How far a node's clock may be from the server's: requests are good for this long, and their nonces are kept. */
export const CLOCK_WINDOW_MS = 60_000;
/** Nonces of reading requests kept in memory; beyond it reading is refused until old ones have expired. */
const MAX_READ_NONCES = 200_000;

/** How much an address and a node may ask of a server. */
export interface RequestLimits {
  /** Requests of one address, whoever signs them. */
  readonly perAddress: RateLimit;
  /** Requests that one node has signed. */
  readonly perNode: RateLimit;
  /** Parties created from one address: each takes room for good. */
  readonly creations: RateLimit;
}

/** Decides whether a request is let in: who signed it, when, and how many there were before. */
export class RequestGuard {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #store: ControlStore;
  readonly #addresses: RateLimiter;
  readonly #nodes: RateLimiter;
  readonly #creations: RateLimiter;
  readonly #readNonces = new Map<string, number>();

  constructor(components: { clock: Clock; random: Random; store: ControlStore }, limits: RequestLimits) {
    this.#clock = components.clock;
    this.#random = components.random;
    this.#store = components.store;
    this.#addresses = new RateLimiter(this.#clock, limits.perAddress);
    this.#nodes = new RateLimiter(this.#clock, limits.perNode);
    this.#creations = new RateLimiter(this.#clock, limits.creations);
  }

  /** What costs nothing to check, before a body is read. @throws ControlError. */
  admit(address: string, headers: IncomingHttpHeaders): void {
    if (headers.origin !== undefined) {
      throw new ControlError('forbidden', 'Web pages may not call the control plane. Use the Towpath client.');
    }
    const waitMs = this.#addresses.take(addressKey(address));
    if (waitMs > 0) throw tooMany('address', waitMs);
  }

  /** A party is about to be created. @throws ControlError `limit-exceeded`. */
  admitCreation(address: string): void {
    const waitMs = this.#creations.take(addressKey(address));
    if (waitMs > 0) throw tooMany('address', waitMs);
  }

  /** The claims of a request that has to be signed. @throws ControlError `unauthorized`, `clock-skew`. */
  claims(headers: IncomingHttpHeaders): RequestClaims {
    const claims = readClaims(headers);
    if (claims === undefined) {
      throw new ControlError('unauthorized', 'This request is not signed by a node key. Use the Towpath client.');
    }
    const now = this.#clock.wallTime();
    const aheadMs = claims.timeMs - now;
    if (Math.abs(aheadMs) > CLOCK_WINDOW_MS) {
      const off = `${Math.round(Math.abs(aheadMs) / 1_000)} s ${aheadMs > 0 ? 'ahead of' : 'behind'}`;
      throw new ControlError(
        'clock-skew',
        `Your clock is ${off} the server's; ${CLOCK_WINDOW_MS / 1_000} s are allowed. Set it, for instance by NTP.`,
        { details: { serverTimeMs: Math.floor(now) } },
      );
    }
    return claims;
  }

  /** @throws ControlError `unauthorized`, `replayed`, `limit-exceeded`, `store-failed`. */
  async authenticate(claims: RequestClaims, parts: RequestParts): Promise<void> {
    if (!claimsAreSigned(claims, parts)) {
      throw new ControlError('unauthorized', 'The signature does not fit the request: it was changed on the way.');
    }
    const waitMs = this.#nodes.take(claims.keyText);
    if (waitMs > 0) throw tooMany('node', waitMs);
    const until = claims.timeMs + CLOCK_WINDOW_MS;
    const fresh =
      parts.method === 'GET' ? this.#firstRead(claims.nonce, until) : await this.#firstWrite(claims.nonce, until);
    if (!fresh) throw new ControlError('replayed', 'This very request came before; each is taken once.');
  }

  /** As {@link authenticate} for a connection, which must not be opened twice on any server. */
  async authenticateConnection(claims: RequestClaims, path: string): Promise<void> {
    await this.authenticate(claims, { method: 'GET', path, body: new Uint8Array(0) });
    if (await this.#firstWrite(claims.nonce, claims.timeMs + CLOCK_WINDOW_MS)) return;
    throw new ControlError('replayed', 'This very request came before; each is taken once.');
  }

  #firstRead(nonce: string, until: number): boolean {
    if (this.#readNonces.has(nonce)) return false;
    if (this.#readNonces.size >= MAX_READ_NONCES) {
      const now = this.#clock.wallTime();
      for (const [each, expires] of this.#readNonces) if (expires < now) this.#readNonces.delete(each);
      if (this.#readNonces.size >= MAX_READ_NONCES) {
        throw new ControlError('limit-exceeded', 'The server is too busy to read now. Try again in a minute.');
      }
    }
    this.#readNonces.set(nonce, until);
    return true;
  }

  #firstWrite(nonce: string, until: number): Promise<boolean> {
    // The value is this request's own, so that a store which tries twice never takes another's for it.
    return this.#store.createRecord('nonce', nonce, this.#random.bytes(8), until);
  }
}

/** Whom an address belongs to: an IPv4 address to one, of IPv6 everybody has a /64 (RFC 6177) at the least. */
export function addressKey(address: string): string {
  if (!isIPv6(address) || address.startsWith('::ffff:')) return address;
  const [head = '', tail = ''] = address.split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === '' ? [] : tail.split(':');
  const zeros = address.includes('::') ? Array(Math.max(0, 8 - left.length - right.length)).fill('0') : [];
  return [...left, ...zeros, ...right].slice(0, 4).join(':');
}

function tooMany(whose: 'address' | 'node', waitMs: number): ControlError {
  return new ControlError('limit-exceeded', `Too many requests from this ${whose}. Wait ${waitMs} ms.`, {
    details: { retryAfterMs: waitMs },
  });
}
