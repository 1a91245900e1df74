import { readU16, writeU16 } from './bytes.ts';
import { CodecError } from './codec-error.ts';
import { empty, type FormatTable } from './format.ts';
import { HEADER_BYTES, MAX_DATAGRAM_BYTES, MAX_DRW_DATA_BYTES, payloadLength, writeHeader } from './header.ts';
import { MessageType } from './message-type.ts';

/** What runs in a session (docs/protocol/pppp.md, "Data packets"). */
export type SessionMessage =
  /** `data` is a view into the datagram. */
  | { type: 'DRW'; channel: number; index: number; data: Uint8Array }
  | { type: 'DRW_ACK'; channel: number; indices: readonly number[] }
  /** Unreliable packet; the meaning of its first byte is not documented. */
  | { type: 'PSR'; marker: number; channel: number; index: number; data: Uint8Array }
  | { type: 'ALIVE' }
  | { type: 'ALIVE_ACK' }
  | { type: 'CLOSE' }
  | { type: 'CLOSE_ACK' };

/** Channels 0–7. */
export const CHANNELS = 8;

/** Bytes in front of a DRW's data: header and sub-header. */
export const DRW_HEADER_BYTES: number = HEADER_BYTES + 4;

/** The most indices that one DRW_ACK can list within the largest datagram. */
export const MAX_ACK_INDICES: number = (MAX_DATAGRAM_BYTES - DRW_HEADER_BYTES) / 2;

const SUB_HEADER_BYTES = 4;
const SUB_MAGIC = 0xd1;
/** One dialect writes 0xD2 (docs/protocol/pppp.md, "Dialects"). */
const SUB_MAGIC_OTHER = 0xd2;

/**
 * Writes header and sub-header of a DRW in front of its data, which starts at {@link DRW_HEADER_BYTES}.
 * @param dataBytes 1…1024
 */
export function writeDrwHeader(target: Uint8Array, channel: number, index: number, dataBytes: number): void {
  writeHeader(target, MessageType.DRW, SUB_HEADER_BYTES + dataBytes);
  target[4] = SUB_MAGIC;
  target[5] = channel;
  writeU16(target, 6, index);
}

/**
 * Writes a complete DRW_ACK of the first `count` of `indices` and returns its length in bytes.
 * `target` has room for `8 + 2 · count`; `count` is at most {@link MAX_ACK_INDICES}.
 */
export function writeDrwAck(target: Uint8Array, channel: number, indices: ArrayLike<number>, count: number): number {
  writeHeader(target, MessageType.DRW_ACK, SUB_HEADER_BYTES + 2 * count);
  target[4] = SUB_MAGIC;
  target[5] = channel;
  writeU16(target, 6, count);
  for (let i = 0; i < count; i++) writeU16(target, 8 + 2 * i, indices[i]!);
  return DRW_HEADER_BYTES + 2 * count;
}

/**
 * Bytes of data in a datagram whose type, by `peekType`, is DRW, or −1 when it is malformed. Then the `drw…`
 * functions may be used on it.
 */
export function drwDataBytes(datagram: Uint8Array): number {
  if (!hasSubHeader(datagram, HEADER_BYTES)) return -1;
  const size = payloadLength(datagram) - SUB_HEADER_BYTES;
  return size >= 1 && size <= MAX_DRW_DATA_BYTES ? size : -1;
}

/** Channel of a DRW or DRW_ACK that was found well-formed. */
export function drwChannel(datagram: Uint8Array): number {
  return datagram[5]!;
}

/** Index of a DRW that was found well-formed. */
export function drwIndex(datagram: Uint8Array): number {
  return readU16(datagram, 6);
}

/** A view of the data of a DRW that was found well-formed. */
export function drwData(datagram: Uint8Array): Uint8Array {
  return datagram.subarray(DRW_HEADER_BYTES, HEADER_BYTES + payloadLength(datagram));
}

/**
 * How many indices a datagram whose type, by `peekType`, is DRW_ACK lists, or −1 when it is malformed. Then
 * {@link drwChannel} and {@link drwAckIndex} may be used.
 */
export function drwAckCount(datagram: Uint8Array): number {
  if (!hasSubHeader(datagram, HEADER_BYTES)) return -1;
  const count = readU16(datagram, 6);
  return SUB_HEADER_BYTES + 2 * count <= payloadLength(datagram) ? count : -1;
}

/** Indices from which the cameras take a DRW_ACK for hostile (docs/protocol/pppp.md, "Acknowledgement"). */
const IMPOSSIBLE_COUNT = 82;

/** True for a DRW_ACK that is not well-formed because it claims a channel or a number of indices that cannot be. */
export function isImpossibleDrwAck(datagram: Uint8Array): boolean {
  if (datagram.length < HEADER_BYTES + SUB_HEADER_BYTES) return false;
  return datagram[5]! >= CHANNELS || readU16(datagram, 6) >= IMPOSSIBLE_COUNT;
}

/** The `at`-th index of a DRW_ACK that was found well-formed. */
export function drwAckIndex(datagram: Uint8Array, at: number): number {
  return readU16(datagram, DRW_HEADER_BYTES + 2 * at);
}

/** True when the stated payload has a valid sub-header at `at`: its magic and a channel 0–7. */
function hasSubHeader(datagram: Uint8Array, at: number): boolean {
  if (datagram.length < at + SUB_HEADER_BYTES || payloadLength(datagram) < SUB_HEADER_BYTES) return false;
  return validSubHeader(datagram, at);
}

function validSubHeader(bytes: Uint8Array, at: number): boolean {
  return (bytes[at] === SUB_MAGIC || bytes[at] === SUB_MAGIC_OTHER) && bytes[at + 1]! < CHANNELS;
}

export const sessionFormats: FormatTable<SessionMessage> = {
  DRW: {
    minBytes: SUB_HEADER_BYTES + 1,
    size: (message) => SUB_HEADER_BYTES + message.data.length,
    decode(payload) {
      if (!validSubHeader(payload, 0) || payload.length > SUB_HEADER_BYTES + MAX_DRW_DATA_BYTES) return undefined;
      return { type: 'DRW', channel: payload[1]!, index: readU16(payload, 2), data: payload.subarray(4) };
    },
    encode(message, payload) {
      checkData(message.data);
      payload[0] = SUB_MAGIC;
      payload[1] = checkChannel(message.channel);
      writeU16(payload, 2, message.index);
      payload.set(message.data, 4);
    },
  },
  DRW_ACK: {
    minBytes: SUB_HEADER_BYTES,
    size: (message) => SUB_HEADER_BYTES + 2 * message.indices.length,
    decode(payload) {
      const count = readU16(payload, 2);
      if (!validSubHeader(payload, 0) || payload.length < SUB_HEADER_BYTES + 2 * count) return undefined;
      const indices: number[] = [];
      for (let i = 0; i < count; i++) indices.push(readU16(payload, 4 + 2 * i));
      return { type: 'DRW_ACK', channel: payload[1]!, indices };
    },
    encode(message, payload) {
      if (message.indices.length > MAX_ACK_INDICES) {
        throw new CodecError('too-large', `One DRW_ACK lists at most ${MAX_ACK_INDICES} indices; send several.`);
      }
      payload[0] = SUB_MAGIC;
      payload[1] = checkChannel(message.channel);
      writeU16(payload, 2, message.indices.length);
      for (const [i, index] of message.indices.entries()) writeU16(payload, 4 + 2 * i, index);
    },
  },
  PSR: {
    minBytes: SUB_HEADER_BYTES,
    size: (message) => SUB_HEADER_BYTES + message.data.length,
    decode(payload) {
      if (payload[1]! >= CHANNELS) return undefined;
      const index = readU16(payload, 2);
      return { type: 'PSR', marker: payload[0]!, channel: payload[1]!, index, data: payload.subarray(4) };
    },
    encode(message, payload) {
      payload[0] = message.marker;
      payload[1] = checkChannel(message.channel);
      writeU16(payload, 2, message.index);
      payload.set(message.data, 4);
    },
  },
  ALIVE: empty('ALIVE'),
  ALIVE_ACK: empty('ALIVE_ACK'),
  CLOSE: empty('CLOSE'),
  CLOSE_ACK: empty('CLOSE_ACK'),
};

function checkChannel(channel: number): number {
  if (Number.isInteger(channel) && channel >= 0 && channel < CHANNELS) return channel;
  throw new CodecError('field-out-of-range', `Channel ${channel} does not exist; use 0 to ${CHANNELS - 1}.`);
}

function checkData(data: Uint8Array): void {
  if (data.length >= 1 && data.length <= MAX_DRW_DATA_BYTES) return;
  throw new CodecError(
    'too-large',
    `A DRW carries 1 to ${MAX_DRW_DATA_BYTES} bytes, not ${data.length}; cut the data.`,
  );
}
