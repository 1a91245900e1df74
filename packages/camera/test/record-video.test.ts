import { ALL_FORMATS, BufferSource, EncodedPacketSink, Input } from 'mediabunny';
import { describe, expect, test } from 'vitest';
import { AudioType, type AvFrame, encodeAvFrame, VideoType } from '../src/artemis/av.ts';
import { Channel, encodeFrame, MessageType } from '../src/artemis/frame.ts';
import type { MediaItem } from '../src/artemis/media-item.ts';
import { LiveScene } from '../src/emulator/media/live-scene.ts';
import { SILENT_AAC_FRAME } from '../src/emulator/media/silence.ts';
import { recordVideo } from '../src/media/record-video.ts';
import { connectedBench, drain } from './client-fixture.ts';

const ITEM: MediaItem = { fileType: 1, dirNum: 100, mediaNum: 5, durationMs: 0, mediaId: 1, mediaTime: 1 };
const EMPTY = new Uint8Array(0);

/** Pictures of a recording with these time stamps, ms. */
function recording(timesMs: readonly number[]): AvFrame[] {
  const scene = new LiveScene(1, 'TEST', 40_000);
  return timesMs.map((timestamp, at) => {
    const { data, keyFrame } = scene.next(40_000);
    const header = { frameNumber: at, timestamp, keyFrame, width: 1280, height: 720, audioType: 0, mark: 0 };
    const rest = { sessionNo: 1, videoType: VideoType.h264, intact: true, trailingBytes: 0 };
    return { ...header, ...rest, video: data, audio: EMPTY };
  });
}

async function timesOf(frames: readonly AvFrame[], durationMs = 0) {
  const playback = async function* () {
    yield* frames;
  };
  const { video, extension, audio } = await recordVideo({ playback }, { ...ITEM, durationMs });
  expect(extension).toBe('mp4');
  using input = new Input({ formats: ALL_FORMATS, source: new BufferSource(video) });
  const [pictures, sound] = [await input.getPrimaryVideoTrack(), await input.getPrimaryAudioTrack()];
  const of = async (track: typeof pictures | typeof sound) => {
    const found: number[] = [];
    if (track === null) return found;
    for await (const packet of new EncodedPacketSink(track).packets()) found.push(Math.round(packet.timestamp * 1_000));
    return found;
  };
  return { pictures: await of(pictures), sound: await of(sound), audio };
}

describe('the time stamps of the frames decide the timing (C4)', () => {
  test.each([
    ['a constant rate of 30', Array.from({ length: 20 }, (_, at) => Math.round((at * 1_000) / 30))],
    ['a constant rate of 15', Array.from({ length: 20 }, (_, at) => Math.round((at * 1_000) / 15))],
    ['a variable rate', [0, 33, 66, 400, 433, 900, 901, 1_500]],
  ])('%s', async (_name, times) => {
    const base = 5_000_000;
    expect((await timesOf(recording(times.map((at) => base + at)))).pictures).toEqual(times);
  });

  test('frames that carry no time share the length of the recording', async () => {
    expect((await timesOf(recording([0, 0, 0, 0]), 1_000)).pictures).toEqual([0, 250, 500, 750]);
  });

  test('times that go back do not stop the recording', async () => {
    const { pictures } = await timesOf(recording([0, 40, 20, 120]));
    expect([pictures.length, pictures.toSorted((a, b) => a - b)]).toEqual([4, pictures]);
  });

  test('AAC is in the file with its own times; sound of another kind is kept beside it', async () => {
    const frames = recording([1_000, 1_040, 1_080]);
    const sound = (timestamp: number, audioType: number, audio: Uint8Array): AvFrame => ({
      ...frames[0]!,
      timestamp,
      audioType,
      audio,
      video: EMPTY,
      keyFrame: false,
    });
    const aac = [1_010, 1_074].map((at) => sound(at, AudioType.aac, SILENT_AAC_FRAME));
    expect(await timesOf([...frames, ...aac])).toMatchObject({ sound: [10, 74], audio: undefined });
    for (const [name, kind] of Object.entries(AudioType).filter(([, type]) => type !== AudioType.aac)) {
      const { audio, sound: inside } = await timesOf([...frames, sound(1_010, kind, Buffer.from(name))]);
      expect([inside, audio?.extension, Buffer.from(audio!.data).toString()]).toEqual([[], name, name]);
    }
  });

  test('marker frames before and after the pictures are none', async () => {
    const frames = recording([0, 40]);
    const marker = (timestamp: number) => ({ ...frames[0]!, timestamp, video: Uint8Array.of(0, 0, 0, 1, 0x65) });
    expect((await timesOf([marker(0), ...frames, marker(9_000)])).pictures).toEqual([0, 40]);
  });
});

test.each([
  ['any session number', 900, { start: true, end: true }],
  ['no start mark', 1, { start: false, end: true }],
  ['no end mark', 1, { start: true, end: false }],
  ['no mark, and any session number', 4_000_000_000, { start: false, end: false }],
])('a recording with %s is played to its end (C4)', async (_name, sessionNo, marks) => {
  const { clock, camera, client } = await connectedBench();
  camera.answers.set(769, { startPbRet: 0, totalFrame: 3, result: 0 });
  const playing: Promise<AvFrame[]> = drain(client.playback(ITEM));
  await clock.advance(50);
  for (const [at, frame] of recording([0, 40, 80]).entries()) {
    const mark = at === 0 && marks.start ? 2 : at === 2 && marks.end ? 4 : 0;
    const body = encodeAvFrame({ ...frame, mark, sessionNo });
    camera.session.write(Channel.playback, encodeFrame(MessageType.playbackAv, at, body));
  }
  expect((await clock.runUntil(playing)).map(({ frameNumber }) => frameNumber)).toEqual([0, 1, 2]);
  await client.close();
});
