import type { Random } from '@towpath/core';
import type { PpppSession } from '@towpath/pppp';
import type { FrameSource } from './transfers.ts';

/** Largest payload of one DRW packet. */
const PACKET_BYTES = 1024;

/** Bytes passed to the session at once: whole packets, few calls. */
const WRITE_BYTES: number = 16 * PACKET_BYTES;

/** Most queued transfers of a client on one channel. */
const MAX_WAITING_JOBS = 8;

/**
 * Sends frames on one channel as fast as the client accepts them. Frames come from iterators and are created only
 * when there is room for them. Sometimes the end of a frame is sent in one packet with the next one,
 * as it does on the real camera (docs/protocol/artemis.md, "Frame").
 */
export class ChannelWriter {
  readonly #session: PpppSession;
  readonly #channel: number;
  readonly #random: Random;
  readonly #mergeRatio: number;
  #jobs: FrameSource[] = [];
  /** The picture of the next frame is still being drawn. */
  #drawing: object | undefined;
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

  /** True while a transfer is running or queued. */
  get busy(): boolean {
    return this.#jobs.length > 0 || this.#frame !== undefined || this.#drawing !== undefined;
  }

  /** Queues a transfer. False when the queue is full. */
  enqueue(frames: FrameSource): boolean {
    if (this.#jobs.length >= MAX_WAITING_JOBS) return false;
    this.#jobs.push(frames);
    this.#pump();
    return true;
  }

  /** Drops everything that was not passed to the session yet, also in the middle of a frame. */
  clear(): void {
    this.#jobs = [];
    this.#drawing = undefined;
    this.#frame = undefined;
    this.#held = undefined;
  }

  /** Continues when the session has room again. */
  onDrain(): void {
    this.#blocked = false;
    this.#pump();
  }

  #pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    while (!this.#blocked && this.#drawing === undefined && this.#session.closed === undefined) {
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
      if (next.done) {
        this.#jobs.shift();
      } else if (next.value instanceof Uint8Array) {
        this.#frame = next.value;
        this.#at = 0;
        return true;
      } else {
        void this.#awaitFrame(next.value);
        return false;
      }
    }
    return false;
  }

  /** What is held back of the frame before is sent meanwhile. */
  async #awaitFrame(drawn: Promise<Uint8Array>): Promise<void> {
    const drawing = {};
    this.#drawing = drawing;
    let frame: Uint8Array | undefined;
    try {
      frame = await drawn;
    } catch {
      // The source is closed: the transfer is broken off, as with a camera that is switched off.
    }
    if (this.#drawing !== drawing) return;
    this.#drawing = undefined;
    if (frame === undefined) this.#jobs.shift();
    else {
      this.#frame = frame;
      this.#at = 0;
    }
    this.#pump();
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
