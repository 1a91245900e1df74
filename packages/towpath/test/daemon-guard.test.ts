import { request } from 'node:http';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { type DaemonRig, daemonRig } from './daemon-rig.ts';

/** A request with headers that `fetch` does not let one set. */
function raw(
  rig: DaemonRig,
  options: { path?: string; method?: string; headers?: Record<string, string>; body?: string },
): Promise<{ status: number; headers: Record<string, unknown>; text: string }> {
  const { port } = new URL(rig.address);
  return new Promise((resolve, reject) => {
    const { path = '/v1/status', method = 'GET', headers = {} } = options;
    const asked = request({ host: '127.0.0.1', port, path, method, headers }, (answer) => {
      let text = '';
      answer.on('data', (chunk) => (text += chunk));
      answer.on('end', () => resolve({ status: answer.statusCode ?? 0, headers: answer.headers, text }));
    });
    asked.on('error', reject);
    asked.end(options.body);
  });
}

/** How a WebSocket ends: open, or the status of the refusal. */
function upgrade(rig: DaemonRig, headers: Record<string, string>, path = '/v1/events'): Promise<number | 'open'> {
  return new Promise((resolve) => {
    const socket = new WebSocket(`${rig.address.replace('http', 'ws')}${path}`, { headers });
    socket.once('open', () => {
      socket.close();
      resolve('open');
    });
    socket.on('error', () => {});
    socket.once('unexpected-response', (_request, answer) => {
      resolve(answer.statusCode ?? 0);
      answer.destroy();
    });
  });
}

describe('who may use the API on the loopback address (A10, C13)', () => {
  let rig: DaemonRig;
  let bearer: Record<string, string>;
  beforeAll(async () => {
    rig = await daemonRig();
    bearer = { authorization: `Bearer ${rig.token}` };
  });
  afterAll(() => rig[Symbol.asyncDispose]());

  test('a request with the token is answered; without it, or with a wrong one, it is not', async () => {
    expect((await raw(rig, { headers: bearer })).status).toBe(200);
    for (const headers of [{}, { authorization: 'Bearer wrong' }, { authorization: `Basic ${rig.token}` }]) {
      const { status, text } = await raw(rig, { headers });
      expect([status, JSON.parse(text).error.code]).toEqual([401, 'unauthorized']);
    }
    expect((await raw(rig, { path: '/metrics' })).status).toBe(401);
  });

  test('a host name that was rebound to 127.0.0.1 is refused, whatever token it has', async () => {
    for (const host of ['evil.example', `evil.example:${new URL(rig.address).port}`, '127.0.0.1', '0.0.0.0:80']) {
      const { status } = await raw(rig, { headers: { ...bearer, host } });
      expect([host, status]).toEqual([host, 421]);
    }
    expect((await raw(rig, { path: '/', headers: { host: 'evil.example' } })).status).toBe(421);
  });

  test('another origin is refused, with the token and with the cookie', async () => {
    const cookie = { cookie: await session(rig) };
    for (const origin of ['http://evil.example', 'null', 'http://127.0.0.1:1', `https://${rig.host}`]) {
      for (const who of [bearer, cookie]) {
        const { status, headers } = await raw(rig, { headers: { ...who, origin } });
        expect([origin, status]).toEqual([origin, 403]);
        expect(headers['access-control-allow-origin']).toBeUndefined();
      }
    }
    expect((await raw(rig, { headers: { ...cookie, origin: rig.address } })).status).toBe(200);
  });

  test('a picture or a form of another site is refused by what the browser says of it', async () => {
    const headers = { cookie: await session(rig), 'sec-fetch-mode': 'no-cors' };
    expect((await raw(rig, { headers: { ...headers, 'sec-fetch-site': 'cross-site' } })).status).toBe(403);
    expect((await raw(rig, { headers: { ...headers, 'sec-fetch-site': 'same-site' } })).status).toBe(403);
    expect((await raw(rig, { headers: { ...headers, 'sec-fetch-site': 'same-origin' } })).status).toBe(200);
    const form = { 'content-type': 'text/plain', ...bearer };
    const { status } = await raw(rig, { path: '/v1/cameras', method: 'POST', headers: form, body: '{}' });
    expect(status).toBe(415);
  });

  test('the page gets a cookie for the token once, and loses it again', async () => {
    const wrong = await raw(rig, {
      path: '/v1/session',
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"token":"wrong"}',
    });
    expect(wrong.status).toBe(401);
    const cookie = await session(rig);
    expect(cookie).not.toContain(rig.token);
    expect((await raw(rig, { headers: { cookie } })).status).toBe(200);
    expect(
      (await raw(rig, { headers: { cookie: `${cookie.slice(0, -1)}${cookie.endsWith('0') ? '1' : '0'}` } })).status,
    ).toBe(401);
    const ended = await raw(rig, { path: '/v1/session', method: 'DELETE', headers: { cookie } });
    expect(String(ended.headers['set-cookie'])).toContain('Max-Age=0');
  });

  test('a WebSocket needs the same: a page of another origin cannot open one', async () => {
    const cookie = await session(rig);
    expect(await upgrade(rig, { cookie, origin: rig.address })).toBe('open');
    expect(await upgrade(rig, bearer)).toBe('open');
    expect(await upgrade(rig, { cookie, origin: 'http://evil.example' })).toBe(403);
    expect(await upgrade(rig, { origin: rig.address })).toBe(401);
    expect(await upgrade(rig, { ...bearer, host: 'evil.example' })).toBe(421);
    expect(await upgrade(rig, bearer, '/v1/cameras/nobody/live')).toBe(404);
  });

  test('health is answered to everybody and says nothing but codes', async () => {
    const { status, text } = await raw(rig, { path: '/health' });
    expect([status, Object.keys(JSON.parse(text))]).toEqual([200, ['status', 'problems']]);
  });

  test('answers cannot be framed, sniffed or cached, and the page may load only its own', async () => {
    const { headers } = await raw(rig, { headers: bearer });
    expect(headers['x-content-type-options']).toBe('nosniff');
    expect(headers['cache-control']).toBe('no-store');
    expect(headers['content-security-policy']).toContain("frame-ancestors 'none'");
    const page = await raw(rig, { path: '/' });
    expect([page.status, page.headers['content-type']]).toEqual([200, 'text/html; charset=utf-8']);
    expect((await raw(rig, { path: '/../../etc/passwd.txt' })).status).toBe(404);
    expect((await raw(rig, { path: '/..%2f..%2fetc%2fpasswd.txt' })).status).toBe(404);
  });

  test('after many wrong tokens the answer is 429, and the right one still works', async () => {
    const statuses = new Set<number>();
    for (let tries = 0; tries < 40; tries++) {
      statuses.add((await raw(rig, { headers: { authorization: `Bearer wrong${tries}` } })).status);
    }
    expect(statuses).toContain(429);
    expect((await raw(rig, { headers: bearer })).status).toBe(200);
  });

  test('the socket, the token and the state are readable by their owner only', () => {
    const folder = rig.commandLine.file('config');
    expect(statSync(folder).mode & 0o777).toBe(0o700);
    for (const name of ['towpath.sock', 'api-token', 'state.json', 'config.yaml', 'api-address', 'log/towpath.log']) {
      expect([name, statSync(join(folder, name)).mode & 0o777]).toEqual([name, 0o600]);
    }
  });

  test('folders of pictures that are made while the socket is made can be entered, as the umask says', () => {
    const folder = rig.commandLine.file('config');
    for (const name of ['pictures', 'pictures/feeder']) {
      expect([name, statSync(join(folder, name)).mode & 0o777]).toEqual([name, 0o777 & ~process.umask()]);
    }
  });
});

async function session(rig: DaemonRig): Promise<string> {
  const answer = await raw(rig, {
    path: '/v1/session',
    method: 'POST',
    headers: { 'content-type': 'application/json', origin: rig.address },
    body: JSON.stringify({ token: rig.token }),
  });
  const [cookie = ''] = answer.headers['set-cookie'] as string[];
  expect(cookie).toMatch(/; Path=\/; HttpOnly; SameSite=Strict; /);
  return cookie.split(';')[0] ?? '';
}
