import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  cameraSchema,
  type Camera,
  type DaemonEvent,
  daemonHealthSchema,
  daemonStatusSchema,
  decodeLiveFrame,
  deletedMediaSchema,
  type Download,
  downloadSchema,
  errorAnswerSchema,
  eventBatchSchema,
  liveMessageSchema,
  mediaDaySchema,
  type MediaList,
  mediaListSchema,
  networkCheckSchema,
  type Problem,
  routePath,
} from '@towpath/dashboard/api';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { z } from 'zod';
import { body, type DaemonRig, daemonRig, emulatedCamera, until } from './daemon-rig.ts';

describe('the API of a daemon with a camera (B13, C13)', () => {
  let rig: DaemonRig;
  const feeder = { camera: 'feeder' };
  beforeAll(async () => {
    rig = await daemonRig();
    // A file counts as saved a moment after it is no longer missing.
    await until(async () => (await camera()).pictures.saved === 6);
  });
  afterAll(() => rig[Symbol.asyncDispose]());

  const camera = () => rig.json<Camera>(routePath('camera', feeder));
  const media = (query = '') => rig.json<MediaList>(`${routePath('media', feeder)}${query}`);

  test('live video is sent as MP4 until the reader leaves, and an unknown camera is a 404', async () => {
    const leave = new AbortController();
    const answer = await rig.ask(routePath('liveFile', feeder), { signal: leave.signal });
    expect([answer.status, answer.headers.get('content-type')]).toEqual([200, 'video/mp4']);
    let bytes = Buffer.alloc(0);
    for await (const part of answer.body!) {
      bytes = Buffer.concat([bytes, part]);
      if (bytes.includes('moof')) break;
    }
    expect(bytes.subarray(4, 8).toString()).toBe('ftyp');
    leave.abort();
    expect((await rig.ask(routePath('liveFile', { camera: 'absent' }))).status).toBe(404);
  });

  test('the camera is held: connected, listed, and what was on the card is on disk', async () => {
    const found = cameraSchema.parse(await camera());
    expect(found).toMatchObject({ state: 'connected', problem: null, device: { model: 'KJK230' } });
    expect(found.pictures.saved).toBe(found.pictures.onCard);
    expect(found.race?.attempts.find(({ id }) => id === found.race?.winner)?.state).toBe('success');
    const { cameras } = daemonStatusSchema.parse(await rig.json('/v1/status'));
    expect(cameras.map(({ name }) => name)).toEqual(['feeder']);
    expect(daemonHealthSchema.parse(await rig.json('/health')).status).toBe('ok');
  });

  test('pictures are listed by day, newest first, in pages', async () => {
    const all = mediaListSchema.parse(await media());
    const days = z.array(mediaDaySchema).parse(await rig.json(routePath('days', feeder)));
    expect(days.reduce((sum, { photos, videos }) => sum + photos + videos, 0)).toBe(all.items.length);
    const [first] = days;
    const ofDay = await media(`?day=${first!.day}`);
    expect(ofDay.items.every(({ day }) => day === first!.day)).toBe(true);
    const times = all.items.map(({ takenAt }) => takenAt ?? '');
    expect(times).toEqual(times.toSorted().reverse());
    const page = await media('?limit=2');
    expect(page.items).toHaveLength(2);
    const rest = await media(`?limit=500&after=${page.next}`);
    expect([...page.items, ...rest.items].map(({ id }) => id)).toEqual(all.items.map(({ id }) => id));
    expect((await rig.ask(`${routePath('media', feeder)}?day=yesterday`)).status).toBe(400);
  });

  test('a picture and its thumbnail are served, whole, in part, and as an attachment', async () => {
    const item = (await media()).items.find(({ kind, saved }) => kind === 'photo' && saved)!;
    const thumbnail = await rig.ask(item.thumbnailUrl);
    expect([thumbnail.status, thumbnail.headers.get('content-type')]).toEqual([200, 'image/jpeg']);
    const whole = Buffer.from(await (await rig.ask(item.fileUrl!)).arrayBuffer());
    expect([whole.length, whole.readUInt16BE(0)]).toEqual([item.bytes, 0xffd8]);
    const part = await rig.ask(item.fileUrl!, { headers: { range: 'bytes=2-5' } });
    expect([part.status, part.headers.get('content-range')]).toEqual([206, `bytes 2-5/${whole.length}`]);
    expect(Buffer.from(await part.arrayBuffer())).toEqual(whole.subarray(2, 6));
    const beyond = await rig.ask(item.fileUrl!, { headers: { range: `bytes=${whole.length}-` } });
    expect(beyond.status).toBe(416);
    const attachment = await rig.ask(`${item.fileUrl}?download`);
    expect(attachment.headers.get('content-disposition')).toMatch(/^attachment; filename="[\w+-]+\.jpg"$/);
    await attachment.arrayBuffer();
    expect((await rig.ask(routePath('file', { ...feeder, media: '../../../etc/passwd' }))).status).toBe(404);
  });

  test('deleting takes the name of the camera, and what was deleted from the disk can be downloaded again', async () => {
    const item = (await media()).items.find(({ kind }) => kind === 'photo')!;
    const path = routePath('deleteMedia', feeder);
    const wrong = await rig.ask(path, body({ items: [item.id], from: 'disk', confirm: 'barn' }));
    expect([wrong.status, (await problemOf(wrong)).code]).toEqual([400, 'confirmation-required']);
    const gone = deletedMediaSchema.parse(
      await rig.json(path, body({ items: [item.id], from: 'disk', confirm: 'feeder' })),
    );
    expect(gone).toEqual({ deleted: [item.id], failed: [] });
    expect((await media()).items.find(({ id }) => id === item.id)).toMatchObject({ saved: false, onCard: true });
    // What is not here is not deleted from the card by mistake.
    const unsafe = await rig.json(path, body({ items: [item.id], from: 'card', confirm: 'feeder' }));
    expect(unsafe).toMatchObject({ deleted: [], failed: [{ id: item.id, problem: { code: 'not-saved' } }] });

    const started = downloadSchema.parse(
      await rig.json(routePath('createDownload', feeder), body({ items: [item.id] })),
    );
    const state = async () => (await rig.json<Download[]>('/v1/downloads')).find(({ id }) => id === started.id)?.state;
    await expect.poll(state, { interval: 20 }).toBe('done');
    expect((await media()).items.find(({ id }) => id === item.id)?.saved).toBe(true);

    const both = await rig.json(path, body({ items: [item.id], from: 'both', confirm: 'feeder' }));
    expect(both).toMatchObject({ deleted: [item.id] });
    expect((await media()).items.some(({ id }) => id === item.id)).toBe(false);
  });

  test('a new picture is fetched and told in the events, which a page continues after it was away', async () => {
    const events: DaemonEvent[] = [];
    let run = '';
    let sequence = 0;
    const open = (query: string) => {
      const socket = new WebSocket(`${rig.address.replace('http', 'ws')}/v1/events${query}`, {
        headers: { authorization: `Bearer ${rig.token}` },
      });
      const resets: boolean[] = [];
      socket.on('message', (data) => {
        const batch = eventBatchSchema.parse(JSON.parse(String(data)));
        ({ run, sequence } = batch);
        resets.push(batch.reset);
        events.push(...batch.events);
      });
      return { socket, resets };
    };
    const { socket } = open('');
    await expect.poll(() => run).not.toBe('');
    socket.close();
    const before = sequence;
    rig.camera.takePicture();
    await expect
      .poll(
        async () =>
          (await camera()).pictures.missing === 0 &&
          (await rig.json<{ sequence: number }>('/v1/status')).sequence > before,
        { interval: 50 },
      )
      .toBe(true);
    const again = open(`?run=${run}&after=${before}`);
    await expect
      .poll(() => events.some((event) => event.type === 'media' && event.item.saved), { interval: 20 })
      .toBe(true);
    expect(again.resets[0]).toBe(false);
    again.socket.close();
    const stranger = open(`?run=another&after=3`);
    await expect.poll(() => stranger.resets.length, { interval: 10 }).toBeGreaterThan(0);
    expect(stranger.resets[0]).toBe(true);
    stranger.socket.close();
  });

  test('live video begins with its codec and a key frame', async () => {
    const socket = new WebSocket(`${rig.address.replace('http', 'ws')}${routePath('live', feeder)}`, {
      headers: { authorization: `Bearer ${rig.token}` },
    });
    const texts: unknown[] = [];
    const frames: ReturnType<typeof decodeLiveFrame>[] = [];
    socket.on('message', (data, isBinary) => {
      if (isBinary) frames.push(decodeLiveFrame(data as Buffer));
      else texts.push(liveMessageSchema.parse(JSON.parse(String(data))));
    });
    await expect.poll(() => frames.length, { interval: 20 }).toBeGreaterThan(3);
    socket.close();
    expect(texts[0]).toMatchObject({ type: 'start', codec: expect.stringMatching(/^avc1\.[0-9a-f]{6}$/) });
    expect(frames[0]?.keyFrame).toBe(true);
    expect([...frames[0]!.data.subarray(0, 4)]).toEqual([0, 0, 0, 1]);
  });

  test('a camera is added and removed while the daemon runs; the file keeps its comments', async () => {
    const path = join(rig.commandLine.file('config'), 'config.yaml');
    const { camera: second, flags } = await emulatedCamera();
    const added = await rig.commandLine.run(['camera', 'add', 'barn', '127.0.0.1', ...flags]);
    expect(added.code).toBe(0);
    const names = async () => (await rig.json<Camera[]>('/v1/cameras')).map(({ name }) => name);
    await expect.poll(names, { interval: 50 }).toEqual(['feeder', 'barn']);
    const wrong = await rig.ask('/v1/cameras', body({ name: '../x', target: '127.0.0.1' }));
    expect([wrong.status, (await problemOf(wrong)).code]).toEqual([400, 'invalid-request']);
    const twice = await rig.ask('/v1/cameras', body({ name: 'barn', target: '127.0.0.1' }));
    expect(twice.status).toBe(409);
    const removed = await rig.commandLine.run(['camera', 'remove', 'barn']);
    expect(removed.code).toBe(0);
    expect(await names()).toEqual(['feeder']);
    expect(readFileSync(path, 'utf8')).not.toContain('barn');
    await second.close();
  });

  test('the network is measured when a page asks for it', async () => {
    const started = networkCheckSchema.parse(await rig.json('/v1/netcheck', { method: 'POST' }));
    expect(started.running).toBe(true);
    await expect
      .poll(async () => networkCheckSchema.parse(await rig.json('/v1/netcheck')).running, { interval: 100 })
      .toBe(false);
    const { report } = networkCheckSchema.parse(await rig.json('/v1/netcheck'));
    expect(report?.text.length).toBeGreaterThan(0);
  });

  test('commands show the same: status, why, list, logs, and the link of the page', async () => {
    const status = await rig.commandLine.run(['status', '--json']);
    expect(JSON.parse(status.out[0]!)).toMatchObject({ type: 'status', version: 1, cameras: [{ name: 'feeder' }] });
    const why = await rig.commandLine.run(['why', 'feeder', '--json']);
    expect([why.code, JSON.parse(why.out[0]!).verdict]).toEqual([0, 'direct']);
    const list = await rig.commandLine.run(['camera', 'list', '--json']);
    expect(JSON.parse(list.out[0]!).cameras).toMatchObject([{ name: 'feeder', state: 'connected' }]);
    const logs = await rig.commandLine.run(['logs', '-n', '1000']);
    expect(logs.out.join('\n')).toContain('feeder is connected');
    const link = await rig.commandLine.run(['dashboard']);
    expect(link.out).toEqual([`${rig.address}/#token=${rig.token}`]);
    expect(logs.out.join('\n')).not.toContain(rig.token);
    const unknown = await rig.commandLine.run(['why', 'nobody']);
    expect([unknown.code, unknown.err]).toEqual([2, expect.stringContaining('No member or camera nobody')]);
  });

  test('a lost camera is told, and why it is not reached', async () => {
    // Silence is noticed after about 8 s.
    rig.camera.reboot({ downMs: 20_000 });
    await expect.poll(async () => (await camera()).state, { interval: 50 }).toBe('reconnecting');
    const why = await rig.commandLine.run(['why', 'feeder', '--json']);
    expect([why.code, JSON.parse(why.out[0]!).verdict]).toEqual([20, 'unreachable']);
    await expect.poll(async () => (await camera()).state, { interval: 50, timeout: 60_000 }).toBe('connected');
  }, 120_000);
});

async function problemOf(answer: Response): Promise<Problem> {
  return errorAnswerSchema.parse(await answer.json()).error;
}
