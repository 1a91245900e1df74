import { createCipheriv, createDecipheriv, createSecretKey, type KeyObject } from 'node:crypto';
import { type Decoded, decoded, undecodable } from './result.ts';

/** Encryption of requests, responses and video pages. docs/protocol/artemis.md, "Encryption". */

/** A key object: with the bytes themselves, Node needs several times as long to set a cipher up. */
const KEY: KeyObject = createSecretKey('xs38nul7cqf7m1va', 'latin1');
const ZERO_IV = new Uint8Array(16);
const BLOCK_BYTES = 16;

/** Zero bytes after the Base64 text of a response: its NUL and 20 more. */
const RESPONSE_TRAILER_BYTES = 21;

/** Only the first 96 bytes of every 4096 bytes of audio and video are enciphered. */
const AV_PAGE_BYTES = 4096;
const AV_CIPHERED_BYTES = 96;

/** Encodes the body of a request frame: Base64 of the enciphered text, then one NUL. */
export function encodeRequestText(text: string): Uint8Array {
  const plain = Buffer.from(text, 'utf8');
  return base64Body(seal(zeroFilled(plain, plain.length)), 1);
}

/** Encodes the body of a response frame: the text always ends with a NUL, and 20 more zeros follow the Base64 text. */
export function encodeResponseText(text: string): Uint8Array {
  const plain = Buffer.from(text, 'utf8');
  return base64Body(seal(zeroFilled(plain, plain.length + 1)), RESPONSE_TRAILER_BYTES);
}

/**
 * Decodes the JSON text of a request or response: up to the first NUL, or to the end when the text fills its
 * last block. Bytes that are not UTF-8 become U+FFFD.
 */
export function decodeText(body: Uint8Array): Decoded<string> {
  const nul = body.indexOf(0);
  const base64 = Buffer.from(body.buffer, body.byteOffset, nul < 0 ? body.length : nul).toString('latin1');
  if (base64.length === 0 || base64.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(base64)) {
    return undecodable('malformed', `The ${base64.length} characters before the first NUL are not Base64.`);
  }
  const sealed = Buffer.from(base64, 'base64');
  if (sealed.length === 0 || sealed.length % BLOCK_BYTES !== 0) {
    return undecodable('malformed', `${sealed.length} enciphered bytes are not a multiple of ${BLOCK_BYTES}.`);
  }
  const plain = unseal(sealed);
  const end = plain.indexOf(0);
  return decoded(plain.toString('utf8', 0, end < 0 ? plain.length : end));
}

/** Enciphers whole blocks. @param plain a multiple of 16 bytes */
export function seal(plain: Uint8Array): Buffer {
  const cipher = createCipheriv('aes-128-cbc', KEY, ZERO_IV).setAutoPadding(false);
  return Buffer.concat([cipher.update(plain), cipher.final()]);
}

/** Deciphers whole blocks. @param sealed a multiple of 16 bytes */
export function unseal(sealed: Uint8Array): Buffer {
  const decipher = createDecipheriv('aes-128-cbc', KEY, ZERO_IV).setAutoPadding(false);
  return Buffer.concat([decipher.update(sealed), decipher.final()]);
}

/** Returns a copy of audio/video data with the head of every page enciphered. */
export function sealAvData(data: Uint8Array): Uint8Array {
  return mapPages(data, seal);
}

/** Returns a copy of audio/video data with the head of every page deciphered. */
export function unsealAvData(data: Uint8Array): Uint8Array {
  return mapPages(data, unseal);
}

function mapPages(data: Uint8Array, transform: (head: Uint8Array) => Uint8Array): Uint8Array {
  // `slice` of a Buffer would be a view of it.
  const out = Uint8Array.from(data);
  for (let at = 0; at + AV_CIPHERED_BYTES <= out.length; at += AV_PAGE_BYTES) {
    out.set(transform(data.subarray(at, at + AV_CIPHERED_BYTES)), at);
  }
  return out;
}

/** Fills `plain` with zeros to the next whole block at or after `atLeastBytes`. */
function zeroFilled(plain: Uint8Array, atLeastBytes: number): Uint8Array {
  const out = new Uint8Array(Math.ceil(atLeastBytes / BLOCK_BYTES) * BLOCK_BYTES);
  out.set(plain, 0);
  return out;
}

function base64Body(sealed: Buffer, trailingZeros: number): Uint8Array {
  const base64 = Buffer.from(sealed.toString('base64'), 'latin1');
  const out = new Uint8Array(base64.length + trailingZeros);
  out.set(base64, 0);
  return out;
}
