import { fromBase64, toBase64, toHex } from '../encoding/bytes.ts';
import { KEY_BYTES, SIGNATURE_BYTES, type SigningKey, sha256, verifySignature } from '../identity/keys.ts';

/** The headers that sign a request. */
export const SIGNING_HEADERS = {
  key: 'towpath-key',
  time: 'towpath-time',
  nonce: 'towpath-nonce',
  signature: 'towpath-signature',
} as const;

/** Bytes of a nonce: two requests never share one by chance. */
export const NONCE_BYTES = 16;

/** What is signed of a request. */
export interface RequestParts {
  /** `GET`, `POST`, … */
  readonly method: string;
  /** Path and query, as sent. */
  readonly path: string;
  readonly body: Uint8Array;
}

/** The claims of a signed request, before the signature is checked. */
export interface RequestClaims {
  readonly key: Uint8Array;
  readonly keyText: string;
  readonly timeMs: number;
  readonly nonce: string;
  readonly signature: Uint8Array;
}

/** Headers by which the owner of `key` vouches for a request, once, at about `timeMs` (Unix time). */
export function signRequest(
  key: SigningKey,
  parts: RequestParts,
  when: { timeMs: number; nonce: Uint8Array },
): Record<string, string> {
  const timeMs = Math.floor(when.timeMs);
  const nonce = toBase64(when.nonce);
  return {
    [SIGNING_HEADERS.key]: toBase64(key.publicKey),
    [SIGNING_HEADERS.time]: `${timeMs}`,
    [SIGNING_HEADERS.nonce]: nonce,
    [SIGNING_HEADERS.signature]: toBase64(key.sign(signedText(parts, timeMs, nonce))),
  };
}

/** The claims in a request's headers; undefined when one is missing or malformed. */
export function readClaims(headers: Readonly<Record<string, unknown>>): RequestClaims | undefined {
  const text = (name: string) => {
    const value = headers[name];
    return typeof value === 'string' && value.length <= 128 ? value : '';
  };
  const keyText = text(SIGNING_HEADERS.key);
  const key = fromBase64(keyText, KEY_BYTES);
  const signature = fromBase64(text(SIGNING_HEADERS.signature), SIGNATURE_BYTES);
  const nonce = text(SIGNING_HEADERS.nonce);
  const time = text(SIGNING_HEADERS.time);
  if (key === undefined || signature === undefined || fromBase64(nonce, NONCE_BYTES) === undefined) return undefined;
  if (!/^[0-9]{1,15}$/.test(time)) return undefined;
  return { key, keyText, timeMs: Number(time), nonce, signature };
}

/** True when the owner of the claimed key signed exactly this request. */
export function claimsAreSigned(claims: RequestClaims, parts: RequestParts): boolean {
  return verifySignature(claims.key, signedText(parts, claims.timeMs, claims.nonce), claims.signature);
}

/** One line each: a fixed text, method, path with query, time, nonce, SHA-256 of the body in hex. */
function signedText({ method, path, body }: RequestParts, timeMs: number, nonce: string): Uint8Array {
  const lines = ['towpath request v1', method, path, `${timeMs}`, nonce, toHex(sha256(body))];
  return new TextEncoder().encode(lines.join('\n'));
}
