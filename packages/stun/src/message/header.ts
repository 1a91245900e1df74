/** The fixed first twenty bytes of every STUN message (RFC 8489 §5). */
export const HEADER_BYTES = 20;

/** Bytes 4–7 of every STUN message (RFC 8489 §5). */
export const MAGIC_COOKIE = 0x2112a442;

export const TRANSACTION_ID_BYTES = 12;

/** What a message is for (RFC 8489 §5): the two class bits. */
export const MessageClass = { Request: 0, Indication: 1, Success: 2, Error: 3 } as const;
export type MessageClass = (typeof MessageClass)[keyof typeof MessageClass];

/** STUN (RFC 8489 §18.2), TURN (RFC 8656 §17) and TURN-TCP (RFC 6062 §6.1) methods. */
export const Method = {
  Binding: 0x001,
  Allocate: 0x003,
  Refresh: 0x004,
  Send: 0x006,
  Data: 0x007,
  CreatePermission: 0x008,
  ChannelBind: 0x009,
  Connect: 0x00a,
  ConnectionBind: 0x00b,
  ConnectionAttempt: 0x00c,
} as const;
export type Method = (typeof Method)[keyof typeof Method];

/** The 14-bit message type: the class bits are interleaved with the method (RFC 8489 §5, figure 3). */
export function messageType(messageClass: MessageClass, method: number): number {
  return (
    ((method & 0xf80) << 2) |
    ((method & 0x070) << 1) |
    (method & 0x00f) |
    ((messageClass & 2) << 7) |
    ((messageClass & 1) << 4)
  );
}

export function classOf(type: number): MessageClass {
  return (((type >>> 7) & 2) | ((type >>> 4) & 1)) as MessageClass;
}

export function methodOf(type: number): number {
  return ((type >>> 2) & 0xf80) | ((type >>> 1) & 0x070) | (type & 0x00f);
}

/**
 * True when a datagram begins like STUN: two zero bits, and the magic cookie. Plain relaying carries everything else
 * (docs/protocol/turn-plain.md); the kernel compares the same bytes.
 */
export function beginsLikeStun(data: Uint8Array): boolean {
  return (
    data.length >= 8 && data[0]! < 0x40 && data[4] === 0x21 && data[5] === 0x12 && data[6] === 0xa4 && data[7] === 0x42
  );
}

/**
 * True when a datagram can only be STUN: two zero bits, the magic cookie, and a length field that fits.
 * Cheap enough to tell STUN from other protocols on a shared socket (RFC 7983 §7).
 */
export function isStun(data: Uint8Array): boolean {
  return (
    data.length >= HEADER_BYTES &&
    data[0]! < 0x40 &&
    data[4] === 0x21 &&
    data[5] === 0x12 &&
    data[6] === 0xa4 &&
    data[7] === 0x42 &&
    ((data[2]! << 8) | data[3]!) === data.length - HEADER_BYTES
  );
}
