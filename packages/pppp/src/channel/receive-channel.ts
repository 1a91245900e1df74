import { indexDistance } from './index16.ts';
import { RECEIVE_WINDOW } from './limits.ts';
import { Ring } from './ring.ts';

/** Result of an arriving packet. All except `refused` are acknowledged. */
export type Arrival =
  /** the next one: the caller delivers it, then drains {@link ReceiveChannel.next} */
  | 'in-order'
  /** kept until its predecessors have arrived */
  | 'stored'
  /** a duplicate */
  | 'duplicate'
  /** outside the window or over the budget: the sender must retransmit it */
  | 'refused';

/**
 * The receiving end of a channel: orders packets and delivers their data
 * (docs/protocol/pppp.md, "Receiving").
 */
export class ReceiveChannel {
  readonly #budgetBytes: number;
  readonly #ahead: Ring<Uint8Array> = new Ring();
  /** Position of the next packet to deliver; its low 16 bits are the index on the wire. */
  #position: number;
  #stored = 0;
  #storedBytes = 0;
  /** While set, packets are kept instead of delivered. */
  paused: boolean;

  /** @param budgetBytes most bytes that wait for earlier packets or for the reader */
  constructor(budgetBytes: number, paused = false, firstPosition = 0) {
    this.#budgetBytes = budgetBytes;
    this.#position = firstPosition;
    this.paused = paused;
  }

  /** Bytes that wait for earlier packets or for the reader. */
  get storedBytes(): number {
    return this.#storedBytes;
  }

  /** True while packets wait for missing ones, or for the reader. */
  get waiting(): boolean {
    return this.#stored > 0;
  }

  /** True when the packet of an index near the next expected one has arrived. */
  has(index: number): boolean {
    const distance = indexDistance(index, this.#position);
    if (distance < 0) return true;
    return this.#stored > 0 && this.#ahead.get(this.#position + distance, this.#position) !== undefined;
  }

  accept(index: number, data: Uint8Array): Arrival {
    const distance = indexDistance(index, this.#position);
    if (distance < 0) return 'duplicate';
    if (distance === 0 && !this.paused && this.#stored === 0) {
      this.#position++;
      return 'in-order';
    }
    if (distance >= RECEIVE_WINDOW) return 'refused';
    const position = this.#position + distance;
    if (this.#stored > 0 && this.#ahead.get(position, this.#position) !== undefined) return 'duplicate';
    if (distance === 0 && !this.paused) {
      this.#position++;
      return 'in-order';
    }
    if (this.#storedBytes + data.length > this.#budgetBytes) return 'refused';
    this.#ahead.set(position, data, this.#position);
    this.#stored++;
    this.#storedBytes += data.length;
    return 'stored';
  }

  /** Takes the data of the next packet, `undefined` at a gap or while paused. */
  next(): Uint8Array | undefined {
    if (this.#stored === 0 || this.paused) return undefined;
    const data = this.#ahead.get(this.#position, this.#position);
    if (data === undefined) return undefined;
    this.#ahead.clear(this.#position);
    this.#position++;
    this.#stored--;
    this.#storedBytes -= data.length;
    if (this.#stored === 0) this.#ahead.release();
    return data;
  }
}
