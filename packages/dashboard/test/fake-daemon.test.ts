import {
  cameraSchema,
  daemonStatusSchema,
  deletedMediaSchema,
  downloadSchema,
  eventBatchSchema,
  inviteSchema,
  issuedInviteSchema,
  mediaDaySchema,
  mediaListSchema,
  networkCheckSchema,
  peerDetailSchema,
  relaySchema,
  routePath,
} from '@towpath/dashboard/api';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import WebSocket from 'ws';
import { z } from 'zod';
import { FAKE_TOKEN, FakeDaemon } from './fake-daemon.ts';
import { FAKE_PARTY, FakeData } from './fake-data.ts';

/** The page is tested against this daemon, so what it says must be what the real one may say. */
describe('the daemon that the page is tested against (C13)', () => {
  let daemon: FakeDaemon;
  let cookie = '';
  beforeAll(async () => {
    daemon = await new FakeDaemon({ page: import.meta.dirname }).listen();
  });
  afterAll(() => daemon.stop());

  const request = async (method: string, path: string, body?: unknown): Promise<unknown> => {
    const answer = await fetch(new URL(path, daemon.url), {
      method,
      headers: { cookie, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    if (!answer.ok) throw new Error(`${answer.status}: ${await answer.text()}`);
    return answer.status === 204 ? undefined : answer.json();
  };

  test('lets nobody in without its token', async () => {
    await expect(request('GET', '/v1/status')).rejects.toThrow(/401/);
    await expect(request('POST', '/v1/session', { token: 'wrong' })).rejects.toThrow(/401/);
    const answer = await fetch(new URL('/v1/session', daemon.url), {
      method: 'POST',
      body: JSON.stringify({ token: FAKE_TOKEN }),
    });
    cookie = answer.headers.getSetCookie()[0]?.split(';')[0] ?? '';
    expect(answer.status).toBe(204);
  });

  test('answers as the schemas say', async () => {
    const party = { party: FAKE_PARTY };
    const camera = { camera: 'feeder' };
    const answers: [z.ZodType, unknown][] = [
      [daemonStatusSchema, await request('GET', '/v1/status')],
      [peerDetailSchema, await request('GET', routePath('peer', { ...party, peer: 'peer-005' }))],
      [peerDetailSchema, await request('GET', routePath('peer', { ...party, peer: 'peer-010' }))],
      [z.array(relaySchema), await request('GET', '/v1/relays')],
      [networkCheckSchema, await request('GET', '/v1/netcheck')],
      [z.array(inviteSchema), await request('GET', routePath('invites', party))],
      [issuedInviteSchema, await request('POST', routePath('createInvite', party), { uses: 2 })],
      [z.array(cameraSchema), await request('GET', '/v1/cameras')],
      [z.array(mediaDaySchema), await request('GET', routePath('days', camera))],
      [mediaListSchema, await request('GET', `${routePath('media', camera)}?limit=10`)],
      [downloadSchema, await request('POST', routePath('createDownload', camera), {})],
      [
        deletedMediaSchema,
        await request('POST', routePath('deleteMedia', camera), {
          items: ['100-0005'],
          from: 'both',
          confirm: 'feeder',
        }),
      ],
    ];
    for (const [schema, answer] of answers) expect(() => schema.parse(answer)).not.toThrow();
  });

  test('sends batches of events as the schema says', async () => {
    const socket = new WebSocket(new URL('/v1/events', daemon.url.replace('http', 'ws')), { headers: { cookie } });
    const batches: unknown[] = [];
    socket.on('message', (message) => batches.push(JSON.parse(String(message))));
    await expect.poll(() => batches.length).toBe(1);
    daemon.emit({ type: 'camera', camera: daemon.data.cameras[0]! });
    await expect.poll(() => batches.length).toBeGreaterThan(1);
    for (const batch of batches) expect(() => eventBatchSchema.parse(batch)).not.toThrow();
    socket.close();
  });

  test('has the same data each time, also in its large size', () => {
    const [one, two] = [new FakeData({ peers: 200, pictures: 5_000 }), new FakeData({ peers: 200, pictures: 5_000 })];
    expect(one.peers).toHaveLength(200);
    expect(one.media.get('feeder')).toHaveLength(5_000);
    expect(one.status(0, 'r')).toEqual(two.status(0, 'r'));
  });
});
