import type { Clock, Random, Timer } from '@towpath/core';
import type { Endpoint } from '@towpath/net';
import type { LinkFaults } from './link-faults.ts';

/** Delay of a reordered datagram and of a duplicate, ms. */
const REORDER_MS: readonly [number, number] = [4, 25];
const DUPLICATE_MS: readonly [number, number] = [0, 6];

/** Size of the queue of a slow link; further datagrams are dropped, as in an access point. */
const MAX_QUEUE_MS = 250;

interface Waiting {
  readonly at: number;
  readonly data: Uint8Array;
  readonly peer: Endpoint;
}

/** Loses, delays, duplicates, reorders and slows down the datagrams of one direction. */
export class Impairment {
  readonly #faults: LinkFaults;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #deliver: (data: Uint8Array, peer: Endpoint) => void;
  readonly #stragglers: Set<Timer> = new Set();
  #queue: Waiting[] = [];
  #head = 0;
  #timer: Timer | undefined;
  #lineFreeAt = 0;
  #lastAt = 0;

  constructor(
    { clock, random }: { clock: Clock; random: Random },
    faults: LinkFaults,
    deliver: (data: Uint8Array, peer: Endpoint) => void,
  ) {
    this.#faults = faults;
    this.#clock = clock;
    this.#random = random;
    this.#deliver = deliver;
  }

  /** Takes one datagram. Delivered at once without faults. */
  pass(data: Uint8Array, peer: Endpoint): void {
    const { lossRatio, duplicateRatio, reorderRatio, delayMs, jitterMs, bytesPerSecond, pauseEveryMs } = this.#faults;
    if (lossRatio > 0 && this.#random.next() < lossRatio) return;
    let delay = delayMs;
    if (jitterMs > 0) delay += jitterMs * this.#random.next();
    if (bytesPerSecond > 0) {
      const queued = this.#onTheLine(data.length, bytesPerSecond);
      if (queued === undefined) return;
      delay += queued;
    }
    if (pauseEveryMs > 0) delay += Math.max(0, this.#faults.pauseMs - (this.#clock.now() % pauseEveryMs));
    if (reorderRatio > 0 && this.#random.next() < reorderRatio) {
      this.#straggle(delay + this.#random.integer(...REORDER_MS), data, peer);
    } else if (delay > 0 || this.#head < this.#queue.length) this.#enqueue(delay, data, peer);
    else this.#deliver(data, peer);
    if (duplicateRatio > 0 && this.#random.next() < duplicateRatio) {
      this.#straggle(delay + this.#random.integer(...DUPLICATE_MS), data.slice(), peer);
    }
  }

  /** Drops every delayed datagram. */
  clear(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    for (const timer of this.#stragglers) timer.cancel();
    this.#stragglers.clear();
    this.#queue = [];
    this.#head = 0;
  }

  /** Returns the time until the last bit of a datagram is sent, ms; undefined when the queue is full. */
  #onTheLine(lengthBytes: number, bytesPerSecond: number): number | undefined {
    const now = this.#clock.now();
    const leavesAt = Math.max(now, this.#lineFreeAt) + (lengthBytes / bytesPerSecond) * 1000;
    if (this.#lineFreeAt - now > MAX_QUEUE_MS) return undefined;
    this.#lineFreeAt = leavesAt;
    return leavesAt - now;
  }

  #straggle(delay: number, data: Uint8Array, peer: Endpoint): void {
    const timer = this.#clock.timer(delay, () => {
      this.#stragglers.delete(timer);
      this.#deliver(data, peer);
    });
    this.#stragglers.add(timer);
  }

  #enqueue(delay: number, data: Uint8Array, peer: Endpoint): void {
    this.#lastAt = Math.max(this.#lastAt, this.#clock.now() + delay);
    this.#queue.push({ at: this.#lastAt, data, peer });
    if (this.#timer === undefined) this.#arm();
  }

  #arm(): void {
    const next = this.#queue[this.#head];
    if (next === undefined) return;
    this.#timer = this.#clock.timer(next.at - this.#clock.now(), () => this.#flush());
  }

  #flush(): void {
    this.#timer = undefined;
    const now = this.#clock.now();
    for (let next = this.#queue[this.#head]; next !== undefined && next.at <= now; next = this.#queue[this.#head]) {
      this.#head++;
      this.#deliver(next.data, next.peer);
    }
    if (this.#head === this.#queue.length || this.#head > 1024) {
      this.#queue = this.#queue.slice(this.#head);
      this.#head = 0;
    }
    if (this.#timer === undefined) this.#arm();
  }
}
