/** The ARTEMIS frame: 20 bytes of header, then `length` bytes. docs/protocol/artemis.md, "Frame". */

/** Message types of the frame header. docs/protocol/artemis.md, "Channels". */
export const MessageType = {
  liveAv: 0,
  talk: 1,
  request: 2,
  response: 3,
  playbackAv: 4,
  file: 5,
  thumbnail: 8,
  event: 9,
} as const;
export type MessageType = (typeof MessageType)[keyof typeof MessageType];

/** Use of each channel of a session. docs/protocol/artemis.md, "Channels". */
export const Channel = { command: 0, live: 1, playback: 2, file: 3, thumbnail: 4, event: 6 } as const;

export const FRAME_HEADER_BYTES = 20;

/** Longest accepted body: photos of 5.9 MB were seen; 16 MB bound the memory that a peer can claim. */
export const MAX_FRAME_BODY_BYTES: number = 16 * 1024 * 1024;

/**
 * First bytes of the camera on channel 0: three bytes without a frame header.
 * docs/protocol/artemis.md, "Session".
 */
export const GREETING: Uint8Array = new Uint8Array([0x41, 0x43, 0x4b]);

const MAGIC = new Uint8Array([0x41, 0x52, 0x54, 0x45, 0x4d, 0x49, 0x53]);
const FIRST_MAGIC_BYTE = 0x41;

/** One message of a channel. */
export interface Frame {
  /** One of {@link MessageType}, or an unknown number. */
  readonly type: number;
  readonly seq: number;
  /** Byte 7 of the header: 0 except in events, where the camera leaves it uninitialised. */
  readonly pad: number;
  /** The bytes after the header; may be a view into the received chunk. */
  readonly body: Uint8Array;
}

/** Encodes one frame. `seq` is taken modulo 2^32, `pad` modulo 2^8. */
export function encodeFrame(type: number, seq: number, body: Uint8Array, pad = 0): Uint8Array {
  const out = new Uint8Array(FRAME_HEADER_BYTES + body.length);
  out.set(MAGIC, 0);
  out[7] = pad;
  writeU32(out, 8, type);
  writeU32(out, 12, seq);
  writeU32(out, 16, body.length);
  out.set(body, FRAME_HEADER_BYTES);
  return out;
}

/** Callbacks of a {@link FrameStream}, called synchronously and in the order of the stream. */
export interface FrameHandlers {
  onFrame(frame: Frame): void;
  /** Bytes that belong to no frame: the greeting, or bytes skipped to find the next magic. */
  onSkipped?(bytes: Uint8Array): void;
}

/**
 * Cuts one channel's byte stream into frames, independent of packet boundaries.
 * After damage it searches for the next magic byte by byte. A frame inside one chunk is delivered as a view of
 * it; a frame across chunks is copied once into a buffer of its own size.
 */
export class FrameStream {
  readonly #handlers: FrameHandlers;
  /** Made for the first frame that does not come in one chunk: on most channels all do. */
  #header: Uint8Array | undefined;
  #headerBytes = 0;
  #body: Uint8Array | undefined;
  #bodyBytes = 0;

  constructor(handlers: FrameHandlers) {
    this.#handlers = handlers;
  }

  /** Stored bytes of an incomplete frame. */
  get pendingBytes(): number {
    return this.#headerBytes + this.#bodyBytes;
  }

  /** Type of the frame whose body is incomplete. */
  get pendingType(): number | undefined {
    return this.#body && readU32(this.#storedHeader, 8);
  }

  /** Discards an incomplete frame; for a reader that knows of missing bytes. */
  reset(): void {
    this.#headerBytes = 0;
    this.#body = undefined;
    this.#bodyBytes = 0;
  }

  get #storedHeader(): Uint8Array {
    this.#header ??= new Uint8Array(FRAME_HEADER_BYTES);
    return this.#header;
  }

  /** Takes the next bytes of the stream. `chunk` must not be changed afterwards: frames may be views of it. */
  push(chunk: Uint8Array): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#body !== undefined) at = this.#fillBody(chunk, at, this.#body);
      else if (this.#headerBytes > 0) at = this.#fillHeader(chunk, at);
      else at = this.#scan(chunk, at);
    }
  }

  /** Between frames: the chunk may contain a whole frame. */
  #scan(chunk: Uint8Array, from: number): number {
    const at = findMagic(chunk, from, chunk.length);
    if (at > from) this.#handlers.onSkipped?.(chunk.subarray(from, at));
    const rest = chunk.length - at;
    if (rest < FRAME_HEADER_BYTES) {
      this.#storedHeader.set(chunk.subarray(at), 0);
      this.#headerBytes = rest;
      return chunk.length;
    }
    const length = readU32(chunk, at + 16);
    if (length > MAX_FRAME_BODY_BYTES) return this.#skipOne(chunk, at);
    const bodyAt = at + FRAME_HEADER_BYTES;
    if (rest - FRAME_HEADER_BYTES >= length) {
      this.#deliver(chunk, at, chunk.subarray(bodyAt, bodyAt + length));
      return bodyAt + length;
    }
    this.#storedHeader.set(chunk.subarray(at, bodyAt), 0);
    this.#headerBytes = FRAME_HEADER_BYTES;
    this.#body = new Uint8Array(length);
    return bodyAt;
  }

  /** A length beyond the limit is damage: continue the search after the first byte of this magic. */
  #skipOne(bytes: Uint8Array, at: number): number {
    this.#handlers.onSkipped?.(bytes.subarray(at, at + 1));
    return at + 1;
  }

  #fillHeader(chunk: Uint8Array, from: number): number {
    const header = this.#storedHeader;
    const take = Math.min(FRAME_HEADER_BYTES - this.#headerBytes, chunk.length - from);
    header.set(chunk.subarray(from, from + take), this.#headerBytes);
    this.#headerBytes += take;
    const magicAt = findMagic(header, 0, this.#headerBytes);
    if (magicAt > 0) {
      this.#dropFromHeader(magicAt);
      return from + take;
    }
    if (this.#headerBytes < FRAME_HEADER_BYTES) return from + take;
    const length = readU32(header, 16);
    if (length > MAX_FRAME_BODY_BYTES) {
      this.#dropFromHeader(findMagic(header, 1, FRAME_HEADER_BYTES));
      return from + take;
    }
    this.#body = new Uint8Array(length);
    if (length === 0) this.#finish(this.#body);
    return from + take;
  }

  #dropFromHeader(count: number): void {
    const header = this.#storedHeader;
    this.#handlers.onSkipped?.(header.slice(0, count));
    header.copyWithin(0, count, this.#headerBytes);
    this.#headerBytes -= count;
  }

  #fillBody(chunk: Uint8Array, from: number, body: Uint8Array): number {
    const take = Math.min(body.length - this.#bodyBytes, chunk.length - from);
    body.set(chunk.subarray(from, from + take), this.#bodyBytes);
    this.#bodyBytes += take;
    if (this.#bodyBytes === body.length) this.#finish(body);
    return from + take;
  }

  #finish(body: Uint8Array): void {
    this.reset();
    this.#deliver(this.#storedHeader, 0, body);
  }

  #deliver(header: Uint8Array, at: number, body: Uint8Array): void {
    this.#handlers.onFrame({
      type: readU32(header, at + 8),
      seq: readU32(header, at + 12),
      pad: header[at + 7]!,
      body,
    });
  }
}

/**
 * Returns the first index in `bytes[from…end)` where the magic is, or may begin before `end`; `end` if there is none.
 */
function findMagic(bytes: Uint8Array, from: number, end: number): number {
  for (let at = from; at < end; at++) {
    if (bytes[at] !== FIRST_MAGIC_BYTE) {
      at = bytes.indexOf(FIRST_MAGIC_BYTE, at);
      if (at < 0 || at >= end) return end;
    }
    let same = 1;
    while (same < MAGIC.length && at + same < end && bytes[at + same] === MAGIC[same]) same++;
    if (same === MAGIC.length || at + same === end) return at;
  }
  return end;
}

function readU32(bytes: Uint8Array, at: number): number {
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;
}

function writeU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
  bytes[at + 2] = value >>> 16;
  bytes[at + 3] = value >>> 24;
}
