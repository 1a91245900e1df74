import type { Clock } from '@towpath/core';
import type { Endpoint } from '@towpath/net';
import type { PasswordAlgorithmValue } from '../../message/attribute.ts';
import * as attr from '../../message/attributes.ts';
import { StunErrorCode } from '../../message/error-codes.ts';
import { type IntegrityKey, longTermKey, PasswordAlgorithm } from '../../message/integrity.ts';
import type { StunMessage } from '../../message/stun-message.ts';
import type { StunWriter } from '../../message/stun-writer.ts';
import { errorResponse } from '../../server/binding-responder.ts';
import { type CredentialsOptions, lookUpUser } from './credentials.ts';
import type { Nonces } from './nonce.ts';

/** Who sent a request, proven by its integrity. */
export interface Identity {
  /** The name that quotas count for. */
  readonly user: string;
  readonly username: string;
  /** The name is `expiry:userid` and changes whenever the credentials are renewed. */
  readonly timeLimited: boolean;
  /** When the credentials expire, ms since the Unix epoch; undefined for a fixed password. */
  readonly expiresAtMs: number | undefined;
  readonly key: IntegrityKey;
  readonly integrity: 'sha1' | 'sha256';
}

export type Authentication =
  | { readonly ok: true; readonly identity: Identity }
  | { readonly ok: false; readonly code: StunErrorCode; readonly response: Uint8Array };

const OFFERED: readonly PasswordAlgorithmValue[] = [
  { algorithm: PasswordAlgorithm.Sha256, parameters: new Uint8Array(0) },
  { algorithm: PasswordAlgorithm.Md5, parameters: new Uint8Array(0) },
];

export interface AuthenticatorOptions {
  realm: string;
  credentials: CredentialsOptions;
}

/** The server's side of long-term credentials (RFC 8489 §9.2.4). Keeps nothing about clients. */
export class Authenticator {
  readonly #clock: Clock;
  readonly #nonces: Nonces;
  readonly #options: AuthenticatorOptions;

  constructor({ clock, nonces }: { clock: Clock; nonces: Nonces }, options: AuthenticatorOptions) {
    this.#clock = clock;
    this.#nonces = nonces;
    this.#options = options;
  }

  /**
   * Checks a request.
   * @param known whose allocation the request is about: its key is tried first, which saves deriving it again.
   * @param scope of the nonces that are accepted and issued
   */
  authenticate(request: StunMessage, from: Endpoint, known: Identity | undefined, scope = ''): Authentication {
    const challenge = (code: StunErrorCode) => this.#challenge(request, from, code, scope);
    if (!request.has(attr.messageIntegrity) && !request.has(attr.messageIntegritySha256)) {
      return challenge(StunErrorCode.Unauthenticated);
    }
    const username = request.get(attr.username);
    const nonce = request.get(attr.nonce);
    const realm = request.get(attr.realm);
    if (username === undefined || nonce === undefined || realm === undefined) {
      return refused(StunErrorCode.BadRequest, errorResponse(request, StunErrorCode.BadRequest));
    }
    const wallMs = this.#clock.wallTime();
    if (!this.#nonces.valid(nonce, from, wallMs, scope)) return challenge(StunErrorCode.StaleNonce);
    const algorithm = chosenAlgorithm(request);
    if (algorithm === undefined)
      return refused(StunErrorCode.BadRequest, errorResponse(request, StunErrorCode.BadRequest));
    if (realm !== this.#options.realm) return challenge(StunErrorCode.Unauthenticated);
    const identity = this.#identify(request, username, algorithm, wallMs, known);
    // Called only for authenticated requests, so that unauthenticated ones cause no look-up.
    if (identity === undefined || this.#options.credentials.isRevoked?.(username, identity.user))
      return challenge(StunErrorCode.Unauthenticated);
    return { ok: true, identity };
  }

  #identify(
    request: StunMessage,
    username: string,
    algorithm: PasswordAlgorithm,
    wallMs: number,
    known: Identity | undefined,
  ): Identity | undefined {
    // What answers are signed with: SHA-256 unless the client chose no algorithm (RFC 8489 §9.2.4).
    const integrity = request.has(attr.passwordAlgorithm) ? 'sha256' : 'sha1';
    // Looked up first: the key of an allocation may be right although its credentials have expired.
    const found = lookUpUser(this.#options.credentials, username, wallMs);
    if (found === undefined) return undefined;
    if (known !== undefined && known.username === username && known.integrity === integrity) {
      if (request.checkIntegrity(known.key) === 'valid') return known;
    }
    const { user, timeLimited, expiresAtMs } = found;
    for (const password of found.passwords()) {
      const key = longTermKey(username, this.#options.realm, password, algorithm);
      if (request.checkIntegrity(key) === 'valid') return { user, username, timeLimited, expiresAtMs, key, integrity };
    }
    return undefined;
  }

  #challenge(request: StunMessage, from: Endpoint, code: StunErrorCode, scope: string): Authentication {
    const nonce = this.#nonces.issue(from, this.#clock.wallTime(), scope);
    const writer = errorResponse(request, code)
      .add(attr.realm, this.#options.realm)
      .add(attr.nonce, nonce)
      .add(attr.passwordAlgorithms, OFFERED);
    return refused(code, writer);
  }
}

function refused(code: StunErrorCode, writer: StunWriter): Authentication {
  return { ok: false, code, response: writer.finish() };
}

/**
 * The algorithm of the request's key. A client that chose one must echo our list, which shows that it was not
 * shortened on the path (RFC 8489 §9.2.4); one that says nothing knows only MD5.
 */
function chosenAlgorithm(request: StunMessage): PasswordAlgorithm | undefined {
  const chosen = request.get(attr.passwordAlgorithm)?.[0];
  const echoed = request.get(attr.passwordAlgorithms);
  if (chosen === undefined && echoed === undefined) return PasswordAlgorithm.Md5;
  if (chosen === undefined || echoed?.length !== OFFERED.length) return undefined;
  if (!OFFERED.every(({ algorithm }, at) => echoed[at]?.algorithm === algorithm)) return undefined;
  return OFFERED.find(({ algorithm }) => algorithm === chosen.algorithm)?.algorithm as PasswordAlgorithm | undefined;
}

/**
 * Only the user who made an allocation may change it (RFC 8656 §7.3, 441). A user with time-limited credentials has a
 * new name whenever they are renewed; the user id in it stays.
 */
export function sameUser(owner: Identity, asker: Identity): boolean {
  return owner.username === asker.username || (owner.timeLimited && asker.timeLimited && owner.user === asker.user);
}
