import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { errorAnswerSchema } from '@towpath/dashboard/api';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { type DaemonRig, daemonRig, until } from './daemon-rig.ts';

/** Requests that no route ever sees; HOST and TOKEN are replaced. */
const MALFORMED: [string, number, string][] = [
  ['no HTTP', 400, 'hello\r\n\r\n'],
  ['a method that does not exist', 400, 'BREW / HTTP/1.1\r\nhost: HOST\r\n\r\n'],
  ['a bad header', 400, 'GET /health HTTP/1.1\r\nhost: HOST\r\na b\r\n\r\n'],
  ['a path that cannot be decoded', 400, 'GET /v1/parties/%ff HTTP/1.1\r\nhost: HOST\r\n\r\n'],
  ['headers that are too large', 431, `GET /health HTTP/1.1\r\nhost: HOST\r\nx: ${'a'.repeat(40_000)}\r\n\r\n`],
  ['an expectation', 417, 'POST /v1/session HTTP/1.1\r\nhost: HOST\r\nexpect: tea\r\ncontent-length: 0\r\n\r\n'],
  [
    'a body of another type',
    415,
    'POST /v1/cameras HTTP/1.1\r\nhost: HOST\r\nTOKENcontent-type: text/xml\r\ncontent-length: 1\r\n\r\nx',
  ],
  [
    'a body that is no JSON',
    400,
    'POST /v1/cameras HTTP/1.1\r\nhost: HOST\r\nTOKENcontent-type: application/json\r\ncontent-length: 1\r\n\r\nx',
  ],
  [
    'a body that is too large',
    413,
    'POST /v1/cameras HTTP/1.1\r\nhost: HOST\r\nTOKENcontent-type: application/json\r\ncontent-length: 9999999\r\n\r\nx',
  ],
  [
    'a WebSocket without a key',
    400,
    'GET /v1/events HTTP/1.1\r\nhost: HOST\r\nTOKENconnection: upgrade\r\nupgrade: websocket\r\n\r\n',
  ],
  [
    'a WebSocket at a path that is no path',
    400,
    'GET // HTTP/1.1\r\nhost: HOST\r\nTOKENconnection: upgrade\r\nupgrade: websocket\r\n\r\n',
  ],
  [
    'a WebSocket at an unknown path',
    404,
    'GET /v1/nothing HTTP/1.1\r\nhost: HOST\r\nTOKENconnection: upgrade\r\nupgrade: websocket\r\n\r\n',
  ],
];

describe('an error of the API that the framework finds has the form of all others (A9)', () => {
  let rig: DaemonRig;
  beforeAll(async () => {
    rig = await daemonRig();
  });
  afterAll(() => rig[Symbol.asyncDispose]());

  const dial = (listener: 'loopback' | 'socket'): Socket =>
    listener === 'socket'
      ? connect(join(rig.commandLine.file('config'), 'towpath.sock'))
      : connect(Number(new URL(rig.address).port), '127.0.0.1');

  async function ask(listener: 'loopback' | 'socket', text: string): Promise<{ status: number; body: string }> {
    const socket = dial(listener);
    let received = '';
    socket.on('error', () => {});
    socket.on('data', (part) => {
      received += part.toString();
    });
    socket.write(text.replaceAll('HOST', rig.host).replaceAll('TOKEN', `authorization: Bearer ${rig.token}\r\n`));
    const isWhole = () => {
      const [head = '', body] = received.split('\r\n\r\n', 2);
      return body !== undefined && Buffer.byteLength(body) >= Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0);
    };
    await until(() => isWhole() || socket.closed);
    socket.destroy();
    const [head = '', body = ''] = received.split('\r\n\r\n', 2);
    return { status: Number(/^HTTP\/1\.1 (\d+)/.exec(head)?.[1]), body };
  }

  test.each(
    (['loopback', 'socket'] as const).flatMap((listener) => MALFORMED.map((each) => [listener, ...each] as const)),
  )('on the %s: %s', async (listener, _what, status, text) => {
    const answer = await ask(listener, text);
    expect([answer.status, answer.body]).toEqual([status, expect.stringMatching(/^\{"error":/)]);
    expect(errorAnswerSchema.parse(JSON.parse(answer.body)).error.message).toMatch(/\w/);
    expect((await rig.ask('/v1/status')).status).toBe(200);
  });

  test.each(
    (['loopback', 'socket'] as const).flatMap((listener) =>
      (['a length', 'chunks'] as const).map((body) => [listener, body] as const),
    ),
  )('on the %s, a client that sends a large body with %s first can read why it is refused', async (listener, body) => {
    const socket = dial(listener);
    let received = '';
    socket.on('data', (part) => {
      received += part.toString();
    });
    const failed = once(socket, 'error').then(([error]) => Promise.reject(error));
    const large = 'x'.repeat(2_000_000);
    const head = body === 'chunks' ? 'transfer-encoding: chunked' : `content-length: ${2 * large.length}`;
    const part = body === 'chunks' ? `${large.length.toString(16)}\r\n${large}\r\n` : large;
    const start = `POST /v1/cameras HTTP/1.1\r\nhost: ${rig.host}\r\nauthorization: Bearer ${rig.token}\r\n`;
    socket.write(`${start}content-type: application/json\r\n${head}\r\n\r\n${part}`);
    await Promise.race([until(() => received.includes('413')), failed]);
    socket.write(`${part}${body === 'chunks' ? '0\r\n\r\n' : ''}GET /health HTTP/1.1\r\nhost: ${rig.host}\r\n\r\n`);
    await Promise.race([until(() => received.includes('HTTP/1.1 200') || socket.closed), failed]);
    socket.destroy();
    expect(received.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 413', 'HTTP/1.1 200']);
    expect(received).toContain('{"error":{"code":"invalid-request","message":"The request is too large."}}');
  });

  test('on the socket: a part of the path that is too long; on the loopback all paths are places of the page', async () => {
    const path = `/v1/parties/${'a'.repeat(900)}`;
    const text = `GET ${path} HTTP/1.1\r\nhost: HOST\r\nTOKEN\r\n`;
    const answers = [await ask('socket', text), await ask('loopback', text)];
    expect(answers.map(({ status, body }) => [status, JSON.parse(body).error.code])).toEqual([
      [414, 'invalid-request'],
      [404, 'not-found'],
    ]);
  });

  test.each(['loopback', 'socket'] as const)(
    'on the %s connections that are silent, reset, half open or full of garbage hold nobody up',
    async (listener) => {
      const strangers = Array.from({ length: 40 }, (_, at) => {
        const socket = dial(listener);
        socket.on('error', () => {});
        socket.resume();
        if (at % 5 === 1) socket.write(Buffer.alloc(5_000, 0xff));
        if (at % 5 === 2) socket.write('POST /v1/session HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{');
        if (at % 5 === 3) socket.end('GET /v1/sta');
        if (at % 5 === 4)
          socket.once('connect', () => (listener === 'socket' ? socket.destroy() : socket.resetAndDestroy()));
        return socket;
      });
      expect((await rig.ask('/v1/status')).status).toBe(200);
      await until(() => strangers.filter((socket) => socket.closed).length >= 16);
      for (const socket of strangers) socket.destroy();
      expect((await rig.ask('/v1/status')).status).toBe(200);
    },
  );

  test('more silent connections than there are places keep no request with the token out', async () => {
    const silent = Array.from({ length: 300 }, () => dial('loopback').on('error', () => {}));
    await until(() => silent.every((socket) => !socket.connecting));
    expect((await rig.ask('/v1/status')).status).toBe(200);
    for (const socket of silent) socket.destroy();
  });

  test.each(['loopback', 'socket'] as const)(
    'on the %s, a connection that asks without end is closed',
    async (listener) => {
      const socket = dial(listener);
      socket.on('error', () => {});
      const host = new URL(rig.address).host;
      socket.write(`GET /health HTTP/1.1\r\nHost: ${host}\r\n\r\n`.repeat(1_000));
      socket.resume();
      await once(socket, 'close');
      expect((await fetch(`${rig.address}/health`)).status).toBe(200);
    },
  );

  test('a WebSocket that pings and reads nothing is cut off', async () => {
    const headers = { authorization: `Bearer ${rig.token}` };
    const socket = new WebSocket(`${rig.address.replace('http', 'ws')}/v1/events`, { headers });
    socket.on('error', () => {});
    await once(socket, 'open');
    socket.pause();
    const closed = once(socket, 'close');
    // Its answers are more than the system's buffers and the daemon's limit hold together.
    for (let at = 0; at < 400_000 && socket.readyState === WebSocket.OPEN; at++) {
      socket.ping(Buffer.alloc(125));
      if (at % 1_000 === 0) await new Promise(setImmediate);
    }
    socket.resume();
    await closed;
    expect((await rig.ask('/v1/status')).status).toBe(200);
  });
});
