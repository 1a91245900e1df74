import { MAX_DRW_DATA_BYTES } from '../codec/header.ts';
import { indexDistance } from './index16.ts';
import { Ring } from './ring.ts';
import { Segment, SegmentList } from './segment.ts';

/** Result of an acknowledged index. */
export type Acknowledged =
  /** in flight until now; {@link SendChannel.lastAcknowledged} tells of it */
  | 'new'
  /** acknowledged before */
  | 'repeated'
  /** never sent: the peer is faulty or hostile */
  | 'unknown';

/** Loss detection and retransmission. */
export interface Recovery {
  /** Packets sent later that must be acknowledged before one counts as lost; 0 disables this. */
  readonly newerAcks: number;
  /** Which packet's age counts: the one sent longest ago, or the one with the lowest index. */
  readonly timeoutOf: 'earliest-sent' | 'lowest-index';
}

/** Unnecessary retransmissions show reordering; the number of newer acknowledgements required grows up to this. */
const MAX_REORDERING = 64;

/**
 * The sending end of a channel: bytes in, numbered packets out, until each is acknowledged
 * (docs/protocol/pppp.md, "Data packets", "Acknowledgement", "Sending"). It owns no timer and no socket: the session
 * asks for the next packet and passes the time.
 */
export class SendChannel {
  readonly #channel: number;
  readonly #recovery: Recovery;
  readonly #segments: Ring<Segment> = new Ring();
  /** Sent, not acknowledged and not counted as lost, in order of their last transmission. */
  readonly #inFlight = new SegmentList();
  readonly #lost = new SegmentList();
  /** Positions: oldest unacknowledged ≤ next to be sent for the first time ≤ next to be numbered. */
  #oldest: number;
  #next: number;
  #end: number;
  readonly #first: number;
  #bufferedBytes = 0;
  #waitingBytes = 0;
  /** Order of the latest transmission known to have arrived. */
  #arrivedOrder = 0;
  #newerAcks: number;
  /**
   * The timer restarts with each timeout, so that a dead path gets a few packets per interval and not a whole window;
   * and with each acknowledgement (RFC 6298 §5.3), so that a growing queue does not count as loss.
   */
  #timedSince = Number.NEGATIVE_INFINITY;
  /** The segment of the last `new` outcome of {@link acknowledge}. */
  lastAcknowledged: Segment | undefined;

  constructor(channel: number, recovery: Recovery, firstPosition = 0) {
    this.#channel = channel;
    this.#recovery = recovery;
    this.#newerAcks = recovery.newerAcks;
    this.#first = firstPosition;
    this.#oldest = firstPosition;
    this.#next = firstPosition;
    this.#end = firstPosition;
  }

  /** Bytes not yet acknowledged. */
  get bufferedBytes(): number {
    return this.#bufferedBytes;
  }

  /** Bytes not yet sent. */
  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  get inFlight(): number {
    return this.#inFlight.size;
  }

  /** Packets that wait for retransmission. */
  get lost(): number {
    return this.#lost.size;
  }

  /** True when {@link take} returns a packet, with this many indices allowed in flight. */
  ready(window: number): boolean {
    return this.#lost.size > 0 || (this.#next < this.#end && this.#next - this.#oldest < window);
  }

  /** Copies `data` into packets; small writes that are not sent yet are merged. */
  enqueue(data: Uint8Array): void {
    let at = 0;
    this.#bufferedBytes += data.length;
    this.#waitingBytes += data.length;
    if (this.#end > this.#next) at = this.#segments.get(this.#end - 1, this.#oldest)!.append(data);
    while (at < data.length) {
      const piece = data.subarray(at, at + MAX_DRW_DATA_BYTES);
      this.#segments.set(this.#end, new Segment(piece), this.#oldest);
      this.#end++;
      at += piece.length;
    }
  }

  /** Returns the next packet to send: lost ones before new ones. Call only when {@link ready}. */
  take(now: number, order: number): Segment {
    let segment = this.#lost.first;
    if (segment === undefined) {
      segment = this.#segments.get(this.#next, this.#oldest)!;
      segment.seal(this.#channel, this.#next & 0xffff);
      segment.firstSentAt = now;
      this.#waitingBytes -= segment.length;
      this.#next++;
    }
    segment.sentAt = now;
    segment.order = order;
    segment.sends++;
    this.#inFlight.push(segment);
    return segment;
  }

  /**
   * Takes one acknowledged index.
   * @param minRttMs smallest possible round trip: an earlier acknowledgement belongs to an earlier copy
   * @param maxRttMs a later acknowledgement does not belong to the first copy
   */
  acknowledge(index: number, now: number, minRttMs: number, maxRttMs: number): Acknowledged {
    const position = this.#oldest + indexDistance(index, this.#oldest);
    if (position >= this.#next || position < this.#first) return 'unknown';
    if (position < this.#oldest) return 'repeated';
    const segment = this.#segments.get(position, this.#oldest)!;
    if (segment.acknowledged) return 'repeated';
    segment.acknowledge();
    segment.list?.remove(segment);
    this.#bufferedBytes -= segment.length;
    this.lastAcknowledged = segment;
    if (this.#recovery.timeoutOf === 'earliest-sent') this.#timedSince = now;
    const early = segment.sends > 1 && now - segment.sentAt < minRttMs;
    if (early && this.#newerAcks > 0) this.#newerAcks = Math.min(MAX_REORDERING, this.#newerAcks + 1);
    const known = segment.sends === 1 || (!early && now - segment.firstSentAt >= maxRttMs);
    if (known && segment.order > this.#arrivedOrder) this.#arrivedOrder = segment.order;
    if (position === this.#oldest) this.#forgetAcknowledged();
    return 'new';
  }

  /** Marks packets as lost that were overtaken by enough newer ones. @returns their number */
  findLost(): number {
    if (this.#newerAcks === 0) return 0;
    let found = 0;
    for (;;) {
      const earliest = this.#inFlight.first;
      if (earliest === undefined || earliest.order + this.#newerAcks > this.#arrivedOrder) return found;
      this.#lost.push(earliest);
      found++;
    }
  }

  /** Time when the oldest packet will be `timeoutMs` old; Infinity when nothing is in flight. */
  dueAt(timeoutMs: number): number {
    const aging = this.#aging;
    return aging === undefined ? Number.POSITIVE_INFINITY : Math.max(aging.sentAt, this.#timedSince) + timeoutMs;
  }

  /** Marks packets older than `timeoutMs` for retransmission, at most `limit`. @returns their number */
  timeOut(now: number, timeoutMs: number, limit: number): number {
    let found = 0;
    if (this.dueAt(timeoutMs) > now) return found;
    this.#timedSince = now;
    while (found < limit) {
      const aging = this.#aging;
      if (aging === undefined || aging.sentAt + timeoutMs > now) break;
      this.#lost.push(aging);
      found++;
    }
    return found;
  }

  get #aging(): Segment | undefined {
    if (this.#recovery.timeoutOf === 'earliest-sent') return this.#inFlight.first;
    const oldest = this.#segments.get(this.#oldest, this.#oldest);
    return oldest?.list === this.#inFlight ? oldest : undefined;
  }

  #forgetAcknowledged(): void {
    while (this.#oldest < this.#next && this.#segments.get(this.#oldest, this.#oldest)!.acknowledged) {
      this.#segments.clear(this.#oldest);
      this.#oldest++;
    }
    if (this.#oldest === this.#end) this.#segments.release();
  }
}
