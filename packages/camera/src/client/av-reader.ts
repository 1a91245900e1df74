import { Wakeup } from '@towpath/core';
import { type AvFrame, decodeAvFrame, PlaybackMark } from '../artemis/av.ts';
import { Channel, type Frame } from '../artemis/frame.ts';
import type { ArtemisSession } from './artemis-session.ts';

/** Counters of lost frames, by reason. */
export interface AvCounters {
  /** Frames with a wrong end check, or that could not be decoded. */
  damaged: number;
  /** Frames dropped while waiting for a key frame. */
  skipped: number;
  /** Frames dropped because the reader was slower than the camera. */
  overrun: number;
}

export interface AvReaderOptions {
  kind: 'live' | 'playback';
  /** Frames that wait for their reader. Beyond it live frames are dropped up to the next key frame. */
  maxQueuedFrames: number;
  /** Playback: only frames of this session number. */
  sessionNo?: number;
  /** Playback: whether frames of another number belong to it too, because the camera numbers its playbacks itself. */
  acceptsNumber?(sessionNo: number): boolean;
  /** Without any frame for this time, ms, {@link onQuiet} is called, repeatedly. */
  quietMs: number;
  /** Playback: returns true when what came is the whole recording, although no end mark did. */
  onQuiet(): boolean | undefined;
}

/**
 * Audio and video frames of one channel, deciphered and checked. Video begins with a key frame, also after a lost
 * frame. docs/protocol/artemis.md, "Audio and video".
 */
export class AvReader implements Disposable {
  readonly counters: AvCounters = { damaged: 0, skipped: 0, overrun: 0 };
  readonly #session: ArtemisSession;
  readonly #options: AvReaderOptions;
  readonly #queue: AvFrame[] = [];
  readonly #wakeup: Wakeup;
  readonly #channel: number;
  readonly #stopReading: () => void;
  #awaitingKey = true;
  /** A picture was delivered. */
  #begun = false;
  #started: boolean;
  #ended = false;
  #pictures = 0;
  #lastPictureMs = 0;
  #paused = false;

  constructor(session: ArtemisSession, options: AvReaderOptions) {
    this.#session = session;
    this.#options = options;
    this.#wakeup = new Wakeup({ clock: session.clock });
    this.#channel = options.kind === 'live' ? Channel.live : Channel.playback;
    this.#started = options.kind === 'live';
    this.#stopReading = session.read(this.#channel, {
      onFrame: (frame) => this.#take(frame),
      onClosed: () => this.#wakeup.wake(),
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
      if (!(await this.#wakeup.wait(quietMs, signal)) && onQuiet() === true) this.#ended = true;
    }
  }

  /** Frames that came and were not delivered. Live: since the first picture, because a reader joins a running stream. */
  get lost(): number {
    const { damaged, skipped, overrun } = this.counters;
    return damaged + skipped + overrun;
  }

  /** Playback: pictures received, damaged ones included. */
  get pictures(): number {
    return this.#pictures;
  }

  /** Playback: time stamp of the last picture, ms. */
  get lastPictureMs(): number {
    return this.#lastPictureMs;
  }

  [Symbol.dispose](): void {
    this.#stopReading();
    this.#setPaused(false);
  }

  #take({ body }: Frame): void {
    const decoded = decodeAvFrame(body, this.#options.kind);
    if (!decoded.ok) {
      if (!this.#ended) this.#lost();
      return;
    }
    const frame = decoded.value;
    if (this.#options.kind === 'playback' && !this.#belongs(frame)) return;
    if (frame.video.length > 0) {
      this.#pictures++;
      this.#lastPictureMs = frame.timestamp;
    }
    if (!frame.intact) this.#lost();
    else if (frame.video.length > 0 && this.#awaitingKey && !frame.keyFrame) this.#skip();
    else this.#deliver(frame);
    if (this.#options.kind === 'playback' && frame.mark === PlaybackMark.end) this.#ended = true;
    // Frames that are not delivered are no progress: a camera could send them for ever.
    if (this.#ended || this.#queue.length > 0) this.#wakeup.wake();
  }

  /** Frames before the start frame, and frames of an earlier playback, are ignored. */
  #belongs(frame: AvFrame): boolean {
    const { sessionNo } = this.#options;
    const { acceptsNumber } = this.#options;
    if (sessionNo !== undefined && frame.sessionNo !== sessionNo && !acceptsNumber?.(frame.sessionNo)) return false;
    // A lost start mark must not cost the recording: its first key frame starts it as well.
    if (frame.mark === PlaybackMark.start || frame.keyFrame) this.#started = true;
    return this.#started && !this.#ended;
  }

  #lost(): void {
    this.counters.damaged++;
    this.#awaitingKey = true;
  }

  #skip(): void {
    if (this.#options.kind === 'playback' || this.#begun) this.counters.skipped++;
  }

  #deliver(frame: AvFrame): void {
    if (frame.video.length + frame.audio.length === 0) return;
    if (frame.video.length > 0) {
      this.#awaitingKey = false;
      this.#begun = true;
    }
    if (this.#queue.length >= this.#options.maxQueuedFrames) {
      if (this.#options.kind === 'playback') this.#setPaused(true);
      else if (!this.#makeRoom(frame)) return;
    }
    this.#queue.push(frame);
  }

  /** Live video must stay current: a slow reader gets the newest decodable frame, after a gap. */
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
