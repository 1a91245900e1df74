import { type Clock, deadlineInterval, errorMessage, type Log } from '@towpath/core';
import { AudioType, type AvFrame } from '../../artemis/av.ts';
import type { LiveSource } from '../live-source.ts';
import { Timeline } from '../timeline.ts';
import type { Track } from './rtsp-track.ts';

/** Distance of sender reports, ms (RFC 3550 §6.2). */
const REPORT_MS = 5_000;

/** Reports keep one relation of time stamps and wall time until it is wrong by this much, ms: players jump at each change. */
const DRIFT_MS = 250;

const PICTURES = 0;
const SOUND = 1;

/** Sends a live stream to the tracks of one viewer, from the next key frame on, until it is stopped. */
export class RtspPlayer {
  readonly #clock: Clock;
  readonly #tracks: ReadonlyMap<number, Track>;
  readonly #stopping = new AbortController();
  readonly #running: Promise<void>;
  readonly #timeline = new Timeline();
  /** `Clock.now` at the start of the stream's time; undefined before the first frame. */
  #startMs: number | undefined;
  #awaitingKey = true;

  /** @param onEnd called when the camera's stream ends by itself */
  constructor(
    { source, clock, log }: { source: LiveSource; clock: Clock; log: Log },
    tracks: ReadonlyMap<number, Track>,
    onEnd: (reason: string) => void,
  ) {
    this.#clock = clock;
    this.#tracks = tracks;
    const { signal } = this.#stopping;
    deadlineInterval({ clock, intervalMs: REPORT_MS, signal, onTick: () => this.#report() });
    this.#running = this.#run(source.live({ signal })).catch((error: unknown) => {
      if (signal.aborted) return;
      log.info(`The live stream ended: ${errorMessage(error)}`);
      onEnd('the live stream ended');
    });
  }

  /** Resolves when nothing is sent any more. Idempotent. */
  async stop(): Promise<void> {
    this.#stopping.abort(new Error('The viewer has stopped.'));
    await this.#running;
  }

  async #run(frames: AsyncIterable<AvFrame>): Promise<void> {
    for await (const frame of frames) {
      const isPicture = frame.video.length > 0;
      const nowMs = this.#clock.now();
      const atMs = this.#timeline.place(frame, isPicture ? 'picture' : 'sound', nowMs);
      // Players put pictures and sound together by the first reports.
      if (this.#startMs === undefined || Math.abs(nowMs - atMs - this.#startMs) > DRIFT_MS) {
        this.#startMs = nowMs - atMs;
        this.#report();
      }
      if (isPicture) this.#sendPicture(frame, atMs);
      else if (frame.audioType === AudioType.aac) this.#sendSound(frame, atMs);
    }
  }

  #sendPicture(frame: AvFrame, atMs: number): void {
    const track = this.#tracks.get(PICTURES);
    if (track === undefined) return;
    if (frame.keyFrame) this.#awaitingKey = false;
    // A viewer that is too slow gets no further pictures before the next key frame.
    if (!track.ready) this.#awaitingKey = true;
    if (this.#awaitingKey) return;
    for (const packet of track.rtp.h264(frame.video, atMs)) track.send(packet);
  }

  #sendSound(frame: AvFrame, atMs: number): void {
    const track = this.#tracks.get(SOUND);
    if (track?.ready) for (const packet of track.rtp.aac(frame.audio, atMs)) track.send(packet);
  }

  #report(): void {
    if (this.#startMs === undefined) return;
    const atMs = this.#clock.now() - this.#startMs;
    for (const track of this.#tracks.values()) track.report(track.rtp.report(this.#clock.wallTime(), atMs));
  }
}
