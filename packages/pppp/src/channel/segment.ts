import { MAX_DRW_DATA_BYTES } from '../codec/header.ts';
import { DRW_HEADER_BYTES, writeDrwHeader } from '../codec/session-messages.ts';

/** One DRW packet on its way: from the write that began it until its acknowledgement. */
export class Segment {
  /** Header and data; as long as the data so far needs, or longer while small writes are being merged. */
  #datagram: Buffer;
  /** Data bytes. */
  length: number;
  /** How often it was sent. */
  sends = 0;
  /** Clock time of the first and of the last transmission. */
  firstSentAt = 0;
  sentAt = 0;
  /** Number of its last transmission in the order of all transmissions of the session. */
  order = 0;
  acknowledged = false;
  /** The list that it is in, of those in flight or of those to be repeated. */
  list: SegmentList | undefined;
  previous: Segment | undefined;
  following: Segment | undefined;

  constructor(data: Uint8Array) {
    this.length = data.length;
    this.#datagram = Buffer.allocUnsafe(DRW_HEADER_BYTES + data.length);
    this.#datagram.set(data, DRW_HEADER_BYTES);
  }

  /** Adds as much of `data` as fits; returns how many bytes. Only before the first transmission. */
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

  /** Fixes channel and index; the bytes never change afterwards (spec §7.3: never renumber). */
  seal(channel: number, index: number): void {
    const end = DRW_HEADER_BYTES + this.length;
    if (this.#datagram.length > end) this.#datagram = this.#datagram.subarray(0, end);
    writeDrwHeader(this.#datagram, channel, index, this.length);
  }

  get datagram(): Uint8Array {
    return this.#datagram;
  }
}

/** Segments in an order of their own, each in at most one list; all operations take constant time. */
export class SegmentList {
  first: Segment | undefined;
  #last: Segment | undefined;
  size = 0;

  /** Moves `segment` to the end of this list, out of the one that it was in. */
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
