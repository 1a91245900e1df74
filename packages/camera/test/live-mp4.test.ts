import fc from 'fast-check';
import { ALL_FORMATS, BufferSource, EncodedPacketSink, Input } from 'mediabunny';
import { describe, expect, test } from 'vitest';
import { AudioType, type AvFrame, VideoType } from '../src/artemis/av.ts';
import { CameraError } from '../src/artemis/camera-error.ts';
import { LiveScene } from '../src/emulator/media/live-scene.ts';
import { SILENT_AAC_FRAME } from '../src/emulator/media/silence.ts';
import { LiveMp4 } from '../src/outputs/live-mp4.ts';

const scene = new LiveScene(1, 'TEST', 40_000);
/** Two groups of pictures. */
const PICTURES = Array.from({ length: 60 }, () => scene.next(40_000));
const EMPTY = new Uint8Array(0);

function picture(number: number, atMs: number): AvFrame {
  const { data, keyFrame } = PICTURES[number % PICTURES.length]!;
  const header = { frameNumber: number, timestamp: atMs * 1_000, keyFrame, width: 1280, height: 720, audioType: 0 };
  const rest = { mark: 0, sessionNo: 0, videoType: VideoType.h264, intact: true, trailingBytes: 0 };
  return { ...header, ...rest, video: data, audio: EMPTY };
}

function sound(atMs: number): AvFrame {
  return { ...picture(1, atMs), video: EMPTY, audio: SILENT_AAC_FRAME, audioType: AudioType.aac, keyFrame: false };
}

function recorder() {
  const parts: Uint8Array[] = [];
  const mp4 = new LiveMp4({ write: async (bytes) => void parts.push(bytes.slice()) });
  return { mp4, bytes: () => Buffer.concat(parts) };
}

/** Times of the packets of both tracks, ms. */
async function times(file: Uint8Array): Promise<{ pictures: number[]; sound: number[] }> {
  using input = new Input({ formats: ALL_FORMATS, source: new BufferSource(file) });
  const video = await input.getPrimaryVideoTrack();
  const audio = await input.getPrimaryAudioTrack();
  const of = async (track: typeof video | typeof audio) => {
    const found: number[] = [];
    if (track === null) return found;
    for await (const packet of new EncodedPacketSink(track).packets()) found.push(Math.round(packet.timestamp * 1_000));
    return found;
  };
  return { pictures: await of(video), sound: await of(audio) };
}

describe('live video as MP4 (B13)', () => {
  test('begins with the first key frame, at time 0', async () => {
    const { mp4, bytes } = recorder();
    await mp4.add(sound(4_900), 0);
    await mp4.add(picture(29, 4_950), 50);
    for (let n = 30; n < 60; n++) await mp4.add(picture(n, 5_000 + (n - 30) * 66), 100 + (n - 30) * 66);
    await mp4.close();
    const { pictures } = await times(bytes());
    expect(pictures).toHaveLength(30);
    expect(pictures.slice(0, 3)).toEqual([0, 66, 132]);
  });

  test('sound that begins too late is counted, and the pictures are kept', async () => {
    const { mp4, bytes } = recorder();
    for (let n = 0; n < 30; n++) await mp4.add(picture(n, n * 66), n * 66);
    await mp4.add(sound(1_980), 1_980);
    expect(await mp4.close()).toMatchObject({ frames: 30, soundFrames: 0, leftOut: 1 });
    expect((await times(bytes())).pictures).toHaveLength(30);
  });

  test('sound that stays away does not hold the pictures back', async () => {
    const { mp4, bytes } = recorder();
    await mp4.add(picture(0, 0), 0);
    await mp4.add(sound(10), 10);
    for (let n = 1; n < 120; n++) await mp4.add(picture(n, n * 66), n * 66);
    const early = bytes().length;
    expect(early).toBeGreaterThan(PICTURES[0]!.data.length);
    await mp4.close();
    expect((await times(bytes())).pictures).toHaveLength(120);
  });

  test('after a reconnect the camera counts from 0 again, and the time of the file goes on', async () => {
    const { mp4, bytes } = recorder();
    for (let n = 0; n < 30; n++) await mp4.add(picture(n, 70_000 + n * 100), n * 100);
    // Seven seconds without a camera.
    for (let n = 0; n < 30; n++) await mp4.add(picture(n, n * 100), 10_000 + n * 100);
    const { durationMs } = await mp4.close();
    const { pictures } = await times(bytes());
    expect(pictures[30]).toBe(10_000);
    expect(durationMs).toBe(12_900);
    expect(pictures).toEqual([...pictures].sort((a, b) => a - b));
  });

  test('a stream without pictures leaves an empty file', async () => {
    const { mp4, bytes } = recorder();
    await mp4.add(sound(0), 0);
    expect(await mp4.close()).toMatchObject({ frames: 0, bytes: 0 });
    expect(bytes()).toHaveLength(0);
  });

  test('motion JPEG is refused with the next step', async () => {
    const { mp4 } = recorder();
    const refused = (async () => {
      for (let n = 0; n < 20; n++) {
        await mp4.add({ ...picture(0, n * 66), keyFrame: true, videoType: VideoType.mjpeg }, n * 66);
      }
    })();
    await expect(refused).rejects.toMatchObject({ code: 'bad-response', message: expect.stringContaining('--output') });
  });

  test("the disk's error ends the recording and is the one that is reported", async () => {
    const full = new Error('disk full');
    const mp4 = new LiveMp4({ write: () => Promise.reject(full) });
    const recording = (async () => {
      for (let n = 0; n < 120; n++) await mp4.add(picture(n, n * 66), n * 66);
      await mp4.close();
    })();
    await expect(recording).rejects.toBe(full);
  });

  test('hostile frames end in a CameraError at worst', async () => {
    const bytes = fc.uint8Array({ maxLength: 40 });
    const frame = fc.record({ video: bytes, audio: bytes, keyFrame: fc.boolean(), stamp: fc.nat() });
    await fc.assert(
      fc.asyncProperty(fc.array(frame, { maxLength: 8 }), async (frames) => {
        const { mp4 } = recorder();
        try {
          for (const { video, audio, keyFrame, stamp } of frames) {
            const kind = { video, audio, keyFrame, audioType: AudioType.aac, timestamp: stamp };
            await mp4.add({ ...picture(0, 0), ...kind }, stamp / 1_000);
          }
          await mp4.close();
        } catch (error) {
          expect(error).toBeInstanceOf(CameraError);
        }
      }),
      { numRuns: 60 },
    );
  });
});
