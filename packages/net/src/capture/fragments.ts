/**
 * Datagrams that may be in pieces at a time. A recording has few; the limit bounds what a hostile one makes us hold.
 */
export const MAX_OPEN_DATAGRAMS = 64;

/** Longest payload of an IP packet. */
const MAX_DATAGRAM_BYTES = 65_535;

interface OpenDatagram {
  pieces: { at: number; bytes: Uint8Array }[];
  heldBytes: number;
  /** Known once the last piece came. */
  totalBytes: number | undefined;
}

/** Reassembles IP fragments (RFC 791, RFC 8200 §4.5); drops the oldest datagram when too many are incomplete. */
export class FragmentAssembler {
  readonly #open = new Map<string, OpenDatagram>();
  /** Datagrams given up because others came, or because their pieces cannot be right. */
  abandoned = 0;

  /** Datagrams of which something is still missing. */
  get openCount(): number {
    return this.#open.size;
  }

  /**
   * Takes one fragment; returns the whole payload when it was the last one missing.
   * @param key addresses, protocol and identification
   * @param at offset of the fragment in bytes
   */
  add(key: string, at: number, bytes: Uint8Array, more: boolean): Uint8Array | undefined {
    let datagram = this.#open.get(key);
    if (datagram === undefined) {
      if (this.#open.size >= MAX_OPEN_DATAGRAMS) this.#abandonOldest();
      datagram = { pieces: [], heldBytes: 0, totalBytes: undefined };
      this.#open.set(key, datagram);
    }
    if (datagram.pieces.some((piece) => piece.at === at)) return undefined;
    datagram.pieces.push({ at, bytes });
    datagram.heldBytes += bytes.length;
    if (!more) datagram.totalBytes = at + bytes.length;
    const total = datagram.totalBytes;
    if (at + bytes.length > MAX_DATAGRAM_BYTES || datagram.heldBytes > MAX_DATAGRAM_BYTES) {
      this.#open.delete(key);
      this.abandoned++;
      return undefined;
    }
    if (total === undefined || datagram.heldBytes < total) return undefined;
    this.#open.delete(key);
    const out = joined(datagram.pieces, total);
    if (out === undefined) this.abandoned++;
    return out;
  }

  #abandonOldest(): void {
    for (const key of this.#open.keys()) {
      this.#open.delete(key);
      this.abandoned++;
      return;
    }
  }
}

/** The pieces in order, if they leave no hole and do not overlap. */
function joined(pieces: { at: number; bytes: Uint8Array }[], total: number): Uint8Array | undefined {
  const out = new Uint8Array(total);
  let at = 0;
  for (const piece of pieces.sort((a, b) => a.at - b.at)) {
    if (piece.at !== at || at + piece.bytes.length > total) return undefined;
    out.set(piece.bytes, at);
    at += piece.bytes.length;
  }
  return at === total ? out : undefined;
}
