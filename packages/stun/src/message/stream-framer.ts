import { padded } from './attribute.ts';
import { CHANNEL_HEADER_BYTES } from './channel-data.ts';
import { HEADER_BYTES } from './header.ts';

/** First size of the buffer, bytes; it grows with what a peer has sent, not with the length that it announced. */
const INITIAL_HELD_BYTES = 512;

const NOTHING = new Uint8Array(0);

/**
 * Cuts a byte stream into STUN messages and ChannelData (RFC 8489 §6.2.2, RFC 8656 §12.5).
 * Frames that lie within one chunk are views of it; only split ones are copied. A frame is at most
 * 65,555 bytes, because its length comes from a 16-bit field.
 */
export class StreamFramer {
  readonly #onFrame: (frame: Uint8Array) => void;
  /** ChannelData may come: always, or after the first STUN message. */
  #channelData: boolean;
  #held = NOTHING;
  #heldBytes = 0;
  #stopped = false;

  /**
   * @param onFrame called for each frame; ChannelData comes without its padding.
   * @param options.stunFirst the stream must begin with a STUN message. Otherwise "GET " or "HTTP" would count as the
   *   start of a long ChannelData message.
   */
  constructor(onFrame: (frame: Uint8Array) => void, options: { stunFirst?: boolean } = {}) {
    this.#onFrame = onFrame;
    this.#channelData = !(options.stunFirst ?? false);
  }

  /** Takes the next bytes. Returns false when the stream is neither STUN nor ChannelData: close it. */
  push(chunk: Uint8Array): boolean {
    let at = 0;
    const first = this.#heldBytes > 0 ? this.#held[0] : chunk[0];
    if (!this.#channelData && first !== undefined && first >= 0x40) return false;
    while (this.#heldBytes > 0 && at < chunk.length && !this.#stopped) {
      const needed = this.#heldBytes < CHANNEL_HEADER_BYTES ? CHANNEL_HEADER_BYTES : paddedFrameBytes(this.#held, 0);
      if (needed === undefined) return false;
      const taken = Math.min(needed - this.#heldBytes, chunk.length - at);
      this.#hold(chunk.subarray(at, at + taken));
      at += taken;
      if (this.#heldBytes < CHANNEL_HEADER_BYTES || this.#heldBytes < (paddedFrameBytes(this.#held, 0) ?? 0)) continue;
      if (paddedFrameBytes(this.#held, 0) === undefined) return false;
      const frame = this.#held;
      this.#held = NOTHING;
      this.#heldBytes = 0;
      this.#deliver(frame, 0);
    }
    while (chunk.length - at >= CHANNEL_HEADER_BYTES && !this.#stopped) {
      const length = paddedFrameBytes(chunk, at);
      if (length === undefined) return false;
      if (length > chunk.length - at) break;
      this.#deliver(chunk, at);
      at += length;
    }
    if (at < chunk.length) this.#hold(chunk.subarray(at));
    return true;
  }

  /** Delivers no more frames, not even those of the chunk in hand; {@link rest} is what was not delivered. */
  stop(): void {
    this.#stopped = true;
  }

  /** The bytes after the last delivered frame: a ConnectionBind turns the stream into raw data (RFC 6062 §4.4). */
  rest(): Uint8Array {
    return this.#held.subarray(0, this.#heldBytes);
  }

  #deliver(bytes: Uint8Array, at: number): void {
    this.#channelData = true;
    this.#onFrame(bytes.subarray(at, at + frameBytes(bytes, at)));
  }

  #hold(bytes: Uint8Array): void {
    const total = this.#heldBytes + bytes.length;
    if (total > this.#held.length) {
      const larger = Buffer.allocUnsafe(Math.max(total, 2 * this.#held.length, INITIAL_HELD_BYTES));
      larger.set(this.#held.subarray(0, this.#heldBytes));
      this.#held = larger;
    }
    this.#held.set(bytes, this.#heldBytes);
    this.#heldBytes = total;
  }
}

function frameBytes(bytes: Uint8Array, at: number): number {
  const field = (bytes[at + 2]! << 8) | bytes[at + 3]!;
  return bytes[at]! < 0x40 ? HEADER_BYTES + field : CHANNEL_HEADER_BYTES + field;
}

/** What the frame at `at` takes in the stream; undefined when it is neither STUN nor ChannelData. */
function paddedFrameBytes(bytes: Uint8Array, at: number): number | undefined {
  const first = bytes[at]!;
  if (first >= 0x80 || (first < 0x40 && (bytes[at + 3]! & 3) !== 0)) return undefined;
  return padded(frameBytes(bytes, at));
}
