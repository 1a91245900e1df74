import { type Clock, errorMessage, type Log, silentLog, SystemClock } from '@towpath/core';
import { AudioType, type AvFrame, VideoType } from '../artemis/av.ts';
import { CameraError } from '../artemis/camera-error.ts';
import type { MediaItem } from '../artemis/media-item.ts';
import type { MediaSource } from './media-source.ts';

/** A video of the card: cameras play recordings instead of sending their files. */
export interface RecordedVideo {
  /** An MP4 file with its AAC sound; for motion JPEG, which MP4 players do not open, the bare pictures. */
  readonly video: Uint8Array;
  /** `mp4`, `mjpeg`, or `h264` and `h265` for bare streams that no container takes. */
  readonly extension: string;
  /** Sound that the video file does not hold, as the camera sent it; undefined when there is none. */
  readonly audio: { readonly data: Uint8Array; readonly extension: string } | undefined;
  /** Frames of the recording that are missing: they came damaged, or followed a damaged one. */
  readonly lostFrames: number;
}

type VideoKind = 'h264' | 'h265' | 'mjpeg';

const KINDS: ReadonlyMap<number, VideoKind> = new Map<number, VideoKind>([
  [VideoType.h264, 'h264'],
  [VideoType.h265, 'h265'],
  [VideoType.mjpeg, 'mjpeg'],
]);

const AUDIO_EXTENSIONS: ReadonlyMap<number, string> = new Map<number, string>([
  [AudioType.pcm, 'pcm'],
  [AudioType.adpcm, 'adpcm'],
  [AudioType.g711, 'g711'],
  [AudioType.aac, 'aac'],
  [AudioType.g726, 'g726'],
]);

/** Four bytes of start code and one of header: an access unit has more. */
const START_CODE_AND_HEADER_BYTES = 5;

/** It is kept in memory until it is complete. */
const MAX_RECORDING_BYTES = 256 * 1024 * 1024;

/**
 * Of a recording whose length is in the list: a minute in the best quality has about 30 MB, and four times that is taken,
 * and always so much.
 */
const BYTES_PER_MS = 2_000;
const SPARE_BYTES = 16 * 1024 * 1024;

/** A frame costs memory beyond its data: many that are small may not add up to more than a few large ones. */
const FRAME_BYTES = 1_024;

/** Longest playback of one recording, ms: cameras record for a minute or so, and send it faster than that. */
const MAX_PLAYBACK_MS = 60 * 60_000;

/** A recording is played again from its start this often when the connection was lost. */
const MAX_TRIES = 3;

export interface RecordVideoOptions {
  /** @default that of the system */
  clock?: Clock | undefined;
  signal?: AbortSignal | undefined;
  log?: Log | undefined;
  /** Called with the number of bytes whenever some arrive. */
  onBytes?(count: number): void;
}

/**
 * Plays a recording to its end and returns it.
 * @throws CameraError `item-missing` without any picture, `item-damaged` when it does not end: beyond 16 MiB and 2 MB for
 *   each second that the list says, beyond 256 MiB, or beyond an hour; as `CameraClient.playback`.
 */
export async function recordVideo(
  client: Pick<MediaSource, 'playback'>,
  item: MediaItem,
  options: RecordVideoOptions = {},
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
  { signal, onBytes, log = silentLog, clock = new SystemClock() }: RecordVideoOptions,
): Promise<RecordedVideo> {
  const startedAt = clock.now();
  const frames: AvFrame[] = [];
  const maxBytes = maxBytesOf(item);
  let bytes = 0;
  let lostFrames = 0;
  const onLost = (count: number) => {
    lostFrames = count;
  };
  for await (const frame of client.playback(item, { signal, onLost })) {
    const count = frame.video.length + frame.audio.length;
    bytes += count + FRAME_BYTES;
    onBytes?.(count);
    if (bytes > maxBytes || clock.now() - startedAt > MAX_PLAYBACK_MS)
      throw itemError(item, 'item-damaged', endless(item));
    if (!isMarker(frame)) frames.push(frame);
  }
  const pictures = frames.filter(({ video }) => video.length > 0);
  const videoKind = KINDS.get(pictures[0]?.videoType ?? -1);
  if (videoKind === undefined) throw itemError(item, 'item-missing', 'it has no picture of a known kind');
  const sound = frames.filter(({ audio }) => audio.length > 0);
  const audioType = sound[0]?.audioType ?? 0;
  const inside = audioType === AudioType.aac && sound.every((frame) => frame.audioType === audioType);
  const beside = sound.length > 0 && !inside;
  const audio = beside
    ? { data: joined(sound, 'audio'), extension: AUDIO_EXTENSIONS.get(audioType) ?? 'bin' }
    : undefined;
  if (videoKind !== 'mjpeg') {
    const { muxMp4 } = await import('./mp4.ts');
    try {
      const video = await muxMp4({ pictures, sound: inside ? sound : [], videoKind, durationMs: item.durationMs });
      return { video, extension: 'mp4', audio, lostFrames };
    } catch (error) {
      // A stream that does not fit into a container, for example without parameter sets, is stored unchanged.
      log.warn(`Video ${item.dirNum}/${item.mediaNum} is kept as bare streams: ${errorMessage(error)}`);
    }
  }
  const loose = audio ?? (inside ? { data: joined(sound, 'audio'), extension: 'aac' } : undefined);
  return { video: joined(pictures, 'video'), extension: videoKind, audio: loose, lostFrames };
}

function maxBytesOf({ durationMs }: MediaItem): number {
  if (durationMs === 0) return MAX_RECORDING_BYTES;
  return Math.min(MAX_RECORDING_BYTES, SPARE_BYTES + durationMs * BYTES_PER_MS);
}

function endless({ durationMs }: MediaItem): string {
  const announced = durationMs === 0 ? '' : `; the list says ${(durationMs / 1_000).toFixed(1)} s`;
  return `it does not end${announced}`;
}

/** Recordings may begin and end with a marker frame: a start code without a picture. */
function isMarker({ video, audio }: AvFrame): boolean {
  if (audio.length > 0 || video.length > START_CODE_AND_HEADER_BYTES) return false;
  const text = Buffer.from(video).toString('hex');
  return text.startsWith('00000001') || text.startsWith('000001');
}

function joined(frames: readonly AvFrame[], part: 'video' | 'audio'): Uint8Array {
  return Buffer.concat(frames.map((frame) => frame[part]));
}

function itemError({ dirNum, mediaNum }: MediaItem, code: 'item-damaged' | 'item-missing', why: string): CameraError {
  return new CameraError(code, `Video ${dirNum}/${mediaNum} was not downloaded: ${why}.`, {
    details: { dirNum, mediaNum },
  });
}
