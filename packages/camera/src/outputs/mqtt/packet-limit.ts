import type { Duplex } from 'node:stream';

/** What a broker may send. */
export interface PacketLimits {
  /** Of one packet: MQTT allows 256 MB, kept in memory until it is whole. */
  readonly maxBytes: number;
  /** Counts one packet that begins; false when there were too many. */
  allow(): boolean;
}

const PUBLISH = 3;

/**
 * Calls `onRefused` once, with the reason, when a packet begins that is over a limit, or a message of QoS 2: its
 * receiver keeps it until the sender releases it, and nothing is subscribed to with QoS 2.
 */
export function watchPackets(stream: Duplex, limits: PacketLimits, onRefused: (why: string) => void): void {
  /** Bytes of the packet that are still to come. */
  let left = 0;
  /** The type has come, and the length has not completely. */
  let inLength = false;
  let length = 0;
  let factor = 1;
  const refuse = (why: string) => {
    stream.off('data', take);
    onRefused(why);
  };
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
        if (byte >> 4 === PUBLISH && ((byte >> 1) & 3) === 2) return refuse('It sends messages of QoS 2.');
        if (!limits.allow()) return refuse('It sends too many packets.');
        inLength = true;
        length = 0;
        factor = 1;
        continue;
      }
      length += (byte & 0x7f) * factor;
      factor *= 128;
      if (length > limits.maxBytes)
        return refuse(`It sends packets of more than ${limits.maxBytes} bytes (${length}).`);
      if ((byte & 0x80) !== 0) continue;
      inLength = false;
      left = length;
    }
  };
  stream.on('data', take);
}
