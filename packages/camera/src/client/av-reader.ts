import { type AvFrame, decodeAvFrame, PlaybackMark } from '../artemis/av.ts';
import { Channel, type Frame } from '../artemis/frame.ts';
import type { ArtemisSession } from './artemis-session.ts';
import { Bell } from './bell.ts';

/** What was lost of a stream and why. */
export interface AvCounters {
  /** Frames whose end check failed, or that could not be read. */
  damaged: number;
  /** Frames left out while waiting for a key frame. */
  skipped: number;
  /** Frames thrown away because the reader was slower than the camera. */
  overrun: number;
}

export interface AvReaderOptions {
  kind: 'live' | 'playback';
  /** Frames that wait for their reader. Beyond it live frames are thrown away up to the next key frame. */
  maxQueuedFrames: number;
  /** Playback: only frames of this session number. */
  sessionNo?: number;
  /** Without any frame for this long, ms, {@link onQuiet} is called, again and again. */
  quietMs: number;
  onQuiet(): void;
}

/**
 * Audio and video frames of one channel, deciphered and checked. Video begins with a key frame, and begins with one again
 * after every frame that was lost. spec/artemis.md §9.
 */
export class AvReader implements Disposable {
  readonly counters: AvCounters = { damaged: 0, skipped: 0, overrun: 0 };
  readonly #session: ArtemisSession;
  readonly #options: AvReaderOptions;
  readonly #queue: AvFrame[] = [];
  readonly #bell: Bell;
  readonly #channel: number;
  readonly #stopReading: () => void;
  #awaitingKey = true;
  #started: boolean;
  #ended = false;
  #paused = false;

  constructor(session: ArtemisSession, options: AvReaderOptions) {
    this.#session = session;
    this.#options = options;
    this.#bell = new Bell(session.clock);
    this.#channel = options.kind === 'live' ? Channel.live : Channel.playback;
    this.#started = options.kind === 'live';
    this.#stopReading = session.read(this.#channel, {
      onFrame: (frame) => this.#take(frame),
      onClosed: () => this.#bell.ring(),
    });
  }

  /**
   * The next frame; undefined at the end of a recording.
   * @throws CameraError `session-closed`; what `onQuiet` throws; the signal's reason.
   */
  async next(signal?: AbortSignal): Promise<AvFrame | undefined> {
    using _expecting = this.#session.expectData();
    const { quietMs, onQuiet } = this.#options;
    for (;;) {
      const frame = this.#queue.shift();
      if (frame !== undefined) {
        if (this.#queue.length === 0) this.#setPaused(false);
        return frame;
      }
      if (this.#ended) return undefined;
      if (this.#session.closed) throw this.#session.closed;
      if (!(await this.#bell.wait(quietMs, signal))) onQuiet();
    }
  }

  [Symbol.dispose](): void {
    this.#stopReading();
    this.#setPaused(false);
  }

  #take({ body }: Frame): void {
    const decoded = decodeAvFrame(body, this.#options.kind);
    if (!decoded.ok) {
      this.#lost();
      return;
    }
    const frame = decoded.value;
    if (this.#options.kind === 'playback' && !this.#belongs(frame)) return;
    if (!frame.intact) this.#lost();
    else if (frame.video.length > 0 && this.#awaitingKey && !frame.keyFrame) this.counters.skipped++;
    else this.#deliver(frame);
    if (this.#options.kind === 'playback' && frame.mark === PlaybackMark.end) this.#ended = true;
    this.#bell.ring();
  }

  /** Nothing before the start frame counts, nor what an earlier playback left behind. */
  #belongs(frame: AvFrame): boolean {
    const { sessionNo } = this.#options;
    if (sessionNo !== undefined && frame.sessionNo !== sessionNo) return false;
    if (frame.mark === PlaybackMark.start) this.#started = true;
    return this.#started && !this.#ended;
  }

  #lost(): void {
    this.counters.damaged++;
    this.#awaitingKey = true;
  }

  #deliver(frame: AvFrame): void {
    if (frame.video.length + frame.audio.length === 0) return;
    if (frame.video.length > 0) this.#awaitingKey = false;
    if (this.#queue.length >= this.#options.maxQueuedFrames) {
      if (this.#options.kind === 'playback') this.#setPaused(true);
      else if (!this.#makeRoom(frame)) return;
    }
    this.#queue.push(frame);
  }

  /** Live pictures age: a slow reader gets the newest picture that can be decoded, and a gap before it. */
  #makeRoom(frame: AvFrame): boolean {
    this.counters.overrun += this.#queue.length;
    this.#queue.length = 0;
    if (frame.video.length === 0 || frame.keyFrame) return true;
    this.counters.overrun++;
    this.#awaitingKey = true;
    return false;
  }

  #setPaused(paused: boolean): void {
    if (paused === this.#paused) return;
    this.#paused = paused;
    this.#session.carrier.setPaused(this.#channel, paused);
  }
}
