import { createHmac, createSecretKey, type KeyObject, timingSafeEqual } from 'node:crypto';
import type { Endpoint } from '@towpath/net';

/** The nonce cookie of RFC 8489 §9.2, then the feature bits: password algorithms (bit 0, the lowest: erratum 6290). */
const PREFIX: string = `obMatJos2${Buffer.from([0, 0, 1]).toString('base64')}`;
const EXPIRY_DIGITS = 8;
/** 96 bits: cannot be guessed within its lifetime. */
const MAC_CHARACTERS = 16;

/**
 * Nonces that need no memory: the time of expiry, and a MAC over it and the client's address.
 * Several servers that share a secret accept each other's.
 */
export class Nonces {
  readonly #key: KeyObject;
  readonly #lifetimeMs: number;

  constructor(secret: Uint8Array, lifetimeMs: number) {
    this.#key = createSecretKey(secret);
    this.#lifetimeMs = lifetimeMs;
  }

  /**
   * @param wallMs time since the Unix epoch.
   * @param scope what the nonce is for; it is refused elsewhere.
   */
  issue(client: Endpoint, wallMs: number, scope = ''): string {
    const expiry = Math.ceil((wallMs + this.#lifetimeMs) / 1000)
      .toString(16)
      .padStart(EXPIRY_DIGITS, '0');
    return PREFIX + expiry + this.#mac(expiry, client, scope);
  }

  /** True when this nonce was issued to this client and has not expired. */
  valid(nonce: string, client: Endpoint, wallMs: number, scope = ''): boolean {
    if (nonce.length !== PREFIX.length + EXPIRY_DIGITS + MAC_CHARACTERS || !nonce.startsWith(PREFIX)) return false;
    const expiry = nonce.slice(PREFIX.length, PREFIX.length + EXPIRY_DIGITS);
    const given = Buffer.from(nonce.slice(-MAC_CHARACTERS), 'latin1');
    const expected = Buffer.from(this.#mac(expiry, client, scope), 'latin1');
    return (
      given.length === expected.length &&
      timingSafeEqual(given, expected) &&
      Number.parseInt(expiry, 16) * 1000 > wallMs
    );
  }

  /** Ports are in the scope: a data connection (RFC 6062) comes from another and may use the same nonce. */
  #mac(expiry: string, { address }: Endpoint, scope: string): string {
    return createHmac('sha256', this.#key)
      .update(`${expiry} ${address}${scope}`)
      .digest('base64url')
      .slice(0, MAC_CHARACTERS);
  }
}
