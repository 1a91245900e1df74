import { LIVE_HEIGHT, LIVE_WIDTH, LiveScene, type VideoFrame } from '../../camera/src/emulator/media/live-scene.ts';
import { encodePhoto, encodeThumbnail } from '../../camera/src/emulator/media/photos.ts';
import { muxMp4 } from '../../camera/src/media/mp4.ts';

/** Different pictures that are drawn at most: 5,000 requests must not draw 5,000 times. */
const DIFFERENT_THUMBNAILS = 36;
const DIFFERENT_PHOTOS = 4;
const VIDEO_FRAMES = 45;
export const FRAME_MS: number = 1_000 / 15;

/** Pictures, a video and live frames of an emulated camera, drawn on demand. */
export class FakePictures {
  readonly width: number = LIVE_WIDTH;
  readonly height: number = LIVE_HEIGHT;
  readonly #thumbnails = new Map<number, Uint8Array>();
  readonly #photos = new Map<number, Uint8Array>();
  #frames: VideoFrame[] | undefined;
  #video: Promise<Uint8Array> | undefined;

  thumbnail(id: string, takenMs: number): Uint8Array {
    return this.#thumbnail(hash(id) % DIFFERENT_THUMBNAILS, takenMs);
  }

  /** Draws every thumbnail at once, so that no request has to wait for it. */
  drawThumbnails(): void {
    for (let kind = 0; kind < DIFFERENT_THUMBNAILS; kind++) this.#thumbnail(kind, 0);
  }

  photo(id: string, takenMs: number): Uint8Array {
    const kind = hash(id) % DIFFERENT_PHOTOS;
    return cached(this.#photos, kind, () => encodePhoto(subject(kind, takenMs)));
  }

  /** Three seconds of live video; they can be repeated, since they begin with a key frame. */
  frames(): readonly VideoFrame[] {
    if (this.#frames === undefined) {
      const scene = new LiveScene(5, 'FEEDER', Date.UTC(2026, 4, 14, 16, 42) / 1_000);
      this.#frames = Array.from({ length: VIDEO_FRAMES }, (_one, index) =>
        scene.next(Date.UTC(2026, 4, 14, 16, 42, Math.floor(index / 15)) / 1_000),
      );
    }
    return this.#frames;
  }

  /** An MP4 file. */
  video(): Promise<Uint8Array> {
    this.#video ??= muxMp4({
      pictures: this.frames().map(({ data, keyFrame }, index) => ({
        video: data,
        keyFrame,
        timestamp: Math.round(index * FRAME_MS),
        width: LIVE_WIDTH,
        height: LIVE_HEIGHT,
      })) as unknown as Parameters<typeof muxMp4>[0]['pictures'],
      sound: [],
      videoKind: 'h264',
      durationMs: VIDEO_FRAMES * FRAME_MS,
    });
    return this.#video;
  }

  #thumbnail(kind: number, takenMs: number): Uint8Array {
    return cached(this.#thumbnails, kind, () => encodeThumbnail(subject(kind, takenMs)));
  }
}

function subject(kind: number, takenMs: number): Parameters<typeof encodePhoto>[0] {
  return {
    seed: 40 + kind,
    cameraName: 'FEEDER',
    dirNum: 100,
    mediaNum: kind + 1,
    mediaTime: Math.floor(takenMs / 1_000),
    isVideo: false,
  };
}

function cached<T>(known: Map<number, T>, key: number, make: () => T): T {
  const found = known.get(key) ?? make();
  known.set(key, found);
  return found;
}

function hash(text: string): number {
  let value = 7;
  for (const character of text) value = (value * 31 + character.charCodeAt(0)) >>> 0;
  return value;
}
