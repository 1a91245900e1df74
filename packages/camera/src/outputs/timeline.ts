import type { AvFrame } from '../artemis/av.ts';

/** Time stamps that differ this much from the time of arrival, ms, belong to another stream of the camera. */
const JUMP_MS = 2_000;

/** Puts the frames of one or several streams of a camera into one time, which begins at 0 and never goes back. */
export class Timeline {
  /** What is subtracted from time stamps. */
  #originMs = 0;
  #last: { stampMs: number; receivedAtMs: number; atMs: number } | undefined;
  readonly #lastOf = { picture: -1, sound: -1 };

  place({ timestamp }: AvFrame, kind: 'picture' | 'sound', receivedAtMs: number): number {
    const stampMs = timestamp / 1_000;
    const last = this.#last;
    if (last === undefined) this.#originMs = stampMs;
    else {
      const elapsedMs = receivedAtMs - last.receivedAtMs;
      // After a reconnect the camera counts from 0 again.
      if (Math.abs(stampMs - last.stampMs - elapsedMs) > JUMP_MS) this.#originMs = stampMs - last.atMs - elapsedMs;
    }
    const atMs = Math.max(stampMs - this.#originMs, this.#lastOf[kind] + 1, 0);
    this.#lastOf[kind] = atMs;
    this.#last = { stampMs, receivedAtMs, atMs };
    return atMs;
  }
}
