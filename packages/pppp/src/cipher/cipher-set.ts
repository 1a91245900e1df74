import { HEADER_BYTES, MAGIC } from '../codec/header.ts';
import { messageName } from '../codec/message-type.ts';
import { KNOWN_KEYS } from './known-keys.ts';
import { StreamCipher } from './stream-cipher.ts';

/** A datagram in the clear, and the cipher of the answer. */
export interface OpenedDatagram {
  readonly clear: Uint8Array;
  /** Its cipher; undefined for plaintext. */
  readonly cipher: StreamCipher | undefined;
}

/** Detects the cipher of a datagram among a set of keys. */
export class CipherSet {
  readonly #ciphers: readonly StreamCipher[];

  /** @param keys tried in this order; all public ones by default */
  constructor(keys: readonly string[] = KNOWN_KEYS) {
    this.#ciphers = keys.map((key) => new StreamCipher(key));
  }

  /** Returns the cipher of a key of the set. */
  get(key: string): StreamCipher | undefined {
    return this.#ciphers.find((cipher) => cipher.key === key);
  }

  /**
   * Returns the cipher whose result begins with 0xF1, a known type and a length that fits the datagram; `'plain'` for
   * plaintext; undefined for neither. A valid plaintext header has priority.
   */
  detect(datagram: Uint8Array): StreamCipher | 'plain' | undefined {
    if (datagram.length < HEADER_BYTES) return undefined;
    // Unknown types are left to the decoder, which counts them: 0xF1 in the clear is plaintext.
    if (datagram[0] === MAGIC) return 'plain';
    for (const cipher of this.#ciphers) if (fits(cipher, datagram)) return cipher;
    return undefined;
  }

  /** {@link detect}, and decipher; `clear` is the datagram itself when it was plaintext. */
  open(datagram: Uint8Array): OpenedDatagram | undefined {
    const cipher = this.detect(datagram);
    if (cipher === undefined) return undefined;
    if (cipher === 'plain') return { clear: datagram, cipher: undefined };
    return { clear: cipher.decipher(datagram), cipher };
  }
}

function fits(cipher: StreamCipher, datagram: Uint8Array): boolean {
  if (cipher.peek(datagram, 0) !== MAGIC) return false;
  if (messageName(cipher.peek(datagram, 1)) === undefined) return false;
  const length = (cipher.peek(datagram, 2) << 8) | cipher.peek(datagram, 3);
  return HEADER_BYTES + length <= datagram.length;
}
