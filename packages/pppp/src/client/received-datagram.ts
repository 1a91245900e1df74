import type { Endpoint } from '@towpath/net';
import type { StreamCipher } from '../cipher/stream-cipher.ts';
import { type DecodedMessage, decodeMessage } from '../codec/message.ts';

/** A datagram that came to the socket of attempts: decoded once in each cipher, whichever of them read it. */
export class ReceivedDatagram {
  readonly data: Uint8Array;
  readonly from: Endpoint;
  /** By key; the empty one is plaintext. */
  readonly #decoded: Map<string, DecodedMessage> = new Map();

  constructor(data: Uint8Array, from: Endpoint) {
    this.data = data;
    this.from = from;
  }

  /** Returns its message in a cipher; in plaintext when undefined. */
  message(cipher: StreamCipher | undefined): DecodedMessage {
    const key = cipher?.key ?? '';
    let decoded = this.#decoded.get(key);
    if (decoded === undefined) {
      decoded = decodeMessage(cipher === undefined ? this.data : cipher.decipher(this.data));
      this.#decoded.set(key, decoded);
    }
    return decoded;
  }
}
