import { createHmac } from 'node:crypto';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { request } from 'node:http';
import { connect } from 'node:net';
import { SeededRandom, SystemClock } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type AvFrame, VideoType } from '../src/artemis/av.ts';
import { LiveScene } from '../src/emulator/media/live-scene.ts';
import { EventQueue } from '../src/outputs/events/event-queue.ts';
import { ReceiverHealth } from '../src/outputs/events/receiver-health.ts';
import { HttpOutputs } from '../src/outputs/http/http-outputs.ts';
import { NewestPicture } from '../src/outputs/newest-picture.ts';
import { Webhook } from '../src/outputs/webhook.ts';
import { Hotspot } from './emulator-fixture.ts';
import { item } from './media-items.ts';

const picture = (mediaNum: number) => ({
  camera: 'C2:00:5E:00:53:0A',
  item: item(mediaNum),
  takenAt: undefined,
  jpeg: Uint8Array.of(1, 2, 3),
});

describe('the webhook (B13)', () => {
  async function receiver(answers: (number | Error)[]) {
    const clock = new VirtualClock();
    const received: { body: { mediaNum: number; jpeg: string }; signature: string; text: string; redirect: unknown }[] =
      [];
    const send = (async (_url: string, init: RequestInit) => {
      const answer = answers.shift() ?? 200;
      const text = String(init.body);
      const signature = (init.headers as Record<string, string>)['x-towpath-signature'] ?? '';
      received.push({ body: JSON.parse(text), signature, text, redirect: init.redirect });
      if (answer instanceof Error) throw answer;
      return new Response('', { status: answer });
    }) as typeof fetch;
    const random = new SeededRandom(1);
    const queue = await EventQueue.open({ clock });
    const health = new ReceiverHealth({ clock });
    const webhook = new Webhook(
      { clock, random, queue, health, fetch: send },
      { url: 'https://example.org/hook', secret: 'key' },
    );
    return { clock, webhook, received, health };
  }

  test('posts each picture with its data and a signature', async () => {
    const { clock, webhook, received } = await receiver([]);
    await webhook.picture(picture(1));
    await clock.advance(10);
    expect(received.map(({ body }) => [body.mediaNum, body.jpeg])).toEqual([[1, 'AQID']]);
    const { text, signature } = received[0]!;
    expect(signature).toBe(`sha256=${createHmac('sha256', 'key').update(text).digest('hex')}`);
    await webhook[Symbol.asyncDispose]();
    expect(clock.pendingTimers).toBe(0);
  });

  test.each([
    new Error('connect ECONNREFUSED 192.0.2.1:80'),
    new AggregateError([new Error('connect ECONNREFUSED 192.0.2.1:80'), new Error('connect EHOSTUNREACH ::1')]),
  ])('says why a request failed, which the platform tells in the cause: %s', async (cause) => {
    const { clock, webhook, health } = await receiver([new TypeError('fetch failed', { cause })]);
    await webhook.picture(picture(1));
    await clock.advance(10);
    expect(health.failure?.message).toBe('connect ECONNREFUSED 192.0.2.1:80');
    await webhook[Symbol.asyncDispose]();
  });

  test('tries again, in order, until the receiver takes it', async () => {
    const { clock, webhook, received } = await receiver([new Error('down'), 503, 429, 200]);
    await webhook.picture(picture(1));
    await webhook.picture(picture(2));
    await clock.advance(60_000);
    expect(received.map(({ body }) => body.mediaNum)).toEqual([1, 1, 1, 1, 2]);
    expect(webhook.waiting).toBe(0);
    await webhook[Symbol.asyncDispose]();
    expect(clock.pendingTimers).toBe(0);
  });

  test('does not follow a receiver to another URL, says so, and keeps the picture', async () => {
    const { clock, webhook, received, health } = await receiver([307]);
    await webhook.picture(picture(1));
    await clock.advance(10);
    expect(health.failure?.message).toBe(
      'The receiver answered with status 307: it is at another URL, which is not followed; it is asked again. Next: give that URL.',
    );
    expect([webhook.waiting, received[0]?.redirect]).toEqual([1, 'manual']);
    await webhook[Symbol.asyncDispose]();
  });

  test('drops what the receiver refuses, and ends in the middle of a pause', async () => {
    const { clock, webhook, received } = await receiver([404, new Error('down')]);
    await webhook.picture(picture(1));
    await webhook.picture(picture(2));
    await clock.advance(100);
    expect(received.map(({ body }) => body.mediaNum)).toEqual([1, 2]);
    await webhook[Symbol.asyncDispose]();
    expect(clock.pendingTimers).toBe(0);
  });
});

describe('the newest picture', () => {
  test('is downloaded once for all who ask', async () => {
    const hotspot = new Hotspot();
    const camera = await hotspot.camera({ itemCount: 3 });
    const client = await hotspot.connected();
    const newest = new NewestPicture({ client });
    const before = camera.counters.commands;
    const [one, two] = await hotspot.run(Promise.all([newest.read(), newest.read()]));
    expect(one?.length).toBeGreaterThan(10_000);
    expect(two).toBe(one);
    expect(camera.counters.commands - before).toBe(2);
    expect(await hotspot.run(newest.read())).toBe(one);
    expect(camera.counters.commands - before).toBe(3);
    camera.takePicture();
    expect(await hotspot.run(newest.read())).not.toBe(one);
    expect(await hotspot.end()).toEqual({ sockets: 0, timers: 0 });
  });
});

describe('pictures over HTTP (B13)', () => {
  const clock = new SystemClock();
  const scene = new LiveScene(1, 'TEST', 40_000);
  let outputs: HttpOutputs;
  let running: number;
  let videoType: number;

  /** A camera that sends 50 pictures per second. */
  const source = {
    async *live({ signal }: { signal?: AbortSignal } = {}): AsyncGenerator<AvFrame, void, undefined> {
      running++;
      try {
        for (let n = 0; ; n++) {
          const { data, keyFrame } = scene.next(40_000);
          const kind = {
            frameNumber: n,
            timestamp: n * 20_000,
            width: 1280,
            height: 720,
            audioType: 0,
            mark: 0,
            sessionNo: 0,
          };
          if (n > 0 || keyFrame) {
            yield {
              ...kind,
              keyFrame,
              videoType,
              video: data,
              audio: new Uint8Array(0),
              intact: true,
              trailingBytes: 0,
            };
          }
          await clock.sleep(20, signal);
        }
      } finally {
        running--;
      }
    },
  };

  beforeEach(async () => {
    running = 0;
    videoType = VideoType.h264;
    const newest = { read: async () => Uint8Array.of(0xff, 0xd8, 0xff, 0xd9) };
    outputs = await HttpOutputs.listen({ clock, source, newest }, { port: 0, user: 'me', password: 'p:w' });
  });

  afterEach(async () => {
    await outputs[Symbol.asyncDispose]();
    expect(running).toBe(0);
  });

  interface Answer {
    status: number;
    type: string;
    bytes: Buffer;
  }

  /** Reads an answer, of a stream the first `limit` bytes. */
  function get(path: string, headers: Record<string, string> = {}, limit = 50_000, login = 'me:p:w'): Promise<Answer> {
    const authorization = `Basic ${Buffer.from(login).toString('base64')}`;
    return new Promise((resolve, reject) => {
      const { address, port } = outputs.local;
      const asked = request({ host: address, port, path, headers: { authorization, ...headers } }, (response) => {
        const parts: Buffer[] = [];
        const done = () => {
          const { statusCode: status = 0, headers: told } = response;
          resolve({ status, type: told['content-type'] ?? '', bytes: Buffer.concat(parts) });
        };
        response.on('data', (part: Buffer) => {
          parts.push(part);
          if (Buffer.concat(parts).length < limit) return;
          done();
          response.destroy();
        });
        response.on('end', done);
      });
      asked.on('error', reject);
      asked.end();
    });
  }

  test('connections that send nothing keep nobody out', async () => {
    const { address, port } = outputs.local;
    const idle = Array.from({ length: 100 }, () => connect(port, address).on('error', () => {}));
    await Promise.all(idle.map((socket) => once(socket, 'connect')));
    for (const socket of idle) socket.write('GET /snap');
    expect((await get('/snapshot.jpg')).status).toBe(200);
    for (const socket of idle) socket.destroy();
  });

  test('a connection that asks again and again without reading is closed', async () => {
    const { address, port } = outputs.local;
    const socket = connect(port, address).on('error', () => {});
    socket.write('GET /snapshot.jpg HTTP/1.1\r\nHost: localhost\r\n\r\n'.repeat(1_000));
    socket.resume();
    await once(socket, 'close');
    expect((await get('/snapshot.jpg')).status).toBe(200);
  });

  test('the newest photo is a snapshot', async () => {
    const answer = await get('/snapshot.jpg');
    expect(answer).toEqual({ status: 200, type: 'image/jpeg', bytes: Buffer.of(0xff, 0xd8, 0xff, 0xd9) });
  });

  test('HEAD says what GET would bring, and begins no live stream; other methods are refused', async () => {
    const { address, port } = outputs.local;
    const authorization = `Basic ${Buffer.from('me:p:w').toString('base64')}`;
    const ask = async (method: string, path: string) => {
      const answer = await fetch(`http://${address}:${port}${path}`, { method, headers: { authorization } });
      const { status, headers } = answer;
      return [status, headers.get('content-type'), headers.get('content-length'), (await answer.bytes()).length];
    };
    expect(await ask('HEAD', '/snapshot.jpg')).toEqual([200, 'image/jpeg', '4', 0]);
    expect(await ask('HEAD', '/live.mp4')).toEqual([200, 'video/mp4', null, 0]);
    expect((await ask('HEAD', '/none'))[0]).toBe(404);
    expect((await ask('POST', '/snapshot.jpg'))[0]).toBe(405);
    expect(running).toBe(0);
  });

  test('a name that is not served is told where to add it, in the configuration and on the command line', async () => {
    const { bytes } = await get('/snapshot.jpg', { host: 'camera.lan' });
    expect(bytes.toString()).toContain('allow-hosts in the configuration, or give --allow-host');
  });

  test.each([
    ['no password', {}, ':', 401],
    ['a wrong password', {}, 'me:p', 401],
    ['the name of another site', { host: 'evil.example' }, 'me:p:w', 403],
    ['a page of another site', { origin: 'http://evil.example' }, 'me:p:w', 403],
    ['a host that is none', { host: 'a b' }, 'me:p:w', 403],
  ])('%s is refused', async (_name, headers, login, status) => {
    const answer = await get('/snapshot.jpg', headers, 1_000, login);
    expect(answer.status).toBe(status);
    expect(answer.bytes).not.toContain(0xff);
  });

  test('live MP4 begins at once and ends with its viewer', async () => {
    const { status, type, bytes } = await get('/live.mp4');
    expect([status, type, bytes.toString('latin1', 4, 8)]).toEqual([200, 'video/mp4', 'ftyp']);
    await expect.poll(() => [running, outputs.streams]).toEqual([0, 0]);
  });

  test("the camera's own motion JPEG passes unchanged", async () => {
    videoType = VideoType.mjpeg;
    const { type, bytes } = await get('/live.mjpeg', {}, 1_000);
    expect(type).toBe('multipart/x-mixed-replace; boundary=towpath');
    expect(bytes.toString('latin1', 0, 80)).toMatch(
      /^--towpath\r\nContent-Type: image\/jpeg\r\nContent-Length: \d+\r\n\r\n/,
    );
  });

  test('H.264 is converted where ffmpeg is installed; elsewhere the answer says what is missing', async () => {
    const hasFfmpeg = spawnSync('ffmpeg', ['-version']).error === undefined;
    const { status, bytes } = await get('/live.mjpeg', {}, 1_000);
    expect(status).toBe(hasFfmpeg ? 200 : 501);
    expect(bytes.toString('latin1')).toMatch(hasFfmpeg ? /--towpath\r\nContent-type: image\/jpeg/i : /install ffmpeg/);
    await expect.poll(() => running).toBe(0);
  });

  test('nothing else is served', async () => {
    expect((await get('/../etc/passwd')).status).toBe(404);
  });
});
