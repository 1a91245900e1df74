import { SeededRandom } from '@towpath/core';
import { describe, expect, test } from 'vitest';
import { encodeAvFrame } from '../src/artemis/av.ts';
import { Channel, encodeFrame, MessageType } from '../src/artemis/frame.ts';
import { encodeFileRecord, encodeThumbnailRecord } from '../src/artemis/record.ts';
import type { CameraClient } from '../src/client/camera-client.ts';
import { recordVideo } from '../src/media/record-video.ts';
import { type Bench, connectedBench, drain, failure } from './client-fixture.ts';

const HOUR_MS = 3_600_000;
const VIDEO = { fileType: 1, dirNum: 100, mediaNum: 5, durationMs: 1000, mediaId: 1, mediaTime: 1 };
const random = new SeededRandom(4);
const NOTHING = new Uint8Array(0);

/** A record of an item that nobody asked for. */
const foreign = (n: number, data = Uint8Array.of(1)) => ({
  deviceId: '00:11:22:33:44:55',
  dirNum: 999,
  mediaNum: n & 0xffff,
  mediaId: n,
  data,
});

type Flood = (n: number) => Uint8Array;

/** One endless frame, a byte at a time. */
function drip(frame: Uint8Array): Flood {
  return (n) => (n === 0 ? frame.subarray(0, 64) : frame.subarray(64 + (n % (frame.length - 64)), 65 + (n % 64)));
}

const FILES: Readonly<Record<string, Flood>> = {
  'records of other items': (n) => encodeFrame(MessageType.file, n, encodeFileRecord(foreign(n))),
  'records that cannot be read': (n) => encodeFrame(MessageType.file, n, Uint8Array.of(1, 2, 3)),
  'frames of another channel': (n) => encodeFrame(MessageType.response, n, random.bytes(50)),
  'bytes of no frame': () => random.bytes(100),
  'a frame of another kind that does not end': drip(encodeFrame(MessageType.response, 1, new Uint8Array(8_000_000))),
  'a record that does not end': drip(
    encodeFrame(MessageType.file, 1, encodeFileRecord(foreign(1, new Uint8Array(8_000_000)))),
  ),
};

const THUMBNAILS: Readonly<Record<string, Flood>> = {
  'records of other items': (n) => encodeFrame(MessageType.thumbnail, n, encodeThumbnailRecord(foreign(n))),
  'frames of another channel': (n) => encodeFrame(MessageType.file, n, random.bytes(50)),
};

const frame = (n: number, more: { sessionNo?: number; video?: Uint8Array; keyFrame?: boolean; mark?: number } = {}) =>
  encodeAvFrame({
    frameNumber: n,
    timestamp: 40 * n,
    keyFrame: true,
    width: 1,
    height: 1,
    audioType: 0,
    videoType: 0,
    mark: 0,
    sessionNo: 1,
    video: Buffer.from('a picture'),
    audio: NOTHING,
    ...more,
  });

function damaged(body: Uint8Array): Uint8Array {
  body[body.length - 1]! ^= 0xff;
  return body;
}

const RECORDINGS: Readonly<Record<string, Flood>> = {
  'frames without data': (n) => encodeFrame(MessageType.playbackAv, n, frame(n, { video: NOTHING })),
  'damaged frames': (n) => encodeFrame(MessageType.playbackAv, n, damaged(frame(n))),
  'frames that cannot be read': (n) => encodeFrame(MessageType.playbackAv, n, new Uint8Array(8)),
  'pictures before a key frame': (n) =>
    encodeFrame(MessageType.playbackAv, n, frame(n, { keyFrame: false, mark: n === 0 ? 2 : 0 })),
  'frames of another channel': (n) => encodeFrame(MessageType.file, n, random.bytes(50)),
  'bytes of no frame': () => random.bytes(100),
};

/** Sends without end, over every session that the client opens. */
function flood({ clock, camera }: Bench, channel: number, everyMs: number, next: Flood): Disposable {
  let n = 0;
  let timer = clock.timer(everyMs, send);
  function send(): void {
    camera.session.write(channel, next(n++));
    timer = clock.timer(everyMs, send);
  }
  return { [Symbol.dispose]: () => timer.cancel() };
}

/** The error of a download from a camera that sends these records for ever; it must come within an hour and a minute. */
async function downloadFrom(
  channel: number,
  everyMs: number,
  next: Flood,
  download: (client: CameraClient, bench: Bench) => Promise<unknown>,
) {
  const bench = await connectedBench();
  const { clock, camera, client } = bench;
  camera.fill(60, 100);
  camera.stuckTransfers = true;
  const startedAt = clock.now();
  let error: Awaited<ReturnType<typeof failure>>;
  {
    using _flood = flood(bench, channel, everyMs, next);
    error = await clock.runUntil(failure(download(client, bench)), 2 * HOUR_MS);
  }
  const tookMs = clock.now() - startedAt;
  await client.close();
  await clock.advance(10_000);
  return { code: error.code, inTime: tookMs <= HOUR_MS + 60_000, timers: clock.pendingTimers };
}

const ENDED = { code: 'transfer-stalled', inTime: true, timers: 0 };
const floods = (of: Readonly<Record<string, Flood>>) =>
  Object.entries(of).flatMap(([name, next]) => [900, 20].map((everyMs) => [name, everyMs, next] as const));

describe('what a camera sends for ever besides what was asked for cannot keep a download alive (C10)', () => {
  test.each(floods(FILES))('files: %s, every %i ms', async (_name, everyMs, next) => {
    expect(
      await downloadFrom(Channel.file, everyMs, next, (client, { camera }) => drain(client.download(camera.items))),
    ).toEqual(ENDED);
  });

  test.each(floods(THUMBNAILS))('thumbnails: %s, every %i ms', async (_name, everyMs, next) => {
    expect(
      await downloadFrom(Channel.thumbnail, everyMs, next, (client, { camera }) =>
        drain(client.thumbnails(camera.items)),
      ),
    ).toEqual(ENDED);
  });

  test.each(floods(RECORDINGS))('a video: %s, every %i ms', async (_name, everyMs, next) => {
    expect(await downloadFrom(Channel.playback, everyMs, next, (client) => drain(client.playback(VIDEO)))).toEqual(
      ENDED,
    );
  });

  test('a video whose frames come without end is no video', async () => {
    const next: Flood = (n) => encodeFrame(MessageType.playbackAv, n, frame(n));
    const outcome = await downloadFrom(Channel.playback, 9_000, next, (client, { clock }) =>
      recordVideo(client, VIDEO, { clock }),
    );
    expect(outcome).toEqual({ ...ENDED, code: 'item-damaged' });
  });

  test('a video is ended by the number of pictures that was announced, and not after an hour', async () => {
    const next: Flood = (n) => encodeFrame(MessageType.playbackAv, n, frame(n));
    let tookMs = Number.NaN;
    const outcome = await downloadFrom(Channel.playback, 20, next, async (client, { clock, camera }) => {
      camera.answers.set(769, { startPbRet: 0, totalFrame: 20, result: 0 });
      const startedAt = clock.now();
      await recordVideo(client, VIDEO, { clock }).finally(() => {
        tookMs = clock.now() - startedAt;
      });
    });
    expect(outcome).toEqual({ ...ENDED, code: 'item-damaged' });
    // Twice 20 pictures and 300, and the answers of the camera.
    expect(tookMs).toBeLessThan(10_000);
  });

  test('records of other items end files after 128 MiB, whatever their number', async () => {
    const record = encodeFileRecord({ ...foreign(1), data: new Uint8Array(8 * 1024 * 1024) });
    let sent = 0;
    const next: Flood = (n) => {
      sent++;
      return encodeFrame(MessageType.file, n, record);
    };
    const outcome = await downloadFrom(Channel.file, 900, next, (client, { camera }) =>
      drain(client.download(camera.items)),
    );
    expect(outcome).toEqual(ENDED);
    expect(sent).toBeLessThan(20);
  });

  test('also when what was asked for came first, and when the camera ends every session in between', async () => {
    const outcome = await downloadFrom(Channel.file, 500, FILES['records of other items']!, async (client, bench) => {
      const { clock, camera } = bench;
      camera.stuckTransfers = false;
      for (const item of camera.items.slice(10)) camera.passOver.set(`100/${item.mediaNum}`, Number.POSITIVE_INFINITY);
      let timer = clock.timer(60_000, end);
      function end(): void {
        camera.session.end('closed-locally');
        camera.session.other.end('closed-by-peer');
        timer = clock.timer(60_000, end);
      }
      try {
        const failed = (await drain(client.download(camera.items))).filter(({ error }) => error !== undefined);
        throw failed[0]?.error ?? new Error('nothing failed');
      } finally {
        timer.cancel();
      }
    });
    expect(outcome).toMatchObject({
      code: expect.stringMatching(/^(transfer-stalled|item-missing|session-closed)$/),
      inTime: true,
    });
  });
});
