import { MAX_DRW_DATA_BYTES } from '../codec/header.ts';
import { indexDistance } from './index16.ts';
import { Ring } from './ring.ts';
import { Segment, SegmentList } from './segment.ts';

/** What an acknowledged index turned out to be. */
export type Acknowledged =
  /** in flight until now; {@link SendChannel.lastAcknowledged} tells of it */
  | 'new'
  /** acknowledged before */
  | 'repeated'
  /** never sent: the peer is confused or hostile */
  | 'unknown';

/** How lost packets are found and repeated. */
export interface Recovery {
  /** Packets sent later that must be acknowledged before one counts as lost; 0 turns this off. */
  readonly newerAcks: number;
  /** Which packet's age counts: the one that was sent longest ago, or always the one with the lowest index. */
  readonly timeoutOf: 'earliest-sent' | 'lowest-index';
}

/** Spurious repeats show a path that reorders; more newer acknowledgements than this are never asked for. */
const MAX_REORDERING = 64;

/**
 * One direction of a channel at its sending end: bytes in, numbered packets out, until each is acknowledged
 * (spec §7.1–7.3). It owns no timer and no socket: the session asks for the next packet and tells the time.
 */
export class SendChannel {
  readonly #channel: number;
  readonly #recovery: Recovery;
  readonly #segments: Ring<Segment> = new Ring();
  /** Sent and neither acknowledged nor taken for lost, in order of their last transmission. */
  readonly #inFlight = new SegmentList();
  readonly #lost = new SegmentList();
  /** Positions: oldest unacknowledged ≤ next to be sent for the first time ≤ next to be numbered. */
  #oldest: number;
  #next: number;
  #end: number;
  readonly #first: number;
  #bufferedBytes = 0;
  #waitingBytes = 0;
  /** Order of the latest transmission that is known to have arrived. */
  #arrivedOrder = 0;
  #newerAcks: number;
  /**
   * The timer starts anew with each time-out, so that a dead path gets a few packets per interval and not a window; and
   * with each acknowledgement (RFC 6298 §5.3), so that a growing queue is not taken for loss.
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

  /** Packets that wait to be repeated. */
  get lost(): number {
    return this.#lost.size;
  }

  /** True when {@link take} has something, given how many indices may be under way at once. */
  ready(window: number): boolean {
    return this.#lost.size > 0 || (this.#next < this.#end && this.#next - this.#oldest < window);
  }

  /** Copies `data` into packets; small writes that are still waiting merge. */
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

  /** The packet to send now: a lost one before a new one. Call only when {@link ready}. */
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
   * @param minRttMs no acknowledgement comes back sooner: one that does is of an earlier copy
   * @param maxRttMs hardly any comes back later: one that does is not of the first copy
   */
  acknowledge(index: number, now: number, minRttMs: number, maxRttMs: number): Acknowledged {
    const position = this.#oldest + indexDistance(index, this.#oldest);
    if (position >= this.#next || position < this.#first) return 'unknown';
    if (position < this.#oldest) return 'repeated';
    const segment = this.#segments.get(position, this.#oldest)!;
    if (segment.acknowledged) return 'repeated';
    segment.acknowledged = true;
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

  /** Moves packets that were overtaken by enough newer ones to those that are repeated; returns how many. */
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

  /** When the packet whose age counts will be `timeoutMs` old; Infinity when nothing is in flight. */
  dueAt(timeoutMs: number): number {
    const aging = this.#aging;
    return aging === undefined ? Number.POSITIVE_INFINITY : Math.max(aging.sentAt, this.#timedSince) + timeoutMs;
  }

  /** Has packets repeated that are older than `timeoutMs`, at most `limit`; returns how many. */
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
