/** Packets kept to recognise a copy, by the low bits of their identification, which senders increment. */
const REMEMBERED_PACKETS = 4096;

/** A forwarding host records the copy it sends within this time of the one it received, in milliseconds. */
const MAX_COPY_DELAY_MS = 1000;

const ADDRESSES_END = 20;

/**
 * Recognises the second recording of a packet by a host that forwards it: the same IPv4 packet with a smaller TTL.
 * A retransmission has another identification, or the same TTL.
 */
export class ForwardedCopies {
  readonly #packets: (Uint8Array | undefined)[] = [];
  readonly #times: (number | undefined)[] = [];

  /** @param packet a whole IPv4 packet, header first @param timeMs on the recorder's clock */
  isCopy(packet: Uint8Array, timeMs: number | undefined): boolean {
    const identification = (packet[4]! << 8) | packet[5]!;
    // Identification 0 is what senders of unfragmentable packets may use for all of them.
    if (identification === 0) return false;
    const fragment = ((packet[6]! & 0x1f) << 8) | packet[7]!;
    const slot = (identification + fragment) % REMEMBERED_PACKETS;
    const other = this.#packets[slot];
    if (other !== undefined && other[8]! > packet[8]! && sameButTtl(other, packet)) {
      const at = this.#times[slot];
      if (timeMs === undefined || at === undefined || Math.abs(timeMs - at) <= MAX_COPY_DELAY_MS) return true;
    }
    this.#packets[slot] = packet;
    this.#times[slot] = timeMs;
    return false;
  }
}

/** Compares all but TTL and header checksum. */
function sameButTtl(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length || a[9] !== b[9]) return false;
  for (let at = 0; at < 8; at++) if (a[at] !== b[at]) return false;
  for (let at = 12; at < ADDRESSES_END; at++) if (a[at] !== b[at]) return false;
  return Buffer.compare(a.subarray(ADDRESSES_END), b.subarray(ADDRESSES_END)) === 0;
}
