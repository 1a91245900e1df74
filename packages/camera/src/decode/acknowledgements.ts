import type { CaptureDirection } from '@towpath/net/capture';
import type { DrwAckCounts, MalformedCount } from './decoded-message.ts';

const INDICES = 65_536;

/** Most distinct malformed packets that are counted; a broken client repeats a few. */
const MAX_DISTINCT_MALFORMED = 4096;

/** The indices that one end acknowledged on one channel of one connection. */
export class AcknowledgedIndices {
  readonly connection: number;
  readonly direction: CaptureDirection;
  readonly channel: number;
  readonly #bits = new Uint8Array(INDICES / 8);
  #unique = 0;
  #min = INDICES;
  #max = -1;

  constructor(connection: number, direction: CaptureDirection, channel: number) {
    this.connection = connection;
    this.direction = direction;
    this.channel = channel;
  }

  add(index: number): void {
    const bit = 1 << (index & 7);
    const byte = this.#bits[index >>> 3]!;
    if ((byte & bit) !== 0) return;
    this.#bits[index >>> 3] = byte | bit;
    this.#unique++;
    if (index < this.#min) this.#min = index;
    if (index > this.#max) this.#max = index;
  }

  /** Undefined when nothing was acknowledged. */
  counts(): DrwAckCounts | undefined {
    return this.#unique === 0 ? undefined : { unique: this.#unique, min: this.#min, max: this.#max };
  }
}

/** Packets whose sub-header contradicts their length, distinguished by their bytes. */
export class MalformedPackets {
  readonly #seen = { tx: new Set<string>(), rx: new Set<string>() };

  add(direction: CaptureDirection, packet: Uint8Array): void {
    const seen = this.#seen[direction];
    if (seen.size < MAX_DISTINCT_MALFORMED) seen.add(Buffer.from(packet).toString('latin1'));
  }

  /** Adds `tx/malformed` and `rx/malformed` if there are any. */
  addTo(counts: Record<string, MalformedCount | object>): void {
    for (const direction of ['rx', 'tx'] as const) {
      const distinct = this.#seen[direction].size;
      if (distinct > 0) counts[`${direction}/malformed`] = { distinct };
    }
  }
}
