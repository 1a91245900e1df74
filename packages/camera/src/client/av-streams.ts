import { errorMessage, type Log } from '@towpath/core';
import type { AvFrame } from '../artemis/av.ts';
import { CameraError } from '../artemis/camera-error.ts';
import * as commands from '../artemis/commands.ts';
import type { JsonObject } from '../artemis/json.ts';
import { type ItemId, itemFields } from '../artemis/media-item.ts';
import type { ArtemisSession } from './artemis-session.ts';
import { AvReader } from './av-reader.ts';
import type { CameraPath } from './camera-path.ts';
import { isSessionClosed, type PathSource } from './path-source.ts';
import { Turnstile } from './turnstile.ts';

/** About four seconds of video and audio. */
export const MAX_QUEUED_FRAMES = 120;

/** A live stream that stands still for this long, ms, is started again: a camera sends 15 pictures a second. */
const LIVE_QUIET_MS = 5000;

/** Playback that stands still for this long, ms, has failed. */
const PLAYBACK_QUIET_MS = 10_000;

type Frames = AsyncGenerator<AvFrame, void, undefined>;

/** Live video and recordings as streams of frames. */
export class AvStreams {
  readonly #ready: PathSource;
  readonly #log: Log;
  readonly #playbackTurn = new Turnstile();
  #playbacks = 0;

  constructor(ready: PathSource, log: Log) {
    this.#ready = ready;
    this.#log = log;
  }

  /** See `CameraClient.live`. */
  async *live(maxQueuedFrames: number, signal?: AbortSignal): Frames {
    for (;;) {
      const path = await this.#ready(signal);
      try {
        yield* this.#liveOn(path, maxQueuedFrames, signal);
      } catch (error) {
        if (!isSessionClosed(error)) throw error;
      }
    }
  }

  /** See `CameraClient.playback`. */
  async *playback(item: ItemId, signal?: AbortSignal): Frames {
    const leave = await this.#playbackTurn.enter(signal);
    try {
      const path = await this.#ready(signal);
      using _use = path.use(() => {});
      yield* this.#playOn(path.artemis, item, signal);
    } finally {
      leave();
    }
  }

  /** Ends without an error when a better path has taken over. */
  async *#liveOn(path: CameraPath, maxQueuedFrames: number, signal?: AbortSignal): Frames {
    using reader = new AvReader(path.artemis, {
      kind: 'live',
      maxQueuedFrames,
      quietMs: LIVE_QUIET_MS,
      onQuiet: () => void this.#quietly(path.artemis, commands.startAv),
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
      if (--path.liveUsers === 0) await this.#quietly(path.artemis, commands.stopAv);
    }
  }

  async *#playOn(artemis: ArtemisSession, item: ItemId, signal?: AbortSignal): Frames {
    const sessionNo = ++this.#playbacks;
    using reader = new AvReader(artemis, {
      kind: 'playback',
      sessionNo,
      maxQueuedFrames: MAX_QUEUED_FRAMES,
      quietMs: PLAYBACK_QUIET_MS,
      onQuiet: () => {
        throw stalledError(artemis, item);
      },
    });
    await artemis.request(commands.startPlayback, { ...itemFields(item), sessionNo }, { signal });
    try {
      for (let frame = await reader.next(signal); frame; frame = await reader.next(signal)) yield frame;
    } finally {
      await this.#quietly(artemis, commands.stopPlayback);
    }
  }

  /** A request whose failure costs nothing: the session's end stops a stream as well, and starting is tried again. */
  async #quietly(artemis: ArtemisSession, command: commands.Command<commands.NoFields, JsonObject>): Promise<void> {
    if (artemis.closed) return;
    try {
      await artemis.request(command, {});
    } catch (error) {
      this.#log.debug(`The camera did not take the request about its stream: ${errorMessage(error)}`);
    }
  }
}

function stalledError({ target }: ArtemisSession, { dirNum, mediaNum }: ItemId): CameraError {
  const message = `The playback of ${dirNum}/${mediaNum} stands still for ${PLAYBACK_QUIET_MS / 1000} s.`;
  return new CameraError('transfer-stalled', message, { target, details: { dirNum, mediaNum } });
}
