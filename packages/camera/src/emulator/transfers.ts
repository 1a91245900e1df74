import { AudioType, encodeAvFrame, PlaybackMark, VideoType } from '../artemis/av.ts';
import { encodeFrame, MessageType } from '../artemis/frame.ts';
import { FileType, type ItemId, type MediaItem } from '../artemis/media-item.ts';
import { encodeFileRecord, encodeThumbnailRecord } from '../artemis/record.ts';
import type { EmulatedCamera } from './emulated-camera.ts';
import { FRAMES_PER_SECOND, LIVE_HEIGHT, LIVE_WIDTH, LiveScene } from './media/live-scene.ts';
import type { RecordSubject } from './media/picture-source.ts';
import { AAC_FRAME_MS, SILENT_AAC_FRAME } from './media/silence.ts';

/** A frame, or one whose picture is still being drawn. */
export type FrameSource = Iterator<Uint8Array | Promise<Uint8Array>>;

const NOTHING: Uint8Array = new Uint8Array(0);

/**
 * Yields one thumbnail frame per item, numbered from 1 (docs/protocol/artemis.md, "Items"). A missing item has no
 * data.
 */
export function* thumbnailFrames(
  camera: EmulatedCamera,
  ids: readonly ItemId[],
): Generator<Uint8Array | Promise<Uint8Array>> {
  let seq = 0;
  for (const id of ids) {
    const item = camera.card.find(id);
    const record =
      item === undefined
        ? encodeThumbnailRecord({ ...id, deviceId: camera.deviceId, mediaId: 0, data: NOTHING })
        : camera.pictures.thumbnailRecord(subjectOf(camera, item));
    yield framed(MessageType.thumbnail, ++seq, record);
  }
}

/**
 * Yields one file frame per item, all with the number of the request. Videos cannot be downloaded: they have no data.
 */
export function* fileFrames(
  camera: EmulatedCamera,
  ids: readonly ItemId[],
  seq: number,
): Generator<Uint8Array | Promise<Uint8Array>> {
  for (const id of ids) {
    const item = camera.card.find(id);
    const record =
      item === undefined || item.fileType !== FileType.photo
        ? encodeFileRecord({ ...id, deviceId: camera.deviceId, mediaId: item?.mediaId ?? 0, data: NOTHING })
        : camera.pictures.fileRecord(subjectOf(camera, item));
    yield framed(MessageType.file, seq, record);
  }
}

/** Number of pictures in a recording. */
export function recordedFrames(item: MediaItem): number {
  return Math.round((item.durationMs / 1000) * FRAMES_PER_SECOND);
}

/**
 * A recording with its silent sound, the frames of docs/protocol/artemis.md, "Audio and video"; the same item gives the
 * same bytes.
 */
export function* playbackFrames(camera: EmulatedCamera, item: MediaItem, sessionNo: number): Generator<Uint8Array> {
  const title = `${camera.name} ${item.dirNum}-${item.mediaNum}`;
  const scene = new LiveScene(item.mediaId, title, item.mediaTime);
  const common = { sessionNo, audioType: 0, videoType: VideoType.h264, width: 0, height: 0, mark: 0 };
  const frames = recordedFrames(item);
  let seq = 0;
  let audioAt = 0;
  for (let at = 0; at < frames; at++) {
    const timestamp = Math.round((at * 1000) / FRAMES_PER_SECOND);
    const { data, keyFrame } = scene.next(item.mediaTime + timestamp / 1000);
    const picture = { width: LIVE_WIDTH, height: LIVE_HEIGHT, mark: at === 0 ? PlaybackMark.start : 0 };
    const body = encodeAvFrame({
      ...common,
      ...picture,
      frameNumber: ++seq,
      timestamp,
      keyFrame,
      video: data,
      audio: NOTHING,
    });
    const { damagedFrameEvery } = camera.faults;
    if (damagedFrameEvery > 0 && (at + 1) % damagedFrameEvery === 0) body[body.length - 1]! ^= 0xff;
    yield encodeFrame(MessageType.playbackAv, seq, body);
    for (; audioAt <= timestamp; audioAt += AAC_FRAME_MS) {
      const sound = { keyFrame: false, video: NOTHING, audio: SILENT_AAC_FRAME, audioType: AudioType.aac };
      const audio = encodeAvFrame({ ...common, ...sound, frameNumber: ++seq, timestamp: audioAt });
      yield encodeFrame(MessageType.playbackAv, seq, audio);
    }
  }
  const end = { keyFrame: false, video: NOTHING, audio: NOTHING, mark: PlaybackMark.end, timestamp: item.durationMs };
  yield encodeFrame(MessageType.playbackAv, ++seq, encodeAvFrame({ ...common, ...end, frameNumber: seq }));
}

function framed(type: number, seq: number, record: Uint8Array | Promise<Uint8Array>): Uint8Array | Promise<Uint8Array> {
  if (record instanceof Uint8Array) return encodeFrame(type, seq, record);
  return record.then((drawn) => encodeFrame(type, seq, drawn));
}

function subjectOf(camera: EmulatedCamera, item: MediaItem): RecordSubject {
  return {
    seed: camera.seed,
    cameraName: camera.name,
    deviceId: camera.deviceId,
    isVideo: item.fileType !== FileType.photo,
    ...item,
  };
}
