import { sealAvData, unsealAvData } from './cipher.ts';
import { type Decoded, decoded, undecodable } from './result.ts';

/**
 * Audio and video frames of channels 1 and 2: a 108-byte sub-header, then data. docs/protocol/artemis.md, "Audio and
 * video".
 */
export const AV_HEADER_BYTES = 108;

/** Stale bytes after the data of live frames; playback frames have none. */
export const LIVE_STALE_BYTES = 168;

const CHECK_BYTES = 4;

export const VideoType = { h264: 0, h265: 1, mjpeg: 2 } as const;
export const AudioType = { pcm: 16, adpcm: 17, g711: 18, aac: 20, g726: 21 } as const;

/** Marks of the first and last frame of a recording in playback. */
export const PlaybackMark = { start: 2, end: 4 } as const;

/** Fields of the sub-header. */
export interface AvHeader {
  /** Running number of the frame; its meaning is inferred. */
  readonly frameNumber: number;
  /** Microseconds in live frames, milliseconds in playback. */
  readonly timestamp: number;
  readonly keyFrame: boolean;
  /** Pixels; 0 in audio frames. */
  readonly width: number;
  readonly height: number;
  /** One of {@link AudioType}; 0 without audio. */
  readonly audioType: number;
  /** Playback only: one of {@link PlaybackMark}, else 0. */
  readonly mark: number;
  /** Playback only: `sessionNo` of the request. */
  readonly sessionNo: number;
  /** One of {@link VideoType}. */
  readonly videoType: number;
}

export interface AvFrame extends AvHeader {
  /** Deciphered; H.264 comes in Annex-B form. */
  readonly video: Uint8Array;
  /** Deciphered; AAC comes in ADTS. */
  readonly audio: Uint8Array;
  /** False when the end check is wrong: drop the frame and wait for a key frame. */
  readonly intact: boolean;
  /** Bytes after the data: stale memory. */
  readonly trailingBytes: number;
}

/** Encodes the body of an audio/video frame. `stale` follows the data: {@link LIVE_STALE_BYTES} in live frames. */
export function encodeAvFrame(
  frame: AvHeader & { video: Uint8Array; audio: Uint8Array },
  stale: Uint8Array = new Uint8Array(0),
): Uint8Array {
  const { video, audio } = frame;
  const data = new Uint8Array(video.length + audio.length);
  data.set(video, 0);
  data.set(audio, video.length);
  const out = new Uint8Array(AV_HEADER_BYTES + data.length + stale.length);
  const view = new DataView(out.buffer);
  view.setUint32(0, frame.frameNumber, true);
  view.setBigUint64(8, BigInt(frame.timestamp), true);
  view.setUint32(16, video.length, true);
  view.setUint32(20, audio.length, true);
  view.setUint32(24, frame.keyFrame ? 1 : 0, true);
  view.setUint32(28, frame.width, true);
  view.setUint32(32, frame.height, true);
  view.setUint32(36, frame.audioType, true);
  view.setUint32(40, frame.mark, true);
  view.setUint32(48, frame.sessionNo, true);
  out[52] = 1;
  out[53] = frame.videoType;
  out.set(data.subarray(-CHECK_BYTES), 66);
  out[70] = data.length >= CHECK_BYTES ? 1 : 0;
  out.set(sealAvData(data), AV_HEADER_BYTES);
  out.set(stale, AV_HEADER_BYTES + data.length);
  return out;
}

/**
 * Decodes and deciphers one audio/video frame.
 * @param kind whether the end check is always present (`live`) or indicated by byte 70 (`playback`)
 */
export function decodeAvFrame(body: Uint8Array, kind: 'live' | 'playback'): Decoded<AvFrame> {
  if (body.length < AV_HEADER_BYTES) {
    return undecodable('truncated', `An audio/video frame of ${body.length} bytes is shorter than its header.`);
  }
  const view = new DataView(body.buffer, body.byteOffset, body.length);
  const videoLength = view.getUint32(16, true);
  const dataLength = videoLength + view.getUint32(20, true);
  const room = body.length - AV_HEADER_BYTES;
  if (dataLength > room) {
    return undecodable('truncated', `An audio/video frame of ${dataLength} bytes has only ${room}.`);
  }
  const data = unsealAvData(body.subarray(AV_HEADER_BYTES, AV_HEADER_BYTES + dataLength));
  const checked = (kind === 'live' || body[70] !== 0) && dataLength >= CHECK_BYTES;
  return decoded({
    frameNumber: view.getUint32(0, true),
    timestamp: Number(view.getBigUint64(8, true)),
    keyFrame: view.getUint32(24, true) !== 0,
    width: view.getUint32(28, true),
    height: view.getUint32(32, true),
    audioType: view.getUint32(36, true),
    mark: view.getUint32(40, true),
    sessionNo: view.getUint32(48, true),
    videoType: body[53]!,
    video: data.subarray(0, videoLength),
    audio: data.subarray(videoLength),
    intact: !checked || Buffer.compare(data.subarray(-CHECK_BYTES), body.subarray(66, 66 + CHECK_BYTES)) === 0,
    trailingBytes: room - dataLength,
  });
}
