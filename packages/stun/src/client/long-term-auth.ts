import * as attr from '../message/attributes.ts';
import { StunErrorCode } from '../message/error-codes.ts';
import { type IntegrityKey, longTermKey, PasswordAlgorithm, userhashOf } from '../message/integrity.ts';
import type { StunMessage } from '../message/stun-message.ts';
import type { StunWriter } from '../message/stun-writer.ts';
import type { PasswordAlgorithmValue } from '../message/attribute.ts';

/** A user name and a password that the server knows (RFC 8489 §9.2). */
export interface LongTermCredentials {
  readonly username: string;
  readonly password: string;
}

/** Nonces of servers that speak RFC 8489 start with this, then four base64 characters of feature bits (§9.2). */
const NONCE_COOKIE = 'obMatJos2';
/** Bit 0 is the lowest (§18.1 with erratum 6290). */
const FEATURE_PASSWORD_ALGORITHMS = 1;
const FEATURE_USERNAME_ANONYMITY = 2;

interface Challenge {
  realm: string;
  nonce: string;
  key: IntegrityKey;
  algorithm: PasswordAlgorithm;
  /** Echoed in requests, which shows the server that none was removed from the list. */
  offered: readonly PasswordAlgorithmValue[] | undefined;
  userhash: Uint8Array | undefined;
}

/**
 * The client's side of long-term credentials: learns realm and nonce from a 401 or 438, then signs.
 * Source: RFC 8489 §9.2.
 */
export class LongTermAuth {
  #credentials: LongTermCredentials;
  #challenge: Challenge | undefined;

  constructor(credentials: LongTermCredentials) {
    this.#credentials = credentials;
  }

  /** Signs with other credentials of the same user from now on, because the present ones expire. */
  replace(credentials: LongTermCredentials): void {
    const { username, password } = credentials;
    this.#credentials = credentials;
    const known = this.#challenge;
    if (known === undefined) return;
    this.#challenge = {
      ...known,
      key: longTermKey(username, known.realm, password, known.algorithm),
      userhash: known.userhash && userhashOf(username, known.realm),
    };
  }

  /** The key to sign with and to check answers; undefined until the server has challenged. */
  get key(): IntegrityKey | undefined {
    return this.#challenge?.key;
  }

  /** The integrity attribute of requests: MESSAGE-INTEGRITY-SHA256 alone where the server has told algorithms (RFC 8489 §9.2.5). */
  get integrity(): 'sha1' | 'sha256' {
    return this.#challenge?.offered === undefined ? 'sha1' : 'sha256';
  }

  /** Adds USERNAME or USERHASH, REALM, NONCE and the password algorithm, once challenged. */
  write(writer: StunWriter): void {
    const challenge = this.#challenge;
    if (challenge === undefined) return;
    if (challenge.userhash !== undefined) writer.add(attr.userhash, challenge.userhash);
    else writer.add(attr.username, this.#credentials.username);
    writer.add(attr.realm, challenge.realm).add(attr.nonce, challenge.nonce);
    if (challenge.offered === undefined) return;
    writer.add(attr.passwordAlgorithms, challenge.offered);
    writer.add(attr.passwordAlgorithm, [{ algorithm: challenge.algorithm, parameters: new Uint8Array(0) }]);
  }

  /**
   * Learns from an error response.
   * @param usedKey what the refused request was signed with: several requests may be under way at once, and
   *   another one may have been challenged meanwhile.
   * @returns true when the request should be sent again: it was not signed yet, or its nonce is stale.
   */
  challenged(message: StunMessage, usedKey: IntegrityKey | undefined): boolean {
    const code = message.get(attr.errorCode)?.code;
    const nonce = message.get(attr.nonce);
    const realm = message.get(attr.realm);
    const known = this.#challenge;
    if (nonce === undefined || (code !== StunErrorCode.Unauthenticated && code !== StunErrorCode.StaleNonce))
      return false;
    const features = featuresOf(nonce);
    const offered = features & FEATURE_PASSWORD_ALGORITHMS ? (message.get(attr.passwordAlgorithms) ?? []) : undefined;
    const algorithm = offered === undefined ? PasswordAlgorithm.Md5 : firstKnown(offered);
    // None is known, or the challenge, which is not signed, takes back what the server was known to support.
    if (algorithm === undefined || lacksAny(offered, known?.offered)) return false;
    if (code === StunErrorCode.StaleNonce && known !== undefined) {
      this.#learn(known.realm, nonce, algorithm, offered);
      return true;
    }
    if (code !== StunErrorCode.Unauthenticated || realm === undefined) return false;
    // The same realm refuses the same password again: asking once more would not help.
    if (known?.realm === realm && usedKey !== undefined) return false;
    this.#learn(realm, nonce, algorithm, offered);
    return true;
  }

  #learn(
    realm: string,
    nonce: string,
    algorithm: PasswordAlgorithm,
    offered: readonly PasswordAlgorithmValue[] | undefined,
  ): void {
    const { username, password } = this.#credentials;
    const known = this.#challenge;
    const isKnown = known?.realm === realm && known.algorithm === algorithm;
    this.#challenge = {
      realm,
      nonce,
      algorithm,
      key: isKnown ? known.key : longTermKey(username, realm, password, algorithm),
      offered: offered?.map((entry) => ({ algorithm: entry.algorithm, parameters: Uint8Array.from(entry.parameters) })),
      userhash: featuresOf(nonce) & FEATURE_USERNAME_ANONYMITY ? userhashOf(username, realm) : undefined,
    };
  }
}

/**
 * True for a response that announces password algorithms in its nonce and lists none. One that is neither 401 nor 438 is
 * ignored then, and after the others the request is not repeated (RFC 8489 §9.2.5).
 */
export function lacksAlgorithms(message: StunMessage): boolean {
  const nonce = message.get(attr.nonce);
  if (nonce === undefined || message.has(attr.passwordAlgorithms)) return false;
  return (featuresOf(nonce) & FEATURE_PASSWORD_ALGORITHMS) !== 0;
}

/** The first algorithm of the server's list that is known here; undefined when the client must not retry (RFC 8489 §9.2.5). */
function firstKnown(offered: readonly PasswordAlgorithmValue[]): PasswordAlgorithm | undefined {
  const known = [PasswordAlgorithm.Md5, PasswordAlgorithm.Sha256];
  return offered.map(({ algorithm }) => known.find((each) => each === algorithm)).find((each) => each !== undefined);
}

function lacksAny(
  offered: readonly PasswordAlgorithmValue[] | undefined,
  before: readonly PasswordAlgorithmValue[] = [],
): boolean {
  return before.some(({ algorithm }) => !offered?.some((each) => each.algorithm === algorithm));
}

/** The 24 feature bits that a nonce announces; 0 when it announces none. */
function featuresOf(nonce: string): number {
  if (!nonce.startsWith(NONCE_COOKIE)) return 0;
  const bits = Buffer.from(nonce.slice(NONCE_COOKIE.length, NONCE_COOKIE.length + 4), 'base64');
  return bits.length === 3 ? bits.readUIntBE(0, 3) : 0;
}
