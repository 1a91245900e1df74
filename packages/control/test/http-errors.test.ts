import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { describe, expect, test } from 'vitest';
import { Rig, signedHeaders, random, until } from './http-fixture.ts';
import { generateNodeIdentity } from '../src/identity/node-identity.ts';
import type { ControlServer } from '../src/http/control-server.ts';

const fixture = (name: string) => readFileSync(new URL(`fixtures/${name}`, import.meta.url), 'utf8');
const tls = { cert: fixture('loopback-cert.pem'), key: fixture('loopback-key.pem') };

/** A connection to `server`, with its TLS handshake done. */
async function dial(server: ControlServer): Promise<Socket> {
  const { port, protocol } = new URL(server.address);
  const where = { host: '127.0.0.1', port: Number(port) };
  const secure = protocol === 'https:';
  const socket = secure ? connectTls({ ...where, ca: tls.cert }) : connect(where);
  await new Promise<void>((resolve, reject) => {
    socket.once(secure ? 'secureConnect' : 'connect', resolve);
    socket.once('error', reject);
  });
  socket.on('error', () => {});
  return socket;
}

/** Sends `text` and returns the answer, which has to end with the connection or with its length. */
async function answerTo(server: ControlServer, text: string): Promise<{ status: number; type: string; body: unknown }> {
  const socket = await dial(server);
  let received = '';
  socket.on('data', (part) => {
    received += part.toString();
  });
  socket.write(text);
  const parts = () => {
    const [head = '', body = ''] = received.split('\r\n\r\n', 2);
    const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? Number.NaN);
    return { head, body, whole: Buffer.byteLength(body) >= length };
  };
  const chunked = () => /transfer-encoding: chunked/i.test(parts().head) && received.endsWith('0\r\n\r\n');
  await until(() => parts().whole || chunked() || socket.closed, 'the end of the answer', 60_000);
  socket.destroy();
  const { head, body } = parts();
  const json = chunked() ? (received.split('\r\n\r\n')[1]?.split('\r\n')[1] ?? '') : body;
  return {
    status: Number(/^HTTP\/1\.1 (\d+)/.exec(head)?.[1]),
    type: /content-type: ([\w/]+)/i.exec(head)?.[1] ?? '',
    body: json === '' ? undefined : JSON.parse(json),
  };
}

const MALFORMED: [string, number, string, string][] = [
  ['no HTTP', 400, 'invalid-request', 'hello\r\n\r\n'],
  ['a method that does not exist', 400, 'invalid-request', 'BREW / HTTP/1.1\r\nhost: localhost\r\n\r\n'],
  ['no Host header', 400, 'invalid-request', 'GET /health HTTP/1.1\r\n\r\n'],
  ['a bad header', 400, 'invalid-request', 'GET /health HTTP/1.1\r\nhost: localhost\r\na b\r\n\r\n'],
  [
    'two lengths',
    400,
    'invalid-request',
    'POST /v1/parties HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n',
  ],
  ['a path that cannot be decoded', 400, 'invalid-request', 'GET /v1/parties/%ff HTTP/1.1\r\nhost: localhost\r\n\r\n'],
  [
    'a path with a part that is too long',
    414,
    'limit-exceeded',
    `GET /v1/parties/${'a'.repeat(2_000)}/statements HTTP/1.1\r\nhost: localhost\r\n\r\n`,
  ],
  [
    'headers that are too large',
    431,
    'limit-exceeded',
    `GET /health HTTP/1.1\r\nhost: localhost\r\nx: ${'a'.repeat(20_000)}\r\n\r\n`,
  ],
  [
    'an expectation',
    417,
    'invalid-request',
    'POST /v1/parties HTTP/1.1\r\nhost: localhost\r\nexpect: tea\r\ncontent-length: 0\r\n\r\n',
  ],
  [
    'an incomplete request',
    408,
    'invalid-request',
    'POST /v1/parties HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n',
  ],
];

describe.each(['tcp', 'tls'] as const)(
  'over %s an error that the framework finds',
  { timeout: 60_000 },
  (transport) => {
    const serve = (rig: Rig) => rig.server({ requestTimeoutMs: 1_000, ...(transport === 'tls' ? { tls } : {}) });

    test.each(MALFORMED)('has the documented form: %s', async (_what, status, code, text) => {
      await using rig = new Rig();
      const server = await serve(rig);
      expect(await answerTo(server, text)).toEqual({
        status,
        type: 'application/json',
        body: { code, message: expect.any(String), details: {} },
      });
      expect((await answerTo(server, 'GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n')).status).toBe(200);
    });

    test('has it for signed requests too: type and size of the body', async () => {
      await using rig = new Rig();
      const server = await serve(rig);
      const node = generateNodeIdentity(random);
      const send = (body: string, more: string) => {
        const signed = signedHeaders(node, 'POST', '/v1/parties', body);
        const headers = Object.entries(signed).map(([name, value]) => `${name}: ${value}\r\n`);
        const length = Buffer.byteLength(body);
        return answerTo(
          server,
          `POST /v1/parties HTTP/1.1\r\nhost: localhost\r\n${headers.join('')}${more}content-length: ${length}\r\n\r\n${body}`,
        );
      };
      const outcome = async (answer: ReturnType<typeof send>) => {
        const { status, body } = await answer;
        return [status, body];
      };
      const documented = (code: string) => ({ code, message: expect.any(String), details: {} });
      expect(await outcome(send('x', 'content-type: text/xml\r\n'))).toEqual([415, documented('invalid-request')]);
      expect(await outcome(send('x', 'content-type: a/b/c;;\r\n'))).toEqual([415, documented('invalid-request')]);
      const large = 'x'.repeat(20_000);
      expect(await outcome(send(large, 'content-type: application/json\r\n'))).toEqual([
        413,
        documented('limit-exceeded'),
      ]);
    });

    test('can be read by a client that sends a large body first', async () => {
      await using rig = new Rig();
      const server = await serve(rig);
      const large = 'x'.repeat(2_000_000);
      const signed = signedHeaders(generateNodeIdentity(random), 'POST', '/v1/parties', large);
      const headers = Object.entries(signed).map(([name, value]) => `${name}: ${value}\r\n`);
      const socket = await dial(server);
      let received = '';
      socket.on('data', (part) => {
        received += part.toString();
      });
      socket.write(
        `POST /v1/parties HTTP/1.1\r\nhost: localhost\r\n${headers.join('')}content-type: application/json\r\n` +
          `content-length: ${large.length}\r\n\r\n${large.slice(1)}`,
      );
      await until(() => received.includes('413'), 'the refusal', 60_000);
      socket.write('xGET /health HTTP/1.1\r\nhost: localhost\r\n\r\n');
      await until(() => received.includes('HTTP/1.1 200') || socket.closed, 'the end of the body', 60_000);
      socket.destroy();
      expect(received.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 413', 'HTTP/1.1 200']);
    });

    test('has it for a WebSocket that is asked for in a wrong way', async () => {
      await using rig = new Rig();
      const server = await serve(rig);
      const ask = (more: string) => {
        const signed = signedHeaders(generateNodeIdentity(random), 'GET', '/v1/socket');
        const headers = Object.entries(signed).map(([name, value]) => `${name}: ${value}\r\n`);
        return answerTo(
          server,
          `GET /v1/socket HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\n${headers.join('')}${more}\r\n`,
        );
      };
      for (const more of [
        'upgrade: tea\r\n',
        'upgrade: websocket\r\n',
        'upgrade: websocket\r\nsec-websocket-key: a\r\n',
      ]) {
        const { status, body } = await ask(more);
        expect([status, body]).toEqual([400, { code: 'invalid-request', message: expect.any(String), details: {} }]);
      }
    });
  },
);

describe('a path that has no route', () => {
  test('costs as much of the rate limit as others', async () => {
    await using rig = new Rig();
    const few = { perSecond: 0.1, burst: 3 };
    const server = await rig.server({ limits: { perAddress: few } });
    const statuses: number[] = [];
    for (let at = 0; at < 5; at++) statuses.push((await server.inject('/v1/parties/%ff')).statusCode);
    expect(statuses).toEqual([400, 400, 400, 429, 429]);
  });
});
