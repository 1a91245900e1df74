import { describe, expect, test } from 'vitest';
import type { AvFrame } from '../src/artemis/av.ts';
import { encodeAvFrame } from '../src/artemis/av.ts';
import { Channel, encodeFrame, MessageType } from '../src/artemis/frame.ts';
import type { CameraClient } from '../src/client/camera-client.ts';
import { connectedBench, drain, failure } from './client-fixture.ts';

/** Reads a live stream in the background. */
function watch(client: CameraClient, options: { maxQueuedFrames?: number } = {}) {
  const numbers: number[] = [];
  const abort = new AbortController();
  const ended = (async () => {
    for await (const frame of client.live({ signal: abort.signal, ...options })) numbers.push(frame.frameNumber);
  })().catch((error: Error) => error.message);
  return { numbers, ended, stop: () => abort.abort(new Error('stopped')) };
}

describe('live video', () => {
  test('starts with a key frame and stops the camera at the end (B13)', async () => {
    const { clock, camera, client } = await connectedBench();
    const stream = watch(client);
    await clock.advance(50);
    expect(camera.liveRunning).toBe(true);
    camera.live(1);
    camera.live(2, { keyFrame: true });
    camera.live(3);
    await clock.advance(50);
    stream.stop();
    expect(await clock.runUntil(stream.ended)).toBe('stopped');
    expect(stream.numbers).toEqual([2, 3]);
    expect(camera.liveRunning).toBe(false);
  });

  test('leaves frames out after a damaged one, up to the next key frame (B13)', async () => {
    const { clock, camera, client } = await connectedBench();
    const stream = watch(client);
    await clock.advance(50);
    camera.live(1, { keyFrame: true });
    camera.live(2, { damaged: true });
    camera.live(3);
    camera.live(4, { keyFrame: true });
    camera.live(5);
    await clock.advance(50);
    expect(stream.numbers).toEqual([1, 4, 5]);
  });

  test('drops what a slow reader did not take and goes on at a key frame (B13)', async () => {
    const { clock, camera, client } = await connectedBench();
    const numbers: number[] = [];
    const reading = (async () => {
      for await (const frame of client.live({ maxQueuedFrames: 3 })) {
        numbers.push(frame.frameNumber);
        await clock.sleep(1000);
        if (frame.frameNumber === 9) return;
      }
    })();
    await clock.advance(50);
    camera.live(1, { keyFrame: true });
    await clock.advance(50);
    for (let n = 2; n <= 9; n++) camera.live(n, { keyFrame: n === 8 });
    await clock.runUntil(reading);
    expect(numbers).toEqual([1, 8, 9]);
  });

  test('is shared: one start for two readers, one stop after the last (B13)', async () => {
    const { clock, camera, client } = await connectedBench();
    const a = watch(client);
    const b = watch(client);
    await clock.advance(50);
    camera.live(1, { keyFrame: true });
    await clock.advance(50);
    a.stop();
    await clock.advance(50);
    camera.live(2);
    await clock.advance(50);
    b.stop();
    await clock.runUntil(Promise.all([a.ended, b.ended]));
    expect([a.numbers, b.numbers]).toEqual([[1], [1, 2]]);
    expect([camera.count(258), camera.count(259)]).toEqual([1, 1]);
  });

  test('goes on by itself after a reconnect, with a key frame (B5)', async () => {
    const { clock, camera, client } = await connectedBench();
    const stream = watch(client);
    await clock.advance(50);
    camera.live(1, { keyFrame: true });
    await clock.advance(50);
    await camera.session.close();
    await clock.advance(2000);
    expect(camera.count(258)).toBe(2);
    camera.live(2);
    camera.live(3, { keyFrame: true });
    await clock.advance(50);
    expect(stream.numbers).toEqual([1, 3]);
  });
});

describe('a stream that stands still', () => {
  test('is started again when it is live (B13)', async () => {
    const { clock, camera, client } = await connectedBench();
    const stream = watch(client);
    await clock.advance(50);
    camera.live(1, { keyFrame: true });
    await clock.advance(4000);
    expect(camera.count(258)).toBe(1);
    await clock.advance(2000);
    expect(camera.count(258)).toBe(2);
    stream.stop();
    expect(await clock.runUntil(stream.ended)).toBe('stopped');
  });

  test('is a failure when it is a recording (B3)', async () => {
    const { clock, camera, client } = await connectedBench();
    const playing = failure(drain(client.playback({ fileType: 1, dirNum: 100, mediaNum: 5 })));
    expect(await clock.runUntil(playing)).toMatchObject({ code: 'transfer-stalled' });
    expect(camera.requests.at(-1)!.json.cmdId).toBe(770);
  });
});

describe('playback', () => {
  test('counts the frames that are missing: damaged ones, and those up to the next key frame (C2)', async () => {
    const { clock, camera, client } = await connectedBench();
    const lost: number[] = [];
    const playing = drain(
      client.playback({ fileType: 1, dirNum: 100, mediaNum: 5 }, { onLost: (frames) => lost.push(frames) }),
    );
    await clock.advance(50);
    const { sessionNo } = camera.requests.at(-1)!.json as { sessionNo: number };
    const header = { timestamp: 0, width: 1, height: 1, audioType: 0, sessionNo, videoType: 0 };
    const data = { video: Buffer.from('a frame'), audio: new Uint8Array(0) };
    for (let frameNumber = 1; frameNumber <= 8; frameNumber++) {
      const mark = frameNumber === 1 ? 2 : frameNumber === 8 ? 4 : 0;
      const body = encodeAvFrame({ ...header, ...data, frameNumber, mark, keyFrame: frameNumber % 4 === 1 });
      if (frameNumber === 2) body[body.length - 1]! ^= 0xff;
      camera.session.write(Channel.playback, encodeFrame(MessageType.playbackAv, frameNumber, body));
    }
    // What follows the end is no part of the recording.
    camera.session.write(Channel.playback, encodeFrame(MessageType.playbackAv, 9, new Uint8Array(8)));
    const frames = await clock.runUntil(playing);
    expect(frames.map(({ frameNumber }) => frameNumber)).toEqual([1, 5, 6, 7, 8]);
    expect(lost).toEqual([3]);
  });

  test('yields the frames of its session from the start frame to the end, then stops the camera (B3)', async () => {
    const { clock, camera, client } = await connectedBench();
    const body = (frameNumber: number, mark: number, sessionNo: number) =>
      encodeAvFrame({
        frameNumber,
        timestamp: frameNumber * 40,
        keyFrame: frameNumber === 2,
        width: 1920,
        height: 1080,
        audioType: 0,
        mark,
        sessionNo,
        videoType: 0,
        video: Buffer.from(`frame ${frameNumber}`),
        audio: new Uint8Array(0),
      });
    camera.answers.set(769, { startPbRet: 0, videoWidth: 1920, result: 0 });
    const playing: Promise<AvFrame[]> = drain(client.playback({ fileType: 1, dirNum: 100, mediaNum: 5 }));
    await clock.advance(50);
    const { sessionNo } = camera.requests.at(-1)!.json as { sessionNo: number };
    for (const [n, mark, session] of [
      [1, 0, sessionNo],
      [9, 2, sessionNo + 1],
      [2, 2, sessionNo],
      [3, 0, sessionNo],
      [4, 4, sessionNo],
      [5, 0, sessionNo],
    ] as const) {
      camera.session.write(Channel.playback, encodeFrame(MessageType.playbackAv, n, body(n, mark, session)));
    }
    const frames = await clock.runUntil(playing);
    expect(frames.map(({ frameNumber }) => frameNumber)).toEqual([2, 3, 4]);
    expect(Buffer.from(frames[0]!.video).toString()).toBe('frame 2');
    expect(camera.requests.at(-1)!.json.cmdId).toBe(770);
  });
});
