import { createServer } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { createLog, SeededRandom, SystemClock } from '@towpath/core';
import { afterEach, describe, expect, test } from 'vitest';
import { WebSocketServer } from 'ws';
import { unreachable } from '../src/client/http-request.ts';
import { HttpTransport } from '../src/client/http-transport.ts';
import { generateNodeIdentity } from '../src/identity/node-identity.ts';
import type { ServerMessage } from '../src/wire/messages.ts';

const PARTY = 'a'.repeat(32);
const CHECK_SERVER =
  'Next: check the address and the port given to --server (4100 by default); towpath party servers shows and changes them.';
const READABLE = JSON.stringify({ type: 'delivered', id: 7 });

describe('a control server of another version (C12)', () => {
  const stops: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const stop of stops.splice(0).toReversed()) await stop();
  });

  /** A server that answers every request, and greets every connection, as it likes. */
  async function serverThat(answers: unknown, greetings: readonly string[] = [], status = 200) {
    let requests = 0;
    const server = createServer((request, answer) => {
      requests++;
      request.resume();
      answer.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(answers));
    });
    // Without a listener for upgrades they are answered as other requests are.
    const sockets = new WebSocketServer(status === 200 ? { server } : { noServer: true });
    sockets.on('connection', (socket) => {
      for (const greeting of greetings) socket.send(greeting);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    stops.push(() => {
      for (const socket of sockets.clients) socket.terminate();
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    });
    const said: string[] = [];
    const log = createLog(({ level, message }) => void said.push(`${level} ${message}`));
    const random = new SeededRandom(3);
    const { port } = server.address() as AddressInfo;
    const servers = [`http://127.0.0.1:${port}`];
    const transport = new HttpTransport({ clock: new SystemClock(), random, log }, { servers });
    stops.push(() => transport.close());
    return {
      transport,
      said,
      asked: () => requests,
      key: generateNodeIdentity(random).signing,
      host: `127.0.0.1:${port}`,
    };
  }

  test('says so once for each connection, and what can be read of it is read', async () => {
    const greetings = [
      'towpath/9',
      'null',
      '{"type":"welcome","server":1,"timeMs":"now"}',
      '{"type":"delivered","id":"7"}',
      '{"type":"delivered","id":1e999}',
      '{"type":"delivered"}',
      '{"type":"statements2","version":99}',
      READABLE,
    ];
    const { transport, said, key, host } = await serverThat({}, greetings);
    for (const count of [1, 2]) {
      const messages: ServerMessage[] = [];
      const connection = await transport.connect({ key, onMessage: async (message) => void messages.push(message) });
      await expect.poll(() => messages).toEqual([JSON.parse(READABLE)]);
      expect(said.filter((line) => line.startsWith('warn'))).toEqual(
        new Array<string>(count).fill(
          `warn The control server ${host} sends messages that are not read: it has another version of Towpath. Next: use the same version on both.`,
        ),
      );
      await connection.close();
    }
  });

  test.each([
    ['nothing', {}],
    ['a text in place of a number', { length: '1', statements: [] }],
    ['a number without sense', { length: -1, statements: [] }],
    ['a broken number', { length: 0.5, statements: [] }],
    ['a list in place of a text', { length: 1, statements: [[1]] }],
    ['only its version', { version: 99 }],
  ])('that answers with %s is an error that says so', async (_what, answers) => {
    const { transport, key, host } = await serverThat(answers);
    await expect(transport.readLog(PARTY, 0, { key })).rejects.toMatchObject({
      code: 'bad-answer',
      message: `http://${host} is not a control server of Towpath of this version. ${CHECK_SERVER}`,
    });
  });

  test.each([
    ['ERR_TLS_CERT_ALTNAME_INVALID', 'is for another name. Next: use a name that is in the certificate.'],
    ['CERT_HAS_EXPIRED', 'has expired. Next: renew it on the server, or correct the clock of this machine.'],
    ['CERT_NOT_YET_VALID', 'is not valid yet. Next: correct the clock of this machine or of the server.'],
  ])('a certificate with %s is an error that says what is wrong with it', (code, text) => {
    const cause = Object.assign(new Error('certificate'), { code });
    expect(unreachable(new URL('https://camp.example:4100'), cause)).toMatchObject({
      code: 'server-unavailable',
      message: `The certificate of the control server camp.example:4100 ${text}`,
    });
  });

  test.each([
    [
      'changes the protocol',
      'HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\r\n',
      'bad-answer',
    ],
    ['ends the connection', '', 'server-unavailable'],
    ['ends the connection after the head', 'HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n', 'server-unavailable'],
  ])('that %s instead of an answer is an error', async (_what, text, code) => {
    const server = createTcpServer((socket) => {
      socket.on('error', () => {});
      socket.once('data', () => (code === 'bad-answer' ? socket.write(text) : socket.end(text)));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    stops.push(() => new Promise((resolve) => server.close(resolve)));
    const { port } = server.address() as AddressInfo;
    const random = new SeededRandom(4);
    const transport = new HttpTransport(
      { clock: new SystemClock(), random },
      { servers: [`http://127.0.0.1:${port}`] },
    );
    stops.push(() => transport.close());
    const { signing: key } = generateNodeIdentity(random);
    await expect(transport.readLog(PARTY, 0, { key })).rejects.toMatchObject({ code });
  });

  test('its refusals are told as its words, because it may be hostile', async () => {
    const { transport, key, host } = await serverThat({ code: 'forbidden', message: 'Run this.' }, [], 403);
    const message = `The control server ${host} answers: Run this.`;
    await expect(transport.readLog(PARTY, 0, { key })).rejects.toMatchObject({ code: 'forbidden', message });
  });

  test.each([-5, 0])('a request to come back in %i ms is not followed', async (retryAfterMs) => {
    const body = { code: 'limit-exceeded', message: 'busy', details: { retryAfterMs } };
    const { transport, key, asked } = await serverThat(body, [], 429);
    await expect(transport.readLog(PARTY, 0, { key })).rejects.toMatchObject({ code: 'limit-exceeded' });
    expect(asked()).toBe(1);
  });

  test.each([
    [404, 'bad-answer', 'is not a control server of Towpath: it answered with status 404'],
    [200, 'bad-answer', 'is not a control server of Towpath of this version'],
    [502, 'server-unavailable', 'answered with status 502'],
  ])('another HTTP server, status %i, is named with its address and what to check', async (status, code, text) => {
    const { transport, key, host } = await serverThat('<html>', [], status);
    const message = `http://${host} ${text}. ${CHECK_SERVER}`;
    await expect(transport.readLog(PARTY, 0, { key })).rejects.toMatchObject({ code, message });
    if (status === 200) return;
    const connecting = transport.connect({ key, onMessage: async () => {} });
    await expect(connecting).rejects.toMatchObject({ code, message });
  });
});
