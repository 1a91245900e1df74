import { createHmac, createSecretKey, hash, type KeyObject, timingSafeEqual } from 'node:crypto';
import { HEADER_BYTES } from './header.ts';

/**
 * A key of MESSAGE-INTEGRITY. Signing with a prepared key or a text costs a fifth of signing with bytes. A text takes no memory
 * beside itself, a prepared key 300 bytes and what OpenSSL keeps: there are two keys for each peer.
 */
export interface IntegrityKey {
  readonly key: KeyObject | string;
}

/** The two password algorithms of RFC 8489 §18.5. */
export const PasswordAlgorithm = { Md5: 1, Sha256: 2 } as const;
export type PasswordAlgorithm = (typeof PasswordAlgorithm)[keyof typeof PasswordAlgorithm];

export function integrityKey(bytes: Uint8Array): IntegrityKey {
  return { key: createSecretKey(bytes) };
}

/** The key of short-term credentials (RFC 8489 §9.1.1): the password, normalised (OpaqueString, RFC 8265 §4.2). */
export function shortTermKey(password: string): IntegrityKey {
  return { key: opaqueString(password) };
}

/** The key of long-term credentials (RFC 8489 §9.2.2): a hash of `username:realm:password`. */
export function longTermKey(
  username: string,
  realm: string,
  password: string,
  algorithm: PasswordAlgorithm = PasswordAlgorithm.Md5,
): IntegrityKey {
  const text = `${username}:${opaqueString(realm)}:${opaqueString(password)}`;
  return integrityKey(hash(algorithm === PasswordAlgorithm.Md5 ? 'md5' : 'sha256', text, 'buffer'));
}

/** Returns the USERHASH (RFC 8489 §14.4), which identifies a user without sending the name in the clear. */
export function userhashOf(username: string, realm: string): Uint8Array {
  return hash('sha256', `${username}:${opaqueString(realm)}`, 'buffer');
}

/** OpaqueString of RFC 8265 §4.2, as far as it changes bytes: other spaces become ASCII spaces, then NFC. */
function opaqueString(text: string): string {
  return text.replace(/\p{Zs}/gu, ' ').normalize('NFC');
}

export type IntegrityAlgorithm = 'sha1' | 'sha256';

/**
 * HMAC over a message up to an integrity attribute at `attributeAt`, with the length field that the
 * message would have if it ended with that attribute (RFC 8489 §14.5, §14.6).
 */
export function integrityOf(
  message: Uint8Array,
  attributeAt: number,
  valueBytes: number,
  { key }: IntegrityKey,
  algorithm: IntegrityAlgorithm,
): Buffer {
  const length = attributeAt + 4 + valueBytes - HEADER_BYTES;
  const hmac = createHmac(algorithm, key);
  if (((message[2]! << 8) | message[3]!) === length) return hmac.update(message.subarray(0, attributeAt)).digest();
  const copy = Buffer.from(message.subarray(0, attributeAt));
  copy[2] = length >>> 8;
  copy[3] = length;
  return hmac.update(copy).digest();
}

/** Constant-time comparison of `length` bytes at `at` with the start of `expected`. */
export function sameBytes(message: Uint8Array, at: number, length: number, expected: Buffer): boolean {
  return timingSafeEqual(message.subarray(at, at + length), expected.subarray(0, length));
}
