import { MAX_DRW_DATA_BYTES } from '../codec/header.ts';
import { DRW_HEADER_BYTES, writeDrwHeader } from '../codec/session-messages.ts';

const NO_BYTES = Buffer.alloc(0);

/** One DRW packet, from the write that began it until its acknowledgement. */
export class Segment {
  /** Header and data; longer than needed while small writes are merged. */
  #datagram: Buffer;
  /** Data bytes. */
  length: number;
  /** Number of transmissions. */
  sends = 0;
  /** Clock time of the first and of the last transmission. */
  firstSentAt = 0;
  sentAt = 0;
  /** Number of its last transmission in the order of all transmissions of the session. */
  order = 0;
  acknowledged = false;
  /** Its list: in flight, or waiting for retransmission. */
  list: SegmentList | undefined;
  previous: Segment | undefined;
  following: Segment | undefined;

  constructor(data: Uint8Array) {
    this.length = data.length;
    this.#datagram = Buffer.allocUnsafe(DRW_HEADER_BYTES + data.length);
    this.#datagram.set(data, DRW_HEADER_BYTES);
  }

  /** Appends as much of `data` as fits. @returns the number of bytes. Only before the first transmission */
  append(data: Uint8Array): number {
    const taken = Math.min(data.length, MAX_DRW_DATA_BYTES - this.length);
    if (taken === 0) return 0;
    if (this.#datagram.length < DRW_HEADER_BYTES + this.length + taken) {
      const larger = Buffer.allocUnsafe(DRW_HEADER_BYTES + MAX_DRW_DATA_BYTES);
      larger.set(this.#datagram);
      this.#datagram = larger;
    }
    this.#datagram.set(taken === data.length ? data : data.subarray(0, taken), DRW_HEADER_BYTES + this.length);
    this.length += taken;
    return taken;
  }

  /** Fixes channel and index; the bytes do not change afterwards (docs/protocol/pppp.md, "Data packets"). */
  seal(channel: number, index: number): void {
    const end = DRW_HEADER_BYTES + this.length;
    if (this.#datagram.length > end) this.#datagram = this.#datagram.subarray(0, end);
    writeDrwHeader(this.#datagram, channel, index, this.length);
  }

  /** It has arrived: its bytes are not needed any more. They may be part of a larger block of memory. */
  acknowledge(): void {
    this.acknowledged = true;
    this.#datagram = NO_BYTES;
  }

  get datagram(): Uint8Array {
    return this.#datagram;
  }
}

/** Ordered segments, each in at most one list; all operations take constant time. */
export class SegmentList {
  first: Segment | undefined;
  #last: Segment | undefined;
  size = 0;

  /** Moves `segment` from its list to the end of this one. */
  push(segment: Segment): void {
    segment.list?.remove(segment);
    segment.list = this;
    segment.previous = this.#last;
    if (this.#last === undefined) this.first = segment;
    else this.#last.following = segment;
    this.#last = segment;
    this.size++;
  }

  remove(segment: Segment): void {
    if (segment.previous === undefined) this.first = segment.following;
    else segment.previous.following = segment.following;
    if (segment.following === undefined) this.#last = segment.previous;
    else segment.following.previous = segment.previous;
    segment.previous = undefined;
    segment.following = undefined;
    segment.list = undefined;
    this.size--;
  }
}
