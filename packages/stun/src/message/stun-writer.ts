import { crc32 } from 'node:zlib';
import { type Attribute, padded, writeUint32 } from './attribute.ts';
import { fingerprint, messageIntegrity, messageIntegritySha256 } from './attributes.ts';
import { HEADER_BYTES, MAGIC_COOKIE, type MessageClass, messageType } from './header.ts';
import { type IntegrityKey, integrityOf } from './integrity.ts';
import { FINGERPRINT_XOR } from './stun-message.ts';

/**
 * Writes one STUN message, attribute by attribute. Integrity and fingerprint come last, in that order.
 *
 * @example new StunWriter(MessageClass.Request, Method.Binding, random.bytes(12)).add(priority, 1).integrity(key).finish()
 */
export class StunWriter {
  readonly #paddingByte: number;
  #bytes: Buffer;
  #length = HEADER_BYTES;

  /**
   * @param transactionId twelve bytes.
   * @param paddingByte what fills values up to a multiple of four; any value is valid (RFC 8489 §14).
   */
  constructor(messageClass: MessageClass, method: number, transactionId: Uint8Array, paddingByte = 0) {
    this.#paddingByte = paddingByte;
    this.#bytes = Buffer.allocUnsafe(INITIAL_BYTES);
    const type = messageType(messageClass, method);
    writeUint32(this.#bytes, 0, type << 16);
    writeUint32(this.#bytes, 4, MAGIC_COOKIE);
    this.#bytes.set(transactionId, 8);
  }

  /** Appends an attribute. @throws RangeError when the message would be longer than its length field can say. */
  add<T>(attribute: Attribute<T>, value: T): this {
    const size = attribute.size(value);
    const at = this.#reserve(attribute.type, size);
    attribute.write(this.#bytes, at, value);
    this.#bytes.fill(this.#paddingByte, at + size, this.#length);
    return this;
  }

  /** Appends an attribute unless its value is undefined. */
  addIf<T>(attribute: Attribute<T>, value: T | undefined): this {
    return value === undefined ? this : this.add(attribute, value);
  }

  /** Appends MESSAGE-INTEGRITY (HMAC-SHA1) or MESSAGE-INTEGRITY-SHA256 over everything so far. */
  integrity(key: IntegrityKey, algorithm: 'sha1' | 'sha256' = 'sha1'): this {
    const attribute = algorithm === 'sha1' ? messageIntegrity : messageIntegritySha256;
    const size = algorithm === 'sha1' ? 20 : 32;
    const at = this.#reserve(attribute.type, size);
    this.#bytes.set(integrityOf(this.#bytes, at - 4, size, key, algorithm), at);
    return this;
  }

  /** Appends FINGERPRINT; nothing may follow. */
  fingerprint(): this {
    const at = this.#reserve(fingerprint.type, 4);
    writeUint32(this.#bytes, at, crc32(this.#bytes.subarray(0, at - 4)) ^ FINGERPRINT_XOR);
    return this;
  }

  /** The message. The writer must not be used after. */
  finish(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  #reserve(type: number, size: number): number {
    const at = this.#length;
    const length = at + 4 + padded(size);
    if (length - HEADER_BYTES > 0xffff)
      throw new RangeError('A STUN message holds at most 65,535 bytes of attributes.');
    if (length > this.#bytes.length) this.#grow(length);
    writeUint32(this.#bytes, at, (type << 16) | size);
    this.#length = length;
    this.#bytes[2] = (length - HEADER_BYTES) >>> 8;
    this.#bytes[3] = length - HEADER_BYTES;
    return at + 4;
  }

  #grow(length: number): void {
    const larger = Buffer.allocUnsafe(Math.max(length, 2 * this.#bytes.length));
    this.#bytes.copy(larger, 0, 0, this.#length);
    this.#bytes = larger;
  }
}

/** Room for an authenticated request, so that most messages never grow. */
const INITIAL_BYTES = 256;
