import { StreamCipher } from '../cipher/stream-cipher.ts';
import { readU16, writeU16 } from './bytes.ts';
import { CodecError } from './codec-error.ts';
import { MAX_DATAGRAM_BYTES } from './header.ts';

/** Bytes in front of every message on TCP (docs/protocol/pppp.md, "TCP framing"). */
export const TCP_FRAME_HEADER_BYTES = 8;

/** The largest body: twice the largest datagram, to leave room for dialects that pad. */
export const MAX_TCP_BODY_BYTES: number = 2 * MAX_DATAGRAM_BYTES;

const MARKER = 0x68;

/**
 * Puts a message into a TCP frame. Without `nonce` the body is in the clear and unchecked, as on a LAN; with it
 * the frame has the relay form: body enciphered under the nonce, check bytes over the result (docs/protocol/pppp.md,
 * "TCP framing").
 * @param body an F1 message, already enciphered with the network's key where there is one
 * @param nonce two random bytes as a number, 0…65535
 * @throws CodecError `too-large`.
 */
export function encodeTcpFrame(body: Uint8Array, nonce?: number): Uint8Array {
  if (body.length > MAX_TCP_BODY_BYTES) {
    throw new CodecError('too-large', `A TCP frame carries at most ${MAX_TCP_BODY_BYTES} bytes, not ${body.length}.`);
  }
  const frame = new Uint8Array(TCP_FRAME_HEADER_BYTES + body.length);
  writeU16(frame, 0, body.length);
  frame[2] = MARKER;
  const sent = frame.subarray(TCP_FRAME_HEADER_BYTES);
  if (nonce === undefined) {
    sent.set(body);
    return frame;
  }
  writeU16(frame, 4, nonce);
  nonceCipher(nonce).encipher(body, sent);
  writeU16(frame, 6, tcpCheck(sent));
  return frame;
}

/** The check word over a frame's body as it is sent (docs/protocol/pppp.md, "TCP framing"). */
export function tcpCheck(body: Uint8Array): number {
  let a = 0x43;
  let b = 0x53;
  const last = body.length - 1;
  for (let i = 0; i <= last; i++) {
    const x = body[i]!;
    const c = b ^ x ^ a;
    if ((i & 1) === 0) b = x ^ a ^ body[last - i]!;
    a = c;
  }
  return (a << 8) | b;
}

/** Why a stream is not one of TCP frames. There is no way to find the next frame: close the connection. */
export type TcpFrameFailure = 'bad-marker' | 'too-large' | 'bad-check';

/**
 * Cuts a TCP stream into messages, however it arrives in pieces. Holds at most one incomplete frame.
 * Frames in both forms are understood; a frame whose nonce and check are zero is one in the clear.
 */
export class TcpDeframer {
  #pending: Uint8Array | undefined;
  #failure: TcpFrameFailure | undefined;

  /** Set once the stream has gone wrong; from then on everything is ignored. */
  get failure(): TcpFrameFailure | undefined {
    return this.#failure;
  }

  /** Bytes of a message that is not complete yet. */
  get waitingBytes(): number {
    return this.#pending?.length ?? 0;
  }

  /**
   * Takes the next piece and hands every message that is complete to `onMessage`, with true where it came in the
   * relay form. A message may be a view into `piece`. Returns the failure when the stream is no longer readable.
   */
  push(piece: Uint8Array, onMessage: (message: Uint8Array, enciphered: boolean) => void): TcpFrameFailure | undefined {
    if (this.#failure !== undefined) return this.#failure;
    const bytes = this.#pending === undefined ? piece : concat(this.#pending, piece);
    this.#pending = undefined;
    let at = 0;
    while (bytes.length - at >= TCP_FRAME_HEADER_BYTES) {
      const size = readU16(bytes, at);
      if (bytes[at + 2] !== MARKER || bytes[at + 3] !== 0) return this.#fail('bad-marker');
      if (size > MAX_TCP_BODY_BYTES) return this.#fail('too-large');
      const end = at + TCP_FRAME_HEADER_BYTES + size;
      if (end > bytes.length) break;
      const body = bytes.subarray(at + TCP_FRAME_HEADER_BYTES, end);
      const nonce = readU16(bytes, at + 4);
      const check = readU16(bytes, at + 6);
      at = end;
      if (nonce === 0 && check === 0) {
        onMessage(body, false);
        continue;
      }
      if (check !== tcpCheck(body)) return this.#fail('bad-check');
      onMessage(nonceCipher(nonce).decipher(body), true);
    }
    // A copy, so that a short rest does not keep a large piece alive.
    if (at < bytes.length) this.#pending = bytes.slice(at);
    return undefined;
  }

  #fail(failure: TcpFrameFailure): TcpFrameFailure {
    this.#failure = failure;
    return failure;
  }
}

/** The key is the nonce as four capital hex digits. */
function nonceCipher(nonce: number): StreamCipher {
  return new StreamCipher(nonce.toString(16).toUpperCase().padStart(4, '0'));
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array {
  const out = new Uint8Array(a.length + b.length);
  out.set(a);
  out.set(b, a.length);
  return out;
}
