import { DRW_HEADER_BYTES, writeDrwAck } from '../codec/session-messages.ts';
import { ACK_BATCH } from './limits.ts';

/**
 * Collects the indices of one channel that are to be acknowledged, in order of arrival (docs/protocol/pppp.md,
 * "Acknowledgement").
 */
export class AckBatch {
  readonly #channel: number;
  #indices: number[] = [];

  constructor(channel: number) {
    this.#channel = channel;
  }

  get count(): number {
    return this.#indices.length;
  }

  /** Adds an index; true when the batch is full and must be taken. */
  add(index: number): boolean {
    return this.#indices.push(index) === ACK_BATCH;
  }

  /** The DRW_ACK datagram of what was collected; the batch is empty afterwards. */
  take(): Uint8Array {
    const indices = this.#indices;
    const datagram = Buffer.allocUnsafe(DRW_HEADER_BYTES + 2 * indices.length);
    writeDrwAck(datagram, this.#channel, indices, indices.length);
    this.#indices = [];
    return datagram;
  }
}
