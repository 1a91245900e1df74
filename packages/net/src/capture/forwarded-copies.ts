/** Packets remembered to recognise a copy. It follows its original within a few packets. */
const REMEMBERED_PACKETS = 64;

/** A forwarding host records the copy it sends within this time of the one it received, in milliseconds. */
const MAX_COPY_DELAY_MS = 1000;

const ADDRESSES_END = 20;

/**
 * Recognises the second recording of a packet by a host that forwards it: the same IPv4 packet with a smaller TTL.
 * A retransmission has another identification, or the same TTL.
 */
export class ForwardedCopies {
  readonly #seen: { packet: Uint8Array; timeMs: number | undefined }[] = [];
  #next = 0;

  /** @param packet a whole IPv4 packet, header first @param fragmentAt offset of the fragment in bytes */
  isCopy(packet: Uint8Array, fragmentAt: number, timeMs: number | undefined): boolean {
    const ttl = packet[8]!;
    // Identification 0 is what senders of unfragmentable packets may use for all of them.
    if (fragmentAt === 0 && packet[4] === 0 && packet[5] === 0) return false;
    for (const { packet: other, timeMs: at } of this.#seen) {
      if (other[8]! <= ttl || other.length !== packet.length || !sameButTtl(other, packet)) continue;
      if (timeMs === undefined || at === undefined || Math.abs(timeMs - at) <= MAX_COPY_DELAY_MS) return true;
    }
    this.#seen[this.#next] = { packet, timeMs };
    this.#next = (this.#next + 1) % REMEMBERED_PACKETS;
    return false;
  }
}

/** Compares all but TTL and header checksum. */
function sameButTtl(a: Uint8Array, b: Uint8Array): boolean {
  for (let at = 0; at < 8; at++) if (a[at] !== b[at]) return false;
  if (a[9] !== b[9]) return false;
  for (let at = 12; at < ADDRESSES_END; at++) if (a[at] !== b[at]) return false;
  return Buffer.compare(a.subarray(ADDRESSES_END), b.subarray(ADDRESSES_END)) === 0;
}
