/** Channel number and length come before the data (RFC 8656 §12.4). */
export const CHANNEL_HEADER_BYTES = 4;

/** Channels that a client should bind (RFC 8656 §12). */
export const MIN_CHANNEL = 0x4000;
export const MAX_CHANNEL = 0x4fff;

/** Clients of RFC 5766 §11 still bind channels up to this. */
export const MAX_LEGACY_CHANNEL = 0x7fff;

/** True when a datagram starts like ChannelData: first byte 0x40–0x4f (RFC 8656 §12), for sockets with several protocols. */
export function isChannelData(data: Uint8Array): boolean {
  return data.length >= CHANNEL_HEADER_BYTES && (data[0]! & 0xf0) === 0x40;
}

/** The same on a socket with nothing but TURN, where channels may go up to {@link MAX_LEGACY_CHANNEL}. */
export function isAnyChannelData(data: Uint8Array): boolean {
  return data.length >= CHANNEL_HEADER_BYTES && (data[0]! & 0xc0) === 0x40;
}

/** The channel of ChannelData; only after {@link isChannelData}. */
export function channelOf(data: Uint8Array): number {
  return (data[0]! << 8) | data[1]!;
}

/** The data within ChannelData as a view, or undefined when the length field says more than there is. */
export function channelPayload(data: Uint8Array): Uint8Array | undefined {
  const end = CHANNEL_HEADER_BYTES + ((data[2]! << 8) | data[3]!);
  return end > data.length ? undefined : data.subarray(CHANNEL_HEADER_BYTES, end);
}

/** ChannelData of `payload`; over a stream it is padded to a multiple of four (RFC 8656 §12.5). */
export function encodeChannelData(channel: number, payload: Uint8Array, stream: boolean): Uint8Array {
  const length = CHANNEL_HEADER_BYTES + payload.length;
  const out = Buffer.allocUnsafe(stream ? (length + 3) & ~3 : length);
  out[0] = channel >>> 8;
  out[1] = channel;
  out[2] = payload.length >>> 8;
  out[3] = payload.length;
  out.set(payload, CHANNEL_HEADER_BYTES);
  if (out.length > length) out.fill(0, length);
  return out;
}
