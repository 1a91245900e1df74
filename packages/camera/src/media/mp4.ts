import {
  BufferTarget,
  EncodedAudioPacketSource,
  EncodedPacket,
  EncodedVideoPacketSource,
  Logging,
  LogLevel,
  Mp4OutputFormat,
  Output,
} from 'mediabunny';
import type { AvFrame } from '../artemis/av.ts';

// It prints what it throws as well, with its stack.
Logging.level = LogLevel.Silent;

/** What {@link muxMp4} puts into a file. */
export interface Mp4Parts {
  /** Frames with a picture, in the order of decoding; the first one is a key frame. Time stamps in ms. */
  readonly pictures: readonly AvFrame[];
  /** Frames with AAC sound in ADTS. */
  readonly sound: readonly AvFrame[];
  readonly videoKind: 'h264' | 'h265';
  /** Length of the recording by the camera's list, ms: what counts when its frames carry no time. */
  readonly durationMs: number;
}

/** For a recording without usable time stamps. */
const DEFAULT_FRAME_MS = 1000 / 15;

/** Main profile, level 3.1: what the family records. */
export const HEVC_CODEC = 'hev1.1.6.L93.B0';

/** 1,024 samples of AAC at 16 kHz. */
const AAC_FRAME_MS = 64;

/**
 * Returns an MP4 file. The time stamps of the frames decide the timing, so a variable rate stays variable.
 * @throws Error when the first picture has no parameter sets
 */
export async function muxMp4({ pictures, sound, videoKind, durationMs }: Mp4Parts): Promise<Uint8Array> {
  const target = new BufferTarget();
  const output = new Output({ format: new Mp4OutputFormat({ fastStart: 'in-memory' }), target });
  const video = new EncodedVideoPacketSource(videoKind === 'h264' ? 'avc' : 'hevc');
  output.addVideoTrack(video);
  const audio = sound.length > 0 ? new EncodedAudioPacketSource('aac') : undefined;
  if (audio) output.addAudioTrack(audio);
  await output.start();
  const origin = Math.min(pictures[0]?.timestamp ?? 0, sound[0]?.timestamp ?? Number.POSITIVE_INFINITY);
  await Promise.all([
    addVideo(video, pictures, timesOf(pictures, durationMs / pictures.length || DEFAULT_FRAME_MS, origin), videoKind),
    audio && addAudio(audio, sound, timesOf(sound, AAC_FRAME_MS, origin)),
  ]);
  await output.finalize();
  if (target.buffer === null) throw new TypeError('unreachable: a finalized output has a buffer');
  return new Uint8Array(target.buffer);
}

async function addVideo(
  source: EncodedVideoPacketSource,
  frames: readonly AvFrame[],
  times: readonly Span[],
  videoKind: 'h264' | 'h265',
): Promise<void> {
  for (const [at, frame] of frames.entries()) {
    const { startMs, lengthMs } = times[at]!;
    const packet = new EncodedPacket(frame.video, frame.keyFrame ? 'key' : 'delta', startMs / 1000, lengthMs / 1000);
    const { width, height } = frame;
    const codec = videoKind === 'h264' ? avcCodec(frame.video) : HEVC_CODEC;
    const meta = { decoderConfig: { codec, codedWidth: Math.max(1, width), codedHeight: Math.max(1, height) } };
    await source.add(packet, at === 0 ? meta : undefined);
  }
  source.close();
}

async function addAudio(
  source: EncodedAudioPacketSource,
  frames: readonly AvFrame[],
  times: readonly Span[],
): Promise<void> {
  for (const [at, { audio }] of frames.entries()) {
    const { startMs, lengthMs } = times[at]!;
    const meta = { decoderConfig: { codec: 'mp4a.40.2', numberOfChannels: 1, sampleRate: 16_000 } };
    await source.add(new EncodedPacket(audio, 'key', startMs / 1000, lengthMs / 1000), at === 0 ? meta : undefined);
  }
  source.close();
}

interface Span {
  readonly startMs: number;
  readonly lengthMs: number;
}

/**
 * Start and length of each frame, from 0 on. Time stamps that do not increase are replaced by later ones; frames
 * without any time get equal shares.
 */
function timesOf(frames: readonly AvFrame[], shareMs: number, origin: number): Span[] {
  const stamped = frames.some(({ timestamp }) => timestamp !== frames[0]?.timestamp) || frames.length === 1;
  let previous = -1;
  const starts = frames.map(({ timestamp }, at) => {
    const startMs = stamped ? Math.max(timestamp - origin, previous + 1) : at * shareMs;
    previous = startMs;
    return startMs;
  });
  return starts.map((startMs, at) => ({
    startMs,
    lengthMs: (starts[at + 1] ?? startMs + (at > 0 ? startMs - starts[at - 1]! : shareMs)) - startMs,
  }));
}

/** `avc1.PPCCLL` from the sequence parameter set (RFC 6381 §3.3). */
export function avcCodec(accessUnit: Uint8Array): string {
  for (let at = 0; at + 6 < accessUnit.length; at++) {
    const startCode = accessUnit[at] === 0 && accessUnit[at + 1] === 0 && accessUnit[at + 2] === 1;
    if (!startCode || (accessUnit[at + 3]! & 31) !== 7) continue;
    return `avc1.${Buffer.from(accessUnit.subarray(at + 4, at + 7)).toString('hex')}`;
  }
  return 'avc1.42001e';
}
