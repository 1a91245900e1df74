import type { Clock, Random, Timer } from '@towpath/core';
import type { PpppSession } from '@towpath/pppp';
import { AudioType, encodeAvFrame, LIVE_STALE_BYTES, VideoType } from '../artemis/av.ts';
import { Channel, encodeFrame, MessageType } from '../artemis/frame.ts';
import type { EmulatedCamera } from './emulated-camera.ts';
import { FRAMES_PER_SECOND, LIVE_HEIGHT, LIVE_WIDTH, LiveScene } from './media/live-scene.ts';
import { AAC_FRAME_MS, SILENT_AAC_FRAME } from './media/silence.ts';

/** With this much unacknowledged data, about a second of video, frames are skipped until there is room. */
const MAX_QUEUED_BYTES: number = 64 * 1024;

/** A timer of the platform may fire this much early. */
const EARLY_MS = 0.5;

const FRAME_MS: number = 1000 / FRAMES_PER_SECOND;

/** Sends live frames on channel 1 from its start to `stop` (docs/protocol/artemis.md, "Audio and video"). */
export class LiveStream {
  readonly #session: PpppSession;
  readonly #camera: EmulatedCamera;
  readonly #clock: Clock;
  readonly #stale: Uint8Array;
  readonly #scene: LiveScene;
  readonly #startedAt: number;
  #timer: Timer;
  #seq = 0;
  #pictures = 0;
  #sounds = 0;

  constructor(session: PpppSession, camera: EmulatedCamera, clock: Clock, random: Random) {
    this.#session = session;
    this.#camera = camera;
    this.#clock = clock;
    this.#stale = random.bytes(LIVE_STALE_BYTES);
    this.#scene = new LiveScene(camera.seed, `${camera.name}  LIVE`, camera.clock.seconds);
    this.#startedAt = clock.now();
    this.#timer = clock.timer(0, () => this.#tick());
  }

  stop(): void {
    this.#timer.cancel();
  }

  #tick(): void {
    const elapsed = this.#clock.now() - this.#startedAt + EARLY_MS;
    // Frames that could not be sent in time are skipped: frames are numbered by the elapsed time.
    if (elapsed >= this.#pictures * FRAME_MS) {
      this.#pictures = Math.floor(elapsed / FRAME_MS) + 1;
      this.#sendPicture(elapsed);
    }
    if (elapsed >= this.#sounds * AAC_FRAME_MS) {
      this.#sounds = Math.floor(elapsed / AAC_FRAME_MS) + 1;
      if (this.#camera.audio) {
        this.#send({ video: EMPTY, audio: SILENT_AAC_FRAME, keyFrame: false, width: 0, height: 0 }, elapsed);
      }
    }
    const next = Math.min(this.#pictures * FRAME_MS, this.#sounds * AAC_FRAME_MS);
    this.#timer = this.#clock.timer(next - (this.#clock.now() - this.#startedAt), () => this.#tick());
  }

  #sendPicture(elapsed: number): void {
    if (this.#session.bufferedBytes(Channel.live) > MAX_QUEUED_BYTES) return;
    const { data, keyFrame } = this.#scene.next(
      this.#camera.clock.seconds,
      this.#camera.timeCode ? this.#clock.wallTime() : undefined,
    );
    this.#send({ video: data, audio: EMPTY, keyFrame, width: LIVE_WIDTH, height: LIVE_HEIGHT }, elapsed);
  }

  #send(
    frame: { video: Uint8Array; audio: Uint8Array; keyFrame: boolean; width: number; height: number },
    elapsedMs: number,
  ): void {
    this.#seq++;
    const header = {
      frameNumber: this.#seq,
      timestamp: Math.round(elapsedMs * 1000),
      audioType: frame.audio.length > 0 ? AudioType.aac : 0,
      videoType: VideoType.h264,
      mark: 0,
      sessionNo: 0,
    };
    const body = encodeAvFrame({ ...header, ...frame }, this.#stale);
    this.#session.write(Channel.live, encodeFrame(MessageType.liveAv, this.#seq, body));
  }
}

const EMPTY: Uint8Array = new Uint8Array(0);
