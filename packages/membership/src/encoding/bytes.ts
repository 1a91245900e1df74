/** Writes big-endian fields in sequence into a growing buffer. */
export class ByteWriter {
  #bytes: Uint8Array = new Uint8Array(256);
  #length = 0;

  u8(value: number): this {
    this.#room(1);
    this.#bytes[this.#length++] = value;
    return this;
  }

  u16(value: number): this {
    return this.u8((value >>> 8) & 0xff).u8(value & 0xff);
  }

  u32(value: number): this {
    return this.u16(value >>> 16).u16(value & 0xffff);
  }

  /** A non-negative integer below 2^48: enough for milliseconds since 1970 until the year 10889. */
  u48(value: number): this {
    return this.u16(Math.floor(value / 2 ** 32)).u32(value % 2 ** 32);
  }

  raw(bytes: Uint8Array): this {
    this.#room(bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
    return this;
  }

  /** UTF-8 text after one byte of length. */
  shortText(text: string): this {
    const bytes = new TextEncoder().encode(text);
    return this.u8(bytes.length).raw(bytes);
  }

  /** Returns a copy of the written bytes. */
  done(): Uint8Array {
    return this.#bytes.slice(0, this.#length);
  }

  #room(more: number): void {
    if (this.#length + more <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(this.#bytes.length * 2, this.#length + more));
    grown.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = grown;
  }
}

/**
 * Reads big-endian fields. Never throws: the first read beyond the end, or of text that is not UTF-8, sets
 * {@link failed}; later reads return zero or empty values, and the caller checks `failed` once at the end.
 */
export class ByteReader {
  readonly #bytes: Uint8Array;
  #at = 0;
  failed = false;

  constructor(bytes: Uint8Array) {
    // A plain view: Buffer.slice would share memory instead of copying.
    this.#bytes = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  u8(): number {
    if (!this.#has(1)) return 0;
    return this.#bytes[this.#at++]!;
  }

  u16(): number {
    return this.u8() * 256 + this.u8();
  }

  u32(): number {
    return this.u16() * 65_536 + this.u16();
  }

  u48(): number {
    return this.u16() * 2 ** 32 + this.u32();
  }

  /** Reads `length` bytes, copied so that they do not keep the message in memory. */
  raw(length: number): Uint8Array {
    if (!this.#has(length)) return new Uint8Array(0);
    this.#at += length;
    return this.#bytes.slice(this.#at - length, this.#at);
  }

  /** @param maxBytes a longer text is a failure */
  shortText(maxBytes: number): string {
    const length = this.u8();
    if (length > maxBytes) this.failed = true;
    const bytes = this.raw(length);
    if (this.failed) return '';
    try {
      return strictUtf8.decode(bytes);
    } catch {
      // The decoder reports invalid UTF-8 by an exception.
      this.failed = true;
      return '';
    }
  }

  #has(length: number): boolean {
    if (this.failed || this.left < length) {
      this.failed = true;
      return false;
    }
    return true;
  }
}

// Without removal of a byte order mark, so that each text has one encoding.
const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let at = 0; at < a.length; at++) if (a[at] !== b[at]) return false;
  return true;
}

export function concatBytes(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

export function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex');
}

/** Undefined unless `text` is lower-case hex of exactly `length` bytes. */
export function fromHex(text: string, length: number): Uint8Array | undefined {
  if (text.length !== length * 2 || !/^[0-9a-f]*$/.test(text)) return undefined;
  return new Uint8Array(Buffer.from(text, 'hex'));
}

/** Base64url without padding (RFC 4648 §5). */
export function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64url');
}

/** Undefined unless `text` is the one base64url text (no padding, no spare bits) of its bytes. */
export function fromBase64(text: string, length?: number): Uint8Array | undefined {
  const bytes = Buffer.from(text, 'base64url');
  if ((length !== undefined && bytes.length !== length) || bytes.toString('base64url') !== text) return undefined;
  return new Uint8Array(bytes);
}
