import { errorMessage, type Log, Mutex } from '@towpath/core';
import type { AvFrame } from '../artemis/av.ts';
import { CameraError } from '../artemis/camera-error.ts';
import * as commands from '../artemis/commands.ts';
import type { JsonObject } from '../artemis/json.ts';
import { type ItemId, itemFields } from '../artemis/media-item.ts';
import type { ArtemisSession } from './artemis-session.ts';
import { AvReader } from './av-reader.ts';
import type { CameraPath } from './camera-path.ts';
import { isSessionClosed, type PathSource } from './path-source.ts';

/** About four seconds of video and audio. */
export const MAX_QUEUED_FRAMES = 120;

/** A live stream without frames for this time, ms, is started again: a camera sends 15 frames per second. */
const LIVE_QUIET_MS = 5000;

/** Playback without frames for this time, ms, has failed. */
const PLAYBACK_QUIET_MS = 10_000;

/**
 * Pictures that a playback may have beyond twice those that were announced. No recorded playback shows how exact cameras
 * are with that number.
 */
const SPARE_PICTURES = 300;

/** Settings of a stream of frames. */
export interface FramesOptions {
  signal?: AbortSignal | undefined;
  /**
   * Called at the end with the number of frames that are missing, if any: they were damaged, followed a damaged one, or
   * were not read in time.
   */
  onLost?: ((frames: number) => void) | undefined;
}

type Frames = AsyncGenerator<AvFrame, void, undefined>;

/** Live video and recordings as streams of frames. */
export class AvStreams {
  readonly #ready: PathSource;
  readonly #log: Log;
  readonly #playbackTurn = new Mutex();
  #playbacks = 0;
  /** The camera chooses the session numbers of playbacks, so they identify nothing. */
  #ownNumbers = false;

  constructor(ready: PathSource, log: Log) {
    this.#ready = ready;
    this.#log = log;
  }

  /** See `CameraClient.live`. */
  async *live(maxQueuedFrames: number, options: FramesOptions = {}): Frames {
    for (;;) {
      const path = await this.#ready(options.signal);
      try {
        yield* this.#liveOn(path, maxQueuedFrames, options);
      } catch (error) {
        if (!isSessionClosed(error)) throw error;
      }
    }
  }

  /** See `CameraClient.playback`. */
  async *playback(item: ItemId, options: FramesOptions = {}): Frames {
    using _turn = await this.#playbackTurn.acquire(options.signal);
    const path = await this.#ready(options.signal);
    using _use = path.use(() => {});
    yield* this.#playOn(path.artemis, item, options);
  }

  /** Ends without an error when a better path is used instead. */
  async *#liveOn(path: CameraPath, maxQueuedFrames: number, { signal, onLost }: FramesOptions): Frames {
    using reader = new AvReader(path.artemis, {
      kind: 'live',
      maxQueuedFrames,
      quietMs: LIVE_QUIET_MS,
      onQuiet: () => {
        void this.#quietly(path.artemis, commands.startAv);
        return undefined;
      },
    });
    const moved = new AbortController();
    using _use = path.use(() => moved.abort());
    const either = signal ? AbortSignal.any([signal, moved.signal]) : moved.signal;
    path.liveUsers++;
    try {
      if (path.liveUsers === 1) await path.artemis.request(commands.startAv, {}, { signal });
      for (let frame = await reader.next(either); frame; frame = await reader.next(either)) yield frame;
    } catch (error) {
      if (!moved.signal.aborted || signal?.aborted) throw error;
    } finally {
      if (reader.lost > 0) onLost?.(reader.lost);
      if (--path.liveUsers === 0) await this.#quietly(path.artemis, commands.stopAv);
    }
  }

  async *#playOn(artemis: ArtemisSession, item: ItemId, { signal, onLost }: FramesOptions): Frames {
    const sessionNo = ++this.#playbacks;
    let totals: commands.PlaybackInfo = {};
    using reader = new AvReader(artemis, {
      kind: 'playback',
      sessionNo,
      maxQueuedFrames: MAX_QUEUED_FRAMES,
      quietMs: PLAYBACK_QUIET_MS,
      acceptsNumber: () => {
        // The first playback of a session cannot receive frames of an earlier one.
        if (sessionNo === 1) this.#ownNumbers = true;
        return this.#ownNumbers;
      },
      onQuiet: () => {
        if (isWhole(reader, totals)) return true;
        throw stalledError(artemis, item);
      },
    });
    totals = await artemis.request(commands.startPlayback, { ...itemFields(item), sessionNo }, { signal });
    try {
      for (let frame = await reader.next(signal); frame; frame = await reader.next(signal)) {
        if (reader.pictures > maxPicturesOf(totals)) throw endlessError(artemis, item, totals);
        yield frame;
      }
    } finally {
      if (reader.lost > 0) onLost?.(reader.lost);
      await this.#quietly(artemis, commands.stopPlayback);
    }
  }

  /** A request whose failure has no effect: the end of the session also stops a stream, and starting is tried again. */
  async #quietly(artemis: ArtemisSession, command: commands.Command<commands.NoFields, JsonObject>): Promise<void> {
    if (artemis.closed) return;
    try {
      await artemis.request(command, {});
    } catch (error) {
      this.#log.debug(`The stream request failed: ${errorMessage(error)}`);
    }
  }
}

/** True when all pictures that the camera announced have come, or the last one reaches its announced end. */
function isWhole(reader: AvReader, { totalFrame, totalTime }: commands.PlaybackInfo): boolean {
  if (totalFrame !== undefined && totalFrame > 0) return reader.pictures >= totalFrame;
  const pictureMs = reader.lastPictureMs / Math.max(1, reader.pictures - 1);
  return totalTime !== undefined && totalTime > 0 && reader.lastPictureMs >= totalTime - 2 * pictureMs;
}

/** Most pictures of a recording; infinity when the camera announced none. */
function maxPicturesOf({ totalFrame = 0 }: commands.PlaybackInfo): number {
  return totalFrame > 0 ? 2 * totalFrame + SPARE_PICTURES : Number.POSITIVE_INFINITY;
}

function endlessError({ target }: ArtemisSession, item: ItemId, { totalFrame }: commands.PlaybackInfo): CameraError {
  const { dirNum, mediaNum } = item;
  const message = `The playback of ${dirNum}/${mediaNum} does not end: the camera announced ${totalFrame} pictures and has sent more than twice as many.`;
  return new CameraError('item-damaged', message, { target, details: { dirNum, mediaNum } });
}

function stalledError({ target }: ArtemisSession, { dirNum, mediaNum }: ItemId): CameraError {
  const message = `The playback of ${dirNum}/${mediaNum} sent no frames for ${PLAYBACK_QUIET_MS / 1000} s.`;
  return new CameraError('transfer-stalled', message, { target, details: { dirNum, mediaNum } });
}
