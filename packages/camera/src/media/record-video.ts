import { AudioType, VideoType } from '../artemis/av.ts';
import { CameraError } from '../artemis/camera-error.ts';
import type { MediaItem } from '../artemis/media-item.ts';
import type { MediaSource } from './media-source.ts';

/** A video of the card, as elementary streams: the camera plays recordings, it does not hand out their files. */
export interface RecordedVideo {
  /** Annex-B for H.264 and H.265. */
  readonly video: Uint8Array;
  /** `h264`, `h265` or `mjpeg`. */
  readonly videoKind: VideoKind;
  /** AAC in ADTS; undefined when there is none. */
  readonly audio: Uint8Array | undefined;
}

type VideoKind = 'h264' | 'h265' | 'mjpeg';

const KINDS: ReadonlyMap<number, VideoKind> = new Map<number, VideoKind>([
  [VideoType.h264, 'h264'],
  [VideoType.h265, 'h265'],
  [VideoType.mjpeg, 'mjpeg'],
]);

/** A minute in the camera's best quality has about 30 MB; it is held in memory until it is whole. */
const MAX_RECORDING_BYTES = 256 * 1024 * 1024;

/** A recording is played from its start again this often when the connection was lost in it. */
const MAX_TRIES = 3;

/**
 * Plays a recording to its end and keeps it.
 * @throws CameraError `item-missing` without any picture, `item-damaged` beyond 256 MB; as
 *   `CameraClient.playback`.
 */
export async function recordVideo(
  client: Pick<MediaSource, 'playback'>,
  item: MediaItem,
  options: { signal?: AbortSignal; onBytes?(count: number): void } = {},
): Promise<RecordedVideo> {
  for (let tries = 1; ; tries++) {
    try {
      return await play(client, item, options);
    } catch (error) {
      const lost = error instanceof CameraError && error.code === 'session-closed';
      if (!lost || tries >= MAX_TRIES) throw error;
    }
  }
}

async function play(
  client: Pick<MediaSource, 'playback'>,
  item: MediaItem,
  { signal, onBytes }: { signal?: AbortSignal; onBytes?(count: number): void },
): Promise<RecordedVideo> {
  const video: Uint8Array[] = [];
  const audio: Uint8Array[] = [];
  let videoKind: VideoKind | undefined;
  let bytes = 0;
  for await (const frame of client.playback(item, { signal })) {
    const count = frame.video.length + frame.audio.length;
    bytes += count;
    onBytes?.(count);
    if (bytes > MAX_RECORDING_BYTES) throw itemError(item, 'item-damaged', 'it does not end');
    if (frame.video.length > 0) {
      videoKind ??= KINDS.get(frame.videoType);
      video.push(frame.video);
    }
    if (frame.audio.length > 0 && frame.audioType === AudioType.aac) audio.push(frame.audio);
  }
  if (videoKind === undefined) throw itemError(item, 'item-missing', 'it has no picture of a known kind');
  return { video: Buffer.concat(video), videoKind, audio: audio.length > 0 ? Buffer.concat(audio) : undefined };
}

function itemError({ dirNum, mediaNum }: MediaItem, code: 'item-damaged' | 'item-missing', why: string): CameraError {
  return new CameraError(code, `Video ${dirNum}/${mediaNum} was not received: ${why}.`, {
    details: { dirNum, mediaNum },
  });
}
