import {
  fromBase64,
  KEY_BYTES,
  sha256,
  SIGNATURE_BYTES,
  type SigningKey,
  toBase64,
  toHex,
  verifySignature,
} from '@towpath/membership';

/** The headers that sign a request. */
export const SIGNING_HEADERS = {
  key: 'towpath-key',
  server: 'towpath-server',
  time: 'towpath-time',
  nonce: 'towpath-nonce',
  signature: 'towpath-signature',
} as const;

/** A DNS name has 253 characters at the most (RFC 1035 §2.3.4), a port six with its colon. */
const MAX_HEADER_LENGTH = 260;

/** Bytes of a nonce: two requests do not share one by chance. */
export const NONCE_BYTES = 16;

/** The signed parts of a request, besides the server. */
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
  /** The server that the request was signed for, as {@link authorityOf}. */
  readonly server: string;
  readonly timeMs: number;
  readonly nonce: string;
  readonly signature: Uint8Array;
}

/** Names a server in signed requests: host and port of the URL that the node was given, as `192.0.2.7:4100`. */
export function authorityOf(url: URL): string {
  const port = url.port === '' ? (url.protocol === 'https:' || url.protocol === 'wss:' ? '443' : '80') : url.port;
  return `${url.hostname}:${port}`;
}

/**
 * Returns the headers that sign a request with `key`, for one server, at about `timeMs` (Unix time). Another
 * server refuses the same request.
 */
export function signRequest(
  key: SigningKey,
  parts: RequestParts,
  about: { server: string; timeMs: number; nonce: Uint8Array },
): Record<string, string> {
  const { server } = about;
  const timeMs = Math.floor(about.timeMs);
  const nonce = toBase64(about.nonce);
  return {
    [SIGNING_HEADERS.server]: server,
    [SIGNING_HEADERS.key]: toBase64(key.publicKey),
    [SIGNING_HEADERS.time]: `${timeMs}`,
    [SIGNING_HEADERS.nonce]: nonce,
    [SIGNING_HEADERS.signature]: toBase64(key.sign(signedText(parts, { server, timeMs, nonce }))),
  };
}

/** Returns the claims in a request's headers; undefined when one is missing or malformed. */
export function readClaims(headers: Readonly<Record<string, unknown>>): RequestClaims | undefined {
  const text = (name: string) => {
    const value = headers[name];
    return typeof value === 'string' && value.length <= MAX_HEADER_LENGTH ? value : '';
  };
  const keyText = text(SIGNING_HEADERS.key);
  const key = fromBase64(keyText, KEY_BYTES);
  const signature = fromBase64(text(SIGNING_HEADERS.signature), SIGNATURE_BYTES);
  const nonce = text(SIGNING_HEADERS.nonce);
  const time = text(SIGNING_HEADERS.time);
  if (key === undefined || signature === undefined || fromBase64(nonce, NONCE_BYTES) === undefined) return undefined;
  const server = text(SIGNING_HEADERS.server);
  if (!/^[0-9]{1,15}$/.test(time) || server === '') return undefined;
  return { key, keyText, server, timeMs: Number(time), nonce, signature };
}

/** True when the owner of the claimed key signed exactly this request. */
export function claimsAreSigned(claims: RequestClaims, parts: RequestParts): boolean {
  return verifySignature(claims.key, signedText(parts, claims), claims.signature);
}

/** One line each: a fixed text, server, method, path with query, time, nonce, SHA-256 of the body in hex. */
function signedText(
  { method, path, body }: RequestParts,
  { server, timeMs, nonce }: { server: string; timeMs: number; nonce: string },
): Uint8Array {
  const lines = ['towpath request v2', server, method, path, `${timeMs}`, nonce, toHex(sha256(body))];
  return new TextEncoder().encode(lines.join('\n'));
}
