import type { IncomingHttpHeaders } from 'node:http';
import { isIPv6 } from 'node:net';
import { type Clock, type Random, RateLimit, type RateLimitOptions } from '@towpath/core';
import { ControlError } from '../control-error.ts';
import type { ControlStore } from '../store/store.ts';
import type { LocalEnd, ServerNames } from './server-names.ts';
import { claimsAreSigned, readClaims, type RequestClaims, type RequestParts } from '../wire/request-signing.ts';

/** Allowed difference of the clocks of node and server: requests are valid for this time, and their nonces are kept. */
export const CLOCK_WINDOW_MS = 60_000;
/** Most nonces of GET requests in memory; beyond it GET requests are refused until old nonces have expired. */
const MAX_READ_NONCES = 200_000;

/** Request limits. */
export interface RequestLimits {
  /** Requests of one address, whoever signs them. */
  readonly perAddress: RateLimitOptions;
  /** Requests that one node has signed. */
  readonly perNode: RateLimitOptions;
  /** Parties created from one address: each uses storage permanently. */
  readonly creations: RateLimitOptions;
}

/** Decides whether a request is accepted: its signature, its time, and the rate of requests. */
export class RequestGuard {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #store: ControlStore;
  readonly #names: ServerNames;
  readonly #addresses: RateLimit;
  readonly #nodes: RateLimit;
  readonly #creations: RateLimit;
  readonly #readNonces = new Map<string, number>();
  /** Since when every nonce is known, ms since 1970: those before may be lost with a process or a store. */
  #noncesSinceMs: number;

  constructor(
    components: { clock: Clock; random: Random; store: ControlStore; names: ServerNames },
    limits: RequestLimits,
  ) {
    this.#clock = components.clock;
    this.#random = components.random;
    this.#store = components.store;
    this.#names = components.names;
    this.#addresses = new RateLimit(components, limits.perAddress);
    this.#nodes = new RateLimit(components, limits.perNode);
    this.#creations = new RateLimit(components, limits.creations);
    this.#noncesSinceMs = Math.floor(components.clock.wallTime());
  }

  /** Nonces may have been lost: refuses every request that is dated before now. */
  forgetNonces(): void {
    this.#noncesSinceMs = Math.floor(this.#clock.wallTime());
  }

  /**
   * What costs nothing to check, before a body is read.
   * @param cost what the answer takes of the address's budget; 1 for the cheapest.
   * @throws ControlError `forbidden`, `limit-exceeded`.
   */
  admit(address: string, headers: IncomingHttpHeaders, cost = 1): void {
    if (headers.origin !== undefined || this.#names.isForeignHost(headers.host)) {
      throw new ControlError(
        'forbidden',
        'Web pages may not call the control plane, and the Host header must be an address or a name of this server. ' +
          'Next: use the Towpath client; whoever runs the server adds a name with --public-name.',
      );
    }
    take(this.#addresses, 'address', addressKey(address), cost);
  }

  /** Counts the creation of a party. @throws ControlError `limit-exceeded`. */
  admitCreation(address: string): void {
    take(this.#creations, 'address', addressKey(address));
  }

  /**
   * Returns the claims of a request that must be signed.
   * @throws ControlError `unauthorized`, `wrong-server`, `clock-skew`.
   */
  claims(headers: IncomingHttpHeaders, local: LocalEnd): RequestClaims {
    const claims = readClaims(headers);
    if (claims === undefined) {
      throw new ControlError('unauthorized', 'The request is not signed by a node key. Next: use the Towpath client.');
    }
    if (!this.#names.accepts(claims.server, local)) {
      throw new ControlError(
        'wrong-server',
        `This request was signed for the server "${printable(claims.server)}", which is no name of this one. Next: use an ` +
          'address of this server itself; whoever runs it adds a name with --public-name or --public-address.',
      );
    }
    const now = this.#clock.wallTime();
    const aheadMs = claims.timeMs - now;
    if (Math.abs(aheadMs) > CLOCK_WINDOW_MS) {
      const off = `${Math.round(Math.abs(aheadMs) / 1_000)} s ${aheadMs > 0 ? 'ahead of' : 'behind'}`;
      throw new ControlError(
        'clock-skew',
        `Your clock is ${off} the server's; ${CLOCK_WINDOW_MS / 1_000} s are allowed. Next: set it, for instance by NTP.`,
        { details: { serverTimeMs: Math.floor(now) } },
      );
    }
    // The clock was set back: as after a start, what is dated before now is refused, and not all that comes until then.
    if (now < this.#noncesSinceMs) this.#noncesSinceMs = Math.floor(now);
    if (claims.timeMs < this.#noncesSinceMs) {
      throw new ControlError(
        'clock-skew',
        'The request is dated before this server started, or before its clock was set, so that it may be a repetition. Next: sign it again.',
        { details: { serverTimeMs: Math.floor(now) } },
      );
    }
    return claims;
  }

  /** @throws ControlError `unauthorized`, `replayed`, `limit-exceeded`, `store-failed`. */
  async authenticate(claims: RequestClaims, parts: RequestParts): Promise<void> {
    if (!claimsAreSigned(claims, parts)) {
      throw new ControlError('unauthorized', 'Invalid signature: the request was changed, or signed by another key.');
    }
    take(this.#nodes, 'node', claims.keyText);
    const until = claims.timeMs + CLOCK_WINDOW_MS;
    const fresh =
      parts.method === 'GET' ? this.#firstRead(claims.nonce, until) : await this.#firstWrite(claims.nonce, until);
    if (!fresh) throw new ControlError('replayed', 'Replay rejected: nonce already used.');
  }

  /** As {@link authenticate} for a connection, whose request must not be replayed to any server. */
  async authenticateConnection(claims: RequestClaims, path: string): Promise<void> {
    await this.authenticate(claims, { method: 'GET', path, body: new Uint8Array(0) });
    if (await this.#firstWrite(claims.nonce, claims.timeMs + CLOCK_WINDOW_MS)) return;
    throw new ControlError('replayed', 'Replay rejected: nonce already used.');
  }

  #firstRead(nonce: string, until: number): boolean {
    if (this.#readNonces.has(nonce)) return false;
    if (this.#readNonces.size >= MAX_READ_NONCES) {
      const now = this.#clock.wallTime();
      for (const [each, expires] of this.#readNonces) if (expires < now) this.#readNonces.delete(each);
      if (this.#readNonces.size >= MAX_READ_NONCES) {
        throw new ControlError('limit-exceeded', 'Too many GET requests. Next: try again in a minute.');
      }
    }
    this.#readNonces.set(nonce, until);
    return true;
  }

  #firstWrite(nonce: string, until: number): Promise<boolean> {
    // The value is unique to this request, so that a store that retries does not take another's for it.
    return this.#store.createRecord('nonce', nonce, this.#random.bytes(8), until);
  }
}

/** Returns the rate limit key of an address: the IPv4 address, or the /64 of an IPv6 address (RFC 6177). */
export function addressKey(address: string): string {
  if (!isIPv6(address) || address.startsWith('::ffff:')) return address;
  const [head = '', tail = ''] = address.split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === '' ? [] : tail.split(':');
  const zeros = address.includes('::') ? Array(Math.max(0, 8 - left.length - right.length)).fill('0') : [];
  return [...left, ...zeros, ...right].slice(0, 4).join(':');
}

function printable(text: string): string {
  return text.replace(/[^\w.:[\]-]/g, '?');
}

function take(limit: RateLimit, whose: 'address' | 'node', key: string, cost = 1): void {
  if (limit.take(key, cost)) return;
  const waitMs = Math.max(1, Math.ceil(limit.waitMs(key, cost)));
  throw new ControlError('limit-exceeded', `Too many requests from this ${whose}. Wait ${waitMs} ms.`, {
    details: { retryAfterMs: waitMs },
  });
}
