import type { Duplex } from 'node:stream';

/** Calls `onTooLarge` once when a packet begins that is longer than `maxBytes`: MQTT allows 256 MB, kept in memory until it is whole. */
export function watchPacketSize(stream: Duplex, maxBytes: number, onTooLarge: (bytes: number) => void): void {
  /** Bytes of the packet that are still to come. */
  let left = 0;
  /** The type has come, and the length has not completely. */
  let inLength = false;
  let length = 0;
  let factor = 1;
  const take = (chunk: Uint8Array) => {
    for (let at = 0; at < chunk.length; ) {
      if (left > 0) {
        const skipped = Math.min(left, chunk.length - at);
        left -= skipped;
        at += skipped;
        continue;
      }
      const byte = chunk[at++]!;
      if (!inLength) {
        inLength = true;
        length = 0;
        factor = 1;
        continue;
      }
      length += (byte & 0x7f) * factor;
      factor *= 128;
      if (length > maxBytes) {
        stream.off('data', take);
        onTooLarge(length);
        return;
      }
      if ((byte & 0x80) !== 0) continue;
      inLength = false;
      left = length;
    }
  };
  stream.on('data', take);
}
