import type {
  EncodedAudioPacketSource,
  EncodedPacket,
  EncodedVideoPacketSource,
  Output,
  StreamTargetChunk,
} from 'mediabunny';
import { errorMessage } from '@towpath/core';
import { AudioType, type AvFrame, VideoType } from '../artemis/av.ts';
import { CameraError } from '../artemis/camera-error.ts';
import { adtsFormat } from './adts.ts';
import { Timeline } from './timeline.ts';

/** Where the file goes, in order: nothing that was written is changed later. */
export interface LiveMp4Components {
  /** Writes the next bytes of the file; the muxer waits for it. */
  write(bytes: Uint8Array): Promise<void>;
}

export interface LiveMp4Options {
  /** Shortest length of a fragment, ms; fragments begin with key frames. @default 1000 */
  readonly fragmentMs?: number;
}

/** What a file holds so far. */
export interface LiveMp4Summary {
  readonly frames: number;
  readonly soundFrames: number;
  readonly bytes: number;
  /** Frames that the file cannot hold: sound of another kind than AAC, or that began too late. */
  readonly leftOut: number;
  /** Length of the recording, ms. */
  readonly durationMs: number;
}

/** Sound that does not come within this time after the first picture is not expected, ms. */
const SOUND_WAIT_MS = 500;

/** When sound stays away for this long, ms, its track ends: the muxer would hold the pictures back for it. */
const SOUND_GONE_MS = 3_000;

/** Of the last frame of a file; all others last until the next one. */
const FRAME_MS: number = 1_000 / 15;

/** 1,024 samples at 16 kHz. */
const SOUND_FRAME_MS = 64;

/** A frame and where it is in the file. */
interface Placed {
  readonly frame: AvFrame;
  readonly atMs: number;
}

/**
 * Writes live video as fragmented MP4: a file that can be played while it grows, and after a crash. Time in the file is
 * time at the camera; where its stream was interrupted, the last picture stays for as long as the interruption lasted.
 *
 * The first frame with a picture has to be a key frame, as `CameraClient.live` gives it.
 */
export class LiveMp4 implements AsyncDisposable {
  readonly #write: (bytes: Uint8Array) => Promise<void>;
  readonly #fragmentMs: number;
  /** Frames before the start, while it is not known whether there is sound. */
  #held: Placed[] | undefined = [];
  #timeline = new Timeline();
  #tracks: Tracks | undefined;
  #closing: Promise<LiveMp4Summary> | undefined;
  #counts = { frames: 0, soundFrames: 0, bytes: 0, leftOut: 0, durationMs: 0 };
  #lastSoundMs = 0;
  #failed: unknown;
  #writeError: unknown;

  constructor({ write }: LiveMp4Components, { fragmentMs = 1_000 }: LiveMp4Options = {}) {
    this.#write = write;
    this.#fragmentMs = fragmentMs;
  }

  get summary(): LiveMp4Summary {
    return { ...this.#counts };
  }

  /**
   * Adds a frame.
   * @param receivedAtMs when it arrived, on any monotonic clock, ms
   * @throws CameraError `bad-response` when the video cannot be in an MP4 file; what `write` throws
   */
  async add(frame: AvFrame, receivedAtMs: number): Promise<void> {
    if (this.#closing !== undefined) return;
    const isPicture = frame.video.length > 0;
    if (!isPicture && frame.audioType !== AudioType.aac) {
      this.#counts.leftOut++;
      return;
    }
    const placed = { frame, atMs: this.#timeline.place(frame, isPicture ? 'picture' : 'sound', receivedAtMs) };
    if (this.#held === undefined) {
      await this.#guarded(() => this.#put(placed));
      return;
    }
    // Before the first picture nothing can be shown, and its time is where the file begins.
    if (this.#held.length === 0 && !(isPicture && frame.keyFrame)) {
      this.#timeline = new Timeline();
      return;
    }
    this.#held.push(placed);
    if (!isPicture || placed.atMs >= SOUND_WAIT_MS) await this.#guarded(() => this.#begin());
  }

  /** Ends the file. @returns what it holds; a stream without pictures leaves an empty file. Throws as {@link add}. */
  close(): Promise<LiveMp4Summary> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<LiveMp4Summary> {
    if (this.#held !== undefined && this.#held.length > 0) await this.#guarded(() => this.#begin());
    if (this.#failed === undefined) await this.#guarded(async () => this.#tracks?.output.finalize());
    return this.summary;
  }

  /** The muxer refuses what is no video of the stated kind; the disk may refuse to take it. */
  async #guarded(work: () => Promise<void>): Promise<void> {
    if (this.#failed !== undefined) throw this.#failed;
    try {
      await work();
    } catch (error) {
      this.#failed =
        this.#writeError ??
        (error instanceof CameraError
          ? error
          : new CameraError(
              'bad-response',
              `The live video cannot be stored as MP4 (${errorMessage(error)}). Next: use --output to store it as it comes.`,
              { cause: error },
            ));
      throw this.#failed;
    }
  }

  async #begin(): Promise<void> {
    const held = this.#held ?? [];
    this.#held = undefined;
    const first = held[0]!.frame;
    const sound = held.find(({ frame }) => frame.video.length === 0)?.frame;
    this.#tracks = await openTracks(first, sound, this.#fragmentMs, async (bytes) => {
      this.#counts.bytes += bytes.length;
      await this.#write(bytes).catch((error: unknown) => {
        this.#writeError = error;
        throw error;
      });
    });
    for (const placed of held) await this.#put(placed);
  }

  async #put({ frame, atMs }: Placed): Promise<void> {
    const tracks = this.#tracks!;
    this.#counts.durationMs = Math.max(this.#counts.durationMs, atMs);
    const { EncodedPacket } = tracks;
    if (frame.video.length > 0) {
      if (tracks.sound && atMs - this.#lastSoundMs > SOUND_GONE_MS) {
        tracks.sound.close();
        tracks.sound = undefined;
      }
      const packet = new EncodedPacket(frame.video, frame.keyFrame ? 'key' : 'delta', atMs / 1_000, FRAME_MS / 1_000);
      await tracks.pictures.add(packet, tracks.pictureMeta);
      tracks.pictureMeta = undefined;
      this.#counts.frames++;
    } else if (tracks.sound) {
      this.#lastSoundMs = atMs;
      const packet = new EncodedPacket(frame.audio, 'key', atMs / 1_000, SOUND_FRAME_MS / 1_000);
      await tracks.sound.add(packet, tracks.soundMeta);
      tracks.soundMeta = undefined;
      this.#counts.soundFrames++;
    } else this.#counts.leftOut++;
  }
}

interface Tracks {
  readonly EncodedPacket: typeof EncodedPacket;
  readonly output: Output;
  readonly pictures: EncodedVideoPacketSource;
  sound: EncodedAudioPacketSource | undefined;
  pictureMeta: EncodedVideoChunkMetadata | undefined;
  soundMeta: EncodedAudioChunkMetadata | undefined;
}

/** What mediabunny takes with a first packet; these are types of browsers, which Node's do not have. */
type EncodedVideoChunkMetadata = Parameters<EncodedVideoPacketSource['add']>[1];
type EncodedAudioChunkMetadata = Parameters<EncodedAudioPacketSource['add']>[1];

async function openTracks(
  picture: AvFrame,
  sound: AvFrame | undefined,
  fragmentMs: number,
  write: (bytes: Uint8Array) => Promise<void>,
): Promise<Tracks> {
  if (picture.videoType !== VideoType.h264 && picture.videoType !== VideoType.h265) {
    throw new CameraError(
      'bad-response',
      'The camera sends motion JPEG, which MP4 players do not open. Next: use --output.',
    );
  }
  const { EncodedAudioPacketSource, EncodedPacket, EncodedVideoPacketSource, Mp4OutputFormat, Output, StreamTarget } =
    await import('mediabunny');
  const { avcCodec, HEVC_CODEC } = await import('../media/mp4.ts');
  const target = new StreamTarget(
    new WritableStream<StreamTargetChunk>({ write: ({ data }: StreamTargetChunk) => write(data) }),
  );
  const output = new Output({
    format: new Mp4OutputFormat({ fastStart: 'fragmented', minimumFragmentDuration: fragmentMs / 1_000 }),
    target,
  });
  const h264 = picture.videoType === VideoType.h264;
  const pictures = new EncodedVideoPacketSource(h264 ? 'avc' : 'hevc');
  output.addVideoTrack(pictures);
  const soundSource = sound && new EncodedAudioPacketSource('aac');
  if (soundSource) output.addAudioTrack(soundSource);
  await output.start();
  return {
    EncodedPacket,
    output,
    pictures,
    sound: soundSource,
    pictureMeta: {
      decoderConfig: {
        codec: h264 ? avcCodec(picture.video) : HEVC_CODEC,
        codedWidth: Math.max(1, picture.width),
        codedHeight: Math.max(1, picture.height),
      },
    },
    soundMeta: sound && { decoderConfig: { codec: 'mp4a.40.2', ...soundFormat(sound.audio) } },
  };
}

function soundFormat(frame: Uint8Array): { sampleRate: number; numberOfChannels: number } {
  const { sampleRate, channels } = adtsFormat(frame);
  return { sampleRate, numberOfChannels: channels };
}
