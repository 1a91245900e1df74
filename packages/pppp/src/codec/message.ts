import type { FormatTable, Format } from './format.ts';
import { HEADER_BYTES, MAGIC, payloadLength, writeHeader } from './header.ts';
import { type LanMessage, lanFormats } from './lan-messages.ts';
import { MessageType } from './message-type.ts';
import { type RelayMessage, relayFormats } from './relay-messages.ts';
import { type RendezvousMessage, rendezvousFormats } from './rendezvous-messages.ts';
import { reportFormats, type SessionReport } from './report-message.ts';
import { type SessionMessage, sessionFormats } from './session-messages.ts';

/**
 * Every message of the catalogue (docs/protocol/pppp.md, "Message catalogue") that has a name, told apart by `type`.
 */
export type Message = SessionMessage | LanMessage | RendezvousMessage | RelayMessage | SessionReport;

/** A well-formed datagram of an unknown type: counted and not answered. */
export interface UnknownMessage {
  type: 'unknown';
  code: number;
  payload: Uint8Array;
}

/** Why a datagram is not a message. */
export type MalformedReason =
  /** fewer than the four bytes of a header */
  | 'no-header'
  /** does not begin with 0xF1: another protocol, or enciphered */
  | 'bad-magic'
  /** the header states more bytes than there are */
  | 'truncated'
  /** complete, but the payload is shorter than its type requires */
  | 'payload-too-short'
  /** long enough, but a field has an invalid value */
  | 'bad-field';

export interface MalformedMessage {
  type: 'malformed';
  reason: MalformedReason;
  /** The type byte, where there is one. */
  code: number | undefined;
}

/** What {@link decodeMessage} makes of a datagram. */
export type DecodedMessage = Message | UnknownMessage | MalformedMessage;

/**
 * Decodes one datagram in the clear. Never throws. Bytes after the stated payload, and payload bytes after the
 * known fields, are ignored (docs/protocol/pppp.md, "Header", "Dialects"). Byte fields of the result are views into
 * `datagram`.
 */
export function decodeMessage(datagram: Uint8Array): DecodedMessage {
  if (datagram.length < HEADER_BYTES) return { type: 'malformed', reason: 'no-header', code: undefined };
  if (datagram[0] !== MAGIC) return { type: 'malformed', reason: 'bad-magic', code: undefined };
  const code = datagram[1]!;
  const end = HEADER_BYTES + payloadLength(datagram);
  if (end > datagram.length) return { type: 'malformed', reason: 'truncated', code };
  const payload = datagram.subarray(HEADER_BYTES, end);
  const format = formatOf[code];
  if (format === undefined) return { type: 'unknown', code, payload };
  if (payload.length < format.minBytes) return { type: 'malformed', reason: 'payload-too-short', code };
  return format.decode(payload) ?? { type: 'malformed', reason: 'bad-field', code };
}

/**
 * Encodes a message as one datagram in the clear.
 * @param minBytes pads the datagram with zeros behind the stated payload; receivers ignore them
 * @throws CodecError when a field cannot be put on the wire.
 */
export function encodeMessage(message: Message, minBytes = 0): Uint8Array {
  // The table is keyed by `type`, so the format fits the message; TypeScript cannot follow that through the union.
  const format = formats[message.type] as Format<Message>;
  const size = format.size?.(message) ?? format.minBytes;
  const end = HEADER_BYTES + size;
  const datagram = new Uint8Array(Math.max(end, minBytes));
  writeHeader(datagram, MessageType[message.type], size);
  format.encode(message, datagram.subarray(HEADER_BYTES, end));
  return datagram;
}

const formats: FormatTable<Message> = {
  ...sessionFormats,
  ...lanFormats,
  ...rendezvousFormats,
  ...relayFormats,
  ...reportFormats,
};

const formatOf: readonly (Format<Message> | undefined)[] = (() => {
  const table: (Format<Message> | undefined)[] = new Array(256).fill(undefined);
  for (const [name, format] of Object.entries(formats)) {
    table[MessageType[name as Message['type']]] = format as Format<Message>;
  }
  return table;
})();
