import type { Random } from '@towpath/core';
import type { PpppSession } from '@towpath/pppp';

/** Largest payload of one DRW packet. */
const PACKET_BYTES = 1024;

/** How much is handed to the session at a time: whole packets, few calls. */
const WRITE_BYTES: number = 16 * PACKET_BYTES;

/** How many transfers a client may have waiting on one channel; a real camera's memory ends sooner. */
const MAX_WAITING_JOBS = 8;

/**
 * Sends frames on one channel at the pace at which the client takes them. Frames come from iterators and are made only when
 * there is room for them. Now and then the end of a frame waits for the next one and travels in the same packet, as it does
 * on the real camera (spec artemis §2).
 */
export class ChannelWriter {
  readonly #session: PpppSession;
  readonly #channel: number;
  readonly #random: Random;
  readonly #mergeRatio: number;
  #jobs: Iterator<Uint8Array>[] = [];
  #frame: Uint8Array | undefined;
  #at = 0;
  #held: Uint8Array | undefined;
  #blocked = false;
  #pumping = false;

  /** `mergeRatio` is the share of frame ends that wait for the next frame. */
  constructor(session: PpppSession, channel: number, random: Random, mergeRatio: number) {
    this.#session = session;
    this.#channel = channel;
    this.#random = random;
    this.#mergeRatio = mergeRatio;
  }

  /** True while a transfer is under way or waiting. */
  get busy(): boolean {
    return this.#jobs.length > 0 || this.#frame !== undefined;
  }

  /** Queues a transfer. False when too many wait already. */
  enqueue(frames: Iterator<Uint8Array>): boolean {
    if (this.#jobs.length >= MAX_WAITING_JOBS) return false;
    this.#jobs.push(frames);
    this.#pump();
    return true;
  }

  /** Drops everything that was not yet handed to the session, in the middle of a frame if need be. */
  clear(): void {
    this.#jobs = [];
    this.#frame = undefined;
    this.#held = undefined;
  }

  /** The session has room again. */
  onDrain(): void {
    this.#blocked = false;
    this.#pump();
  }

  #pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    while (!this.#blocked && this.#session.closed === undefined) {
      const piece = this.#nextPiece();
      if (piece === undefined) break;
      this.#blocked = true; // onDrain may come from within
      if (this.#session.write(this.#channel, piece)) this.#blocked = false;
    }
    this.#pumping = false;
  }

  #nextPiece(): Uint8Array | undefined {
    if (this.#frame === undefined && !this.#nextFrame()) return this.#take();
    const frame = this.#frame!;
    const held = this.#take();
    const room = WRITE_BYTES - (held?.length ?? 0);
    const piece = frame.subarray(this.#at, this.#at + room);
    this.#at += piece.length;
    const joined = held === undefined ? piece : join(held, piece);
    if (this.#at < frame.length) return joined;
    this.#frame = undefined;
    if (this.#random.next() >= this.#mergeRatio) return joined;
    const rest = joined.length % PACKET_BYTES;
    this.#held = joined.subarray(joined.length - rest);
    if (rest < joined.length) return joined.subarray(0, joined.length - rest);
    return this.#nextPiece();
  }

  #nextFrame(): boolean {
    for (let job = this.#jobs[0]; job !== undefined; job = this.#jobs[0]) {
      const next = job.next();
      if (!next.done) {
        this.#frame = next.value;
        this.#at = 0;
        return true;
      }
      this.#jobs.shift();
    }
    return false;
  }

  #take(): Uint8Array | undefined {
    const held = this.#held;
    this.#held = undefined;
    return held;
  }
}

function join(a: Uint8Array, b: Uint8Array): Uint8Array {
  const out = new Uint8Array(a.length + b.length);
  out.set(a);
  out.set(b, a.length);
  return out;
}
