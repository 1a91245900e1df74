import { SOCKET_ADDRESS_BYTES } from './socket-address.ts';
import { decodeUid, UID_BYTES, writeUid } from './uid.ts';

/** How one message looks on the wire. Payload offsets start after the 4-byte header. */
export interface Format<M> {
  /** Payloads shorter than this are refused before `decode` sees them. Longer ones are tolerated. */
  readonly minBytes: number;
  /** Payload bytes that `encode` fills; `minBytes` when absent. */
  size?(message: M): number;
  /** Undefined: the bytes are long enough, but no such message. Views into `payload` may be returned. */
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

/** A message that is a UID; what may follow it (API version, padding) is ignored (spec/pppp §3.2). */
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

/** A message whose inside is not documented: carried as it is. */
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
