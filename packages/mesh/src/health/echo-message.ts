/** Messages inside the tunnel: docs/protocol/mesh.md, "Echo". */
export interface EchoMessage {
  readonly type: 'request' | 'reply' | 'goodbye';
  /** 32 bits. */
  readonly id: number;
  /** At most {@link MAX_NOTE_BYTES}. */
  readonly note: Uint8Array;
}

export const MAX_NOTE_BYTES = 64;
/** Larger than any datagram that a tunnel carries. */
const MAX_DATAGRAM_BYTES = 65_507;
/** Of an IPv4 packet with UDP in a message of WireGuard: headers, padding to 16 bytes, and the tag. */
const ENVELOPE_BYTES = 16 + 28 + 15 + 16;
const MAGIC = [0x54, 0x50, 0x45, 0x43] as const;
const VERSION = 1;
const HEADER_BYTES = 11;
/** A larger datagram of WireGuard holds no echo. */
const MAX_ECHO_DATAGRAM_BYTES: number = ENVELOPE_BYTES + HEADER_BYTES + MAX_NOTE_BYTES;
export const WIREGUARD_DATA = 4;
const TYPES = { request: 1, reply: 2, goodbye: 3 } as const;

/**
 * True for a datagram of WireGuard that carries more than an echo, a keep-alive or a handshake: a tunnel without such is
 * idle, and its paths are probed rarely.
 */
export function carriesData(datagram: Uint8Array): boolean {
  return datagram[0] === WIREGUARD_DATA && datagram.length > MAX_ECHO_DATAGRAM_BYTES;
}

/**
 * Encodes a message.
 * @param sizeBytes of the datagram; padded with zeros. @default no padding
 * @throws RangeError when the note or the size does not fit: a mistake of the caller.
 */
export function encodeEcho({ type, id, note }: EchoMessage, sizeBytes = 0): Uint8Array {
  if (note.length > MAX_NOTE_BYTES || sizeBytes > MAX_DATAGRAM_BYTES) throw new RangeError('An echo is too long.');
  const bytes = new Uint8Array(Math.max(sizeBytes, HEADER_BYTES + note.length));
  bytes.set(MAGIC);
  bytes[4] = VERSION;
  bytes[5] = TYPES[type];
  new DataView(bytes.buffer).setUint32(6, id);
  bytes[10] = note.length;
  bytes.set(note, HEADER_BYTES);
  return bytes;
}

/** Returns the version of an echo that {@link decodeEcho} does not read for its version; undefined for every other datagram. */
export function foreignEcho(bytes: Uint8Array): number | undefined {
  const version = bytes[MAGIC.length];
  return MAGIC.every((byte, at) => bytes[at] === byte) && version !== VERSION ? version : undefined;
}

/** Reads a message; undefined when the datagram is none. Never throws. */
export function decodeEcho(bytes: Uint8Array): EchoMessage | undefined {
  if (bytes.length < HEADER_BYTES || !MAGIC.every((byte, at) => bytes[at] === byte) || bytes[4] !== VERSION) {
    return undefined;
  }
  const type = (['request', 'reply', 'goodbye'] as const).find((each) => TYPES[each] === bytes[5]);
  const noteLength = bytes[10]!;
  if (type === undefined || noteLength > MAX_NOTE_BYTES || bytes.length < HEADER_BYTES + noteLength) return undefined;
  const id = new DataView(bytes.buffer, bytes.byteOffset).getUint32(6);
  return { type, id, note: new Uint8Array(bytes.subarray(HEADER_BYTES, HEADER_BYTES + noteLength)) };
}
