import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { limitPipelining } from '../src/index.ts';

const servers: Server[] = [];

afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

/** Sends requests in one piece. @returns how many were worked on, and how many answered before the connection ended */
async function pipelined(count: number): Promise<{ begun: number; answered: number }> {
  let begun = 0;
  const server = createServer(
    limitPipelining((_request, response) => {
      begun++;
      setImmediate(() => response.end('answer'));
    }),
  );
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  let text = '';
  const answers = () => text.split('HTTP/1.1 200').length - 1;
  await new Promise<void>((resolve) => {
    socket.on('data', (data) => {
      text += data.toString();
      if (answers() === count) resolve();
    });
    socket.on('error', () => {});
    socket.once('close', () => resolve());
    socket.write('GET / HTTP/1.1\r\nHost: here\r\n\r\n'.repeat(count));
  });
  socket.destroy();
  return { begun, answered: answers() };
}

test('a thousand requests in one piece are not worked on, and their connection is closed', async () => {
  expect(await pipelined(1_000)).toEqual({ begun: 16, answered: 0 });
});

test('sixteen in one piece are answered', async () => {
  expect(await pipelined(16)).toEqual({ begun: 16, answered: 16 });
});

test('one after the other, a connection may have any number', async () => {
  let begun = 0;
  const server = createServer(
    limitPipelining((_request, response) => {
      begun++;
      response.end('answer');
    }),
  );
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  await new Promise<void>((resolve) => {
    let left = 200;
    const next = () => {
      if (left-- === 0) resolve();
      else socket.write('GET / HTTP/1.1\r\nHost: here\r\n\r\n');
    };
    socket.on('data', next);
    next();
  });
  socket.destroy();
  expect(begun).toBe(200);
});

test.each([
  ['an upgrade that nobody takes', 'GET / HTTP/1.1\r\nHost: here\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n'],
  ['a body without end', 'POST / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n'],
  ['a body of any length', 'GET / HTTP/1.1\r\nHost: here\r\nContent-Length: 99999999999\r\n\r\n'],
])('what follows %s is not read for ever', async (_what, head) => {
  const server = createServer(limitPipelining((_request, response) => void response.end('answer'), { bodies: false }));
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  socket.on('error', () => {});
  socket.resume();
  const piece = Buffer.from(`8000\r\n${'x'.repeat(0x8000)}\r\n`);
  const send = () => {
    while (!socket.destroyed && socket.write(piece));
    if (!socket.destroyed) socket.once('drain', send);
  };
  socket.write(head);
  const closed = new Promise((resolve) => socket.once('close', resolve));
  send();
  await closed;
});
