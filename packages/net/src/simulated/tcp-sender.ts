/** A part of the stream under way. */
interface Flight {
  readonly sequence: number;
  readonly payload: Uint8Array;
  readonly end: boolean;
  sentAt: number;
  resent: boolean;
}

/** Payload of one segment: fits IPv6's minimum MTU of 1,280 with IP and TCP headers, so no MTU setting breaks it. */
const SEGMENT_BYTES = 1_220;
/** RFC 6928. */
const FIRST_WINDOW_BYTES = 10 * SEGMENT_BYTES;
/** What the receiver takes; simulated programs read at once. */
const RECEIVE_WINDOW_BYTES = 1024 * 1024;
/** RFC 6298 with Linux's lower bound. */
const FIRST_TIMEOUT_MS = 1_000;
const MIN_TIMEOUT_MS = 200;
const MAX_TIMEOUT_MS = 60_000;
/** A round trip this much over the least one ends slow start; the fixed part keeps jitter from doing so. */
const QUEUE_GROWTH = 1.25;
const QUEUE_GROWTH_MS = 4;
/** RFC 5681 §3.2. */
const DUPLICATES_THAT_MEAN_LOSS = 3;

/**
 * The sending half of a simulated TCP connection: queue, window, retransmission (RFC 5681, 6298, 6582 in
 * short). `transmit` puts a segment on the wire.
 */
export class TcpSender {
  readonly #transmit: (sequence: number, payload: Uint8Array, end: boolean) => void;
  readonly #queue: Uint8Array[] = [];
  #queuedBytes = 0;
  readonly #flights: Flight[] = [];
  #next = 0;
  #acknowledged = 0;
  #ended = false;
  #endSent = false;
  #window = FIRST_WINDOW_BYTES;
  #slowStartUntil = Number.POSITIVE_INFINITY;
  #duplicates = 0;
  /** While lower than this is unacknowledged, each acknowledgement uncovers the next hole. */
  #recoverUntil = 0;
  #leastMs: number = Number.POSITIVE_INFINITY;
  #smoothedMs: number | undefined;
  #variationMs = 0;
  #backoff = 1;

  constructor(transmit: (sequence: number, payload: Uint8Array, end: boolean) => void) {
    this.#transmit = transmit;
  }

  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  /** Sequence number of what comes next. */
  get next(): number {
    return this.#next;
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** The end of the stream was sent and everything is acknowledged. */
  get finished(): boolean {
    return this.#endSent && this.#flights.length === 0;
  }

  get endSent(): boolean {
    return this.#endSent;
  }

  get waiting(): boolean {
    return this.#flights.length > 0;
  }

  /** How long to wait for an acknowledgement before {@link timedOut}. */
  get timeoutMs(): number {
    const base = this.#smoothedMs === undefined ? FIRST_TIMEOUT_MS : this.#smoothedMs + 4 * this.#variationMs;
    return Math.min(MAX_TIMEOUT_MS, Math.max(MIN_TIMEOUT_MS, base) * this.#backoff);
  }

  queue(data: Uint8Array): void {
    if (data.length === 0) return;
    this.#queue.push(new Uint8Array(data));
    this.#queuedBytes += data.length;
  }

  end(): void {
    this.#ended = true;
  }

  /** Sends what the window allows. */
  flush(now: number): void {
    while (this.#queuedBytes > 0 && this.#next - this.#acknowledged < Math.min(this.#window, RECEIVE_WINDOW_BYTES)) {
      this.#launch(this.#take(), now);
    }
    if (this.#ended && !this.#endSent && this.#queuedBytes === 0) this.#launch(new Uint8Array(0), now);
  }

  /** @returns true when something new was acknowledged. */
  acknowledge(upTo: number, now: number, pure: boolean): boolean {
    if (upTo <= this.#acknowledged) {
      if (pure && upTo === this.#acknowledged && this.waiting) this.#duplicate(now);
      return false;
    }
    this.#acknowledged = upTo;
    this.#duplicates = 0;
    this.#backoff = 1;
    while (this.#flights.length > 0 && this.#flights[0]!.sequence < upTo) this.#landed(this.#flights.shift()!, now);
    if (upTo < this.#recoverUntil) this.#resendFirst(now);
    return true;
  }

  /** Nothing was acknowledged for {@link timeoutMs}: starts over from the first hole. */
  timedOut(now: number): void {
    this.#backoff *= 2;
    this.#slowDown();
    this.#window = SEGMENT_BYTES;
    this.#recoverUntil = this.#next;
    this.#resendFirst(now);
  }

  #take(): Uint8Array {
    const head = this.#queue[0]!;
    const segment = head.subarray(0, SEGMENT_BYTES);
    if (segment.length === head.length) this.#queue.shift();
    else this.#queue[0] = head.subarray(SEGMENT_BYTES);
    this.#queuedBytes -= segment.length;
    return segment;
  }

  #launch(payload: Uint8Array, now: number): void {
    const end = this.#ended && this.#queuedBytes === 0;
    const flight = { sequence: this.#next, payload, end, sentAt: now, resent: false };
    this.#flights.push(flight);
    this.#next += payload.length + (end ? 1 : 0);
    this.#endSent ||= end;
    this.#transmit(flight.sequence, payload, end);
  }

  #landed(flight: Flight, now: number): void {
    const bytes = flight.payload.length;
    this.#window += this.#window < this.#slowStartUntil ? bytes : (SEGMENT_BYTES * bytes) / this.#window;
    // Karn: what was sent twice says nothing about the round trip.
    if (flight.resent) return;
    const sampleMs = now - flight.sentAt;
    this.#leastMs = Math.min(this.#leastMs, sampleMs);
    // HyStart (RFC 9406): a growing round trip means a filling queue, so slow start ends before it overflows.
    if (this.#window < this.#slowStartUntil && sampleMs > QUEUE_GROWTH * this.#leastMs + QUEUE_GROWTH_MS) {
      this.#slowStartUntil = this.#window;
    }
    if (this.#smoothedMs === undefined) {
      this.#smoothedMs = sampleMs;
      this.#variationMs = sampleMs / 2;
      return;
    }
    this.#variationMs += (Math.abs(sampleMs - this.#smoothedMs) - this.#variationMs) / 4;
    this.#smoothedMs += (sampleMs - this.#smoothedMs) / 8;
  }

  #duplicate(now: number): void {
    this.#duplicates++;
    if (this.#duplicates !== DUPLICATES_THAT_MEAN_LOSS || this.#acknowledged < this.#recoverUntil) return;
    this.#slowDown();
    this.#window = this.#slowStartUntil;
    this.#recoverUntil = this.#next;
    this.#resendFirst(now);
  }

  #slowDown(): void {
    this.#slowStartUntil = Math.max((this.#next - this.#acknowledged) / 2, 2 * SEGMENT_BYTES);
  }

  #resendFirst(now: number): void {
    const first = this.#flights[0];
    if (!first) return;
    first.resent = true;
    first.sentAt = now;
    this.#transmit(first.sequence, first.payload, first.end);
  }
}
