import { crc32 } from 'node:zlib';
import { type Attribute, padded, readUint32 } from './attribute.ts';
import {
  COMPREHENSION_OPTIONAL,
  fingerprint as fingerprintAttribute,
  messageIntegrity,
  messageIntegritySha256,
} from './attributes.ts';
import { classOf, HEADER_BYTES, isStun, type MessageClass, methodOf } from './header.ts';
import { type IntegrityKey, integrityOf, sameBytes } from './integrity.ts';

/** Why bytes are not a STUN message. */
export type StunFailure = 'not-stun' | 'bad-length' | 'truncated-attribute' | 'too-many-attributes' | 'bad-fingerprint';

export type StunDecodeResult =
  | { readonly ok: true; readonly message: StunMessage }
  | { readonly ok: false; readonly failure: StunFailure };

/** More than any use of STUN has; bounds the time that a hostile message takes. */
export const MAX_ATTRIBUTES = 48;

/** XORed into FINGERPRINT's CRC so that it differs from one of the application's own (RFC 8489 §14.7). */
export const FINGERPRINT_XOR = 0x5354554e;

/**
 * A decoded STUN message: a view of the bytes it came in and an index of where its attributes are.
 * Values are read when asked for. Attributes after an integrity attribute are not seen, except those that
 * may follow it (RFC 8489 §14.5).
 */
export class StunMessage {
  readonly bytes: Uint8Array;
  readonly type: number;
  /** Triples: type, offset of the value, length of the value. */
  readonly #index: readonly number[];

  constructor(bytes: Uint8Array, index: readonly number[]) {
    this.bytes = bytes;
    this.type = (bytes[0]! << 8) | bytes[1]!;
    this.#index = index;
  }

  get class(): MessageClass {
    return classOf(this.type);
  }

  get method(): number {
    return methodOf(this.type);
  }

  /** Twelve bytes, a view into the message. */
  get transactionId(): Uint8Array {
    return this.bytes.subarray(8, HEADER_BYTES);
  }

  /** The first value of an attribute; undefined when absent or malformed ({@link has} tells which). */
  get<T>(attribute: Attribute<T>): T | undefined {
    const at = this.#find(attribute.type);
    return at < 0 ? undefined : attribute.read(this.bytes, this.#index[at + 1]!, this.#index[at + 2]!);
  }

  /** Every well-formed value of an attribute that may come several times (XOR-PEER-ADDRESS). */
  all<T>(attribute: Attribute<T>): T[] {
    const values: T[] = [];
    for (let at = 0; at < this.#index.length; at += 3) {
      if (this.#index[at] !== attribute.type) continue;
      const value = attribute.read(this.bytes, this.#index[at + 1]!, this.#index[at + 2]!);
      if (value !== undefined) values.push(value);
    }
    return values;
  }

  has(attribute: Attribute<unknown>): boolean {
    return this.#find(attribute.type) >= 0;
  }

  /** The types present, in order. */
  types(): number[] {
    return this.#index.filter((_, at) => at % 3 === 0);
  }

  /** Comprehension-required types that `known` does not have (RFC 8489 §6.3). */
  unknownRequired(known: ReadonlySet<number>): number[] {
    return this.types().filter((type) => type < COMPREHENSION_OPTIONAL && !known.has(type));
  }

  /**
   * Checks MESSAGE-INTEGRITY-SHA256 when the message has it, else MESSAGE-INTEGRITY.
   * @returns `absent` when it has neither.
   */
  checkIntegrity(key: IntegrityKey): 'valid' | 'invalid' | 'absent' {
    const sha256 = this.#find(messageIntegritySha256.type);
    if (sha256 >= 0) {
      const length = this.#index[sha256 + 2]!;
      // Truncation stays a multiple of four of at least 16 bytes (RFC 8489 §14.6).
      const valid = length >= 16 && length <= 32 && length % 4 === 0;
      return valid && this.#verify(this.#index[sha256 + 1]!, length, key, 'sha256') ? 'valid' : 'invalid';
    }
    const sha1 = this.#find(messageIntegrity.type);
    if (sha1 < 0) return 'absent';
    return this.#index[sha1 + 2] === 20 && this.#verify(this.#index[sha1 + 1]!, 20, key, 'sha1') ? 'valid' : 'invalid';
  }

  #verify(at: number, length: number, key: IntegrityKey, algorithm: 'sha1' | 'sha256'): boolean {
    return sameBytes(this.bytes, at, length, integrityOf(this.bytes, at - 4, length, key, algorithm));
  }

  #find(type: number): number {
    const index = this.#index;
    for (let at = 0; at < index.length; at += 3) if (index[at] === type) return at;
    return -1;
  }
}

/**
 * Checks the header, every length, and FINGERPRINT when there is one. Nothing is copied: the message
 * reads from `data`. Source: RFC 8489 §5, §14.
 */
export function decodeStun(data: Uint8Array): StunDecodeResult {
  if (!isStun(data)) return NOT_STUN;
  const end = data.length;
  if ((end & 3) !== 0) return BAD_LENGTH;
  const index: number[] = [];
  let sealed = 0;
  for (let at = HEADER_BYTES; at < end; ) {
    const type = (data[at]! << 8) | data[at + 1]!;
    const length = (data[at + 2]! << 8) | data[at + 3]!;
    const next = at + 4 + padded(length);
    if (next > end) return TRUNCATED_ATTRIBUTE;
    if (index.length >= 3 * MAX_ATTRIBUTES) return TOO_MANY_ATTRIBUTES;
    const rank = sealRank(type);
    if (rank > sealed || sealed === 0) {
      index.push(type, at + 4, length);
      if (rank > 0) sealed = rank;
      if (rank === 3 && !validFingerprint(data, at, length, next === end)) return BAD_FINGERPRINT;
    }
    at = next;
  }
  return { ok: true, message: new StunMessage(data, index) };
}

const NOT_STUN: StunDecodeResult = { ok: false, failure: 'not-stun' };
const BAD_LENGTH: StunDecodeResult = { ok: false, failure: 'bad-length' };
const TRUNCATED_ATTRIBUTE: StunDecodeResult = { ok: false, failure: 'truncated-attribute' };
const TOO_MANY_ATTRIBUTES: StunDecodeResult = { ok: false, failure: 'too-many-attributes' };
const BAD_FINGERPRINT: StunDecodeResult = { ok: false, failure: 'bad-fingerprint' };

/** What may follow what: MESSAGE-INTEGRITY, then MESSAGE-INTEGRITY-SHA256, then FINGERPRINT, then nothing. */
function sealRank(type: number): 0 | 1 | 2 | 3 {
  if (type === messageIntegrity.type) return 1;
  if (type === messageIntegritySha256.type) return 2;
  return type === fingerprintAttribute.type ? 3 : 0;
}

function validFingerprint(data: Uint8Array, at: number, length: number, last: boolean): boolean {
  if (length !== 4 || !last) return false;
  return (crc32(data.subarray(0, at)) ^ FINGERPRINT_XOR) >>> 0 === readUint32(data, at + 4);
}
