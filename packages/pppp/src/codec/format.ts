import { SOCKET_ADDRESS_BYTES } from './socket-address.ts';
import { decodeUid, UID_BYTES, writeUid } from './uid.ts';

/** Wire format of one message. Payload offsets start after the 4-byte header. */
export interface Format<M> {
  /** Shorter payloads are refused before `decode`. Longer ones are accepted. */
  readonly minBytes: number;
  /** Payload bytes that `encode` fills; `minBytes` when absent. */
  size?(message: M): number;
  /** Undefined: the bytes are long enough, but invalid. Views into `payload` may be returned. */
  decode(payload: Uint8Array): M | undefined;
  /** `payload` is zeroed and exactly `size` long. */
  encode(message: M, payload: Uint8Array): void;
}

/** One format for each member of a union of messages. */
export type FormatTable<M extends { type: string }> = {
  readonly [T in M['type']]: Format<Extract<M, { type: T }>>;
};

/** A message without a payload; stray bytes are ignored. */
export function empty<T extends string>(type: T): Format<{ type: T }> {
  return { minBytes: 0, decode: () => ({ type }), encode: () => {} };
}

/** A message that is a UID; what may follow it (API version, padding) is ignored (docs/protocol/pppp.md, "UID"). */
export function uidOnly<T extends string>(type: T): Format<{ type: T; uid: string }> {
  return {
    minBytes: UID_BYTES,
    decode(payload) {
      const uid = decodeUid(payload, 0);
      return uid === undefined ? undefined : { type, uid };
    },
    encode: (message, payload) => writeUid(payload, 0, message.uid),
  };
}

/** An acknowledgement: result byte, three reserved. */
export function resultOnly<T extends string>(type: T): Format<{ type: T; result: number }> {
  return {
    minBytes: 4,
    decode: (payload) => ({ type, result: payload[0]! }),
    encode(message, payload) {
      payload[0] = message.result;
    },
  };
}

/** Marks the reserved bytes of an acknowledgement as a notice of ours; elsewhere they are zero or an API version. */
const NOTICE_MARK = [0x54, 0x57] as const;
const CONTESTED = 0x01;

/**
 * The acknowledgement of a client's request for a device: result byte, then three bytes that are reserved in PPPP. An
 * extension of ours tells there that several devices claim the UID; other implementations ignore these bytes.
 */
export function resultAndNotice<T extends string>(type: T): Format<{ type: T; result: number; contested?: true }> {
  return {
    minBytes: 4,
    decode(payload) {
      const contested =
        payload[1] === NOTICE_MARK[0] && payload[2] === NOTICE_MARK[1] && (payload[3]! & CONTESTED) !== 0;
      return { type, result: payload[0]!, ...(contested ? { contested } : {}) };
    },
    encode(message, payload) {
      payload[0] = message.result;
      if (message.contested) payload.set([...NOTICE_MARK, CONTESTED], 1);
    },
  };
}

/** A message with undocumented content, carried unchanged. */
export function opaque<T extends string>(type: T): Format<{ type: T; body: Uint8Array }> {
  return {
    minBytes: 0,
    size: (message) => message.body.length,
    decode: (payload) => ({ type, body: payload }),
    encode: (message, payload) => payload.set(message.body),
  };
}

/** UID, then a socket address. */
export const UID_AND_ADDRESS_BYTES: number = UID_BYTES + SOCKET_ADDRESS_BYTES;
