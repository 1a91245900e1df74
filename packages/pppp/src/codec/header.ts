import { CodecError } from './codec-error.ts';

/** First byte of every datagram in the clear (docs/protocol/pppp.md, "Header"). */
export const MAGIC = 0xf1;

/** magic, type, payload length. */
export const HEADER_BYTES = 4;

/**
 * Most data of one DRW: used by every known implementation, and small enough for any path MTU (docs/protocol/pppp.md,
 * "Header").
 */
export const MAX_DRW_DATA_BYTES = 1024;

/** The largest datagram of a session: header, DRW sub-header, data. */
export const MAX_DATAGRAM_BYTES: number = HEADER_BYTES + 4 + MAX_DRW_DATA_BYTES;

/**
 * Returns the type byte of a datagram, or −1 when it is not a complete PPPP datagram in the clear. Allocates nothing.
 */
export function peekType(datagram: Uint8Array): number {
  if (datagram.length < HEADER_BYTES || datagram[0] !== MAGIC) return -1;
  if (HEADER_BYTES + payloadLength(datagram) > datagram.length) return -1;
  return datagram[1]!;
}

/** The payload length that the header states. The caller has checked that the header is there. */
export function payloadLength(datagram: Uint8Array): number {
  return (datagram[2]! << 8) | datagram[3]!;
}

/** Writes the four bytes of a header at the start of `target`. */
export function writeHeader(target: Uint8Array, code: number, payloadBytes: number): void {
  if (payloadBytes > 0xffff) {
    throw new CodecError('too-large', `A payload of ${payloadBytes} bytes does not fit the 16-bit length; split it.`);
  }
  target[0] = MAGIC;
  target[1] = code;
  target[2] = payloadBytes >>> 8;
  target[3] = payloadBytes & 0xff;
}
