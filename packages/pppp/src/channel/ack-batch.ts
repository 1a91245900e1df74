import { DRW_HEADER_BYTES, writeDrwAck } from '../codec/session-messages.ts';
import { ACK_BATCH } from './limits.ts';

/**
 * Collects the indices of one channel that are to be acknowledged, in order of arrival (docs/protocol/pppp.md,
 * "Acknowledgement").
 */
export class AckBatch {
  readonly #channel: number;
  readonly #indices: Uint16Array = new Uint16Array(ACK_BATCH);
  #count = 0;

  constructor(channel: number) {
    this.#channel = channel;
  }

  get count(): number {
    return this.#count;
  }

  /** Adds an index; true when the batch is full and must be taken. */
  add(index: number): boolean {
    this.#indices[this.#count++] = index;
    return this.#count === ACK_BATCH;
  }

  /** The DRW_ACK datagram of what was collected; the batch is empty afterwards. */
  take(): Uint8Array {
    const datagram = Buffer.allocUnsafe(DRW_HEADER_BYTES + 2 * this.#count);
    writeDrwAck(datagram, this.#channel, this.#indices, this.#count);
    this.#count = 0;
    return datagram;
  }
}
