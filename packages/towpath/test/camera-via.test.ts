import { mkdirSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createSocketServer, type Socket } from 'node:net';
import { join } from 'node:path';
import type { Peer } from '@towpath/dashboard/api';
import { describe, expect, test } from 'vitest';
import { CommandLine } from './command-line.ts';
import { emulatedCamera } from './daemon-rig.ts';
import { peerOf } from './fake-daemon.ts';

/** A daemon that knows one member, `pi`, and routes 127.0.0.1 through it. */
async function daemonWith(
  commandLine: CommandLine,
  status: Peer['status'],
  network = '127.0.0.1/32',
): Promise<AsyncDisposable> {
  const folder = commandLine.file('config');
  mkdirSync(folder, { recursive: true });
  const peer = peerOf('pi', { status, reason: { code: 'echo-lost', text: 'echoes are lost' } });
  const answer = {
    parties: [{ id: 'p', name: 'camp', peers: [peer], accepts: [{ peer: 'pi', network }] }],
    cameras: [],
  };
  const server = createServer((_request, response) => response.end(JSON.stringify(answer)));
  await new Promise<void>((resolve) => {
    server.listen(join(folder, 'towpath.sock'), resolve);
  });
  return { [Symbol.asyncDispose]: () => new Promise((resolve) => server.close(() => resolve())) };
}

describe('a camera through a member (C14)', () => {
  test('is reached by its address alone when the member is', async () => {
    using commandLine = new CommandLine();
    await using _daemon = await daemonWith(commandLine, 'connected');
    const { camera, flags } = await emulatedCamera();
    const info = await commandLine.run(['camera', 'info', '127.0.0.1', '--via', 'pi', '--json', ...flags]);
    expect([info.code, info.err]).toEqual([0, '']);
    await camera.close();
  });

  test.each<[string, Peer['status'], string, string, number, string]>([
    ['a member that is not reached', 'failed', '127.0.0.1', '127.0.0.1/32', 3, 'towpath why pi'],
    [
      'an address that is not routed there',
      'connected',
      '192.0.2.1',
      '127.0.0.1/32',
      2,
      'towpath camera add NAME 192.0.2.1 --via pi',
    ],
    ['a UID', 'connected', 'LBCS-000000-CCCJJ', '127.0.0.1/32', 2, 'IP address'],
  ])('%s is said at once, with what to do', async (_what, status, host, network, code, next) => {
    using commandLine = new CommandLine();
    await using _daemon = await daemonWith(commandLine, status, network);
    const info = await commandLine.run(['camera', 'info', host, '--via', 'pi']);
    expect([info.code, info.err]).toEqual([code, expect.stringContaining(next)]);
  });

  test('needs a daemon, and a member that exists', async () => {
    using commandLine = new CommandLine();
    const without = await commandLine.run(['camera', 'media', '127.0.0.1', '--via', 'pi']);
    expect([without.code, without.err]).toEqual([5, expect.stringContaining('towpath up is not running')]);
    await using _daemon = await daemonWith(commandLine, 'connected');
    const unknown = await commandLine.run(['camera', 'media', '127.0.0.1', '--via', 'nobody']);
    expect([unknown.code, unknown.err]).toEqual([2, expect.stringContaining('Members: pi')]);
  });

  // A daemon of another version, one that is ending, or another program at the socket.
  test.each<[string, string, (socket: Socket) => void]>([
    ['garbage', 'bad-answer', (socket) => void socket.end(Buffer.alloc(2_000, 0xe5))],
    ['nothing and closes', 'not-running', (socket) => socket.destroy()],
    ['half an answer and closes', 'bad-answer', (socket) => void socket.end(answer('{"parties": [', 4_000))],
    ['text', 'bad-answer', (socket) => void socket.end(answer('parties'))],
    ['null', 'bad-answer', (socket) => void socket.end(answer('null'))],
    ['nothing in the body', 'bad-answer', (socket) => void socket.end(answer(''))],
    ['no parties', 'bad-answer', (socket) => void socket.end(answer('{"version": 1}'))],
    [
      'parties of another form',
      'bad-answer',
      (socket) => void socket.end(answer('{"parties": [null], "cameras": []}')),
    ],
    ['members of another form', 'bad-answer', (socket) => void socket.end(answer(MEMBERS_OF_ANOTHER_FORM))],
    ['headers without end', 'bad-answer', (socket) => endless(socket, `X-Pad: ${'x'.repeat(1_000)}\r\n`)],
    ['a body without end', 'bad-answer', (socket) => endless(socket, ' '.repeat(65_536), answer('', 2 ** 50))],
  ])('a daemon that answers with %s is an error of the kind %s', async (_what, code, misbehave) => {
    using commandLine = new CommandLine();
    mkdirSync(commandLine.file('config'), { recursive: true });
    const sockets = new Set<Socket>();
    const server = createSocketServer((socket) => {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.once('data', () => misbehave(socket));
    });
    await new Promise<void>((resolve) => {
      server.listen(join(commandLine.file('config'), 'towpath.sock'), resolve);
    });
    const info = await commandLine.run(['camera', 'info', '127.0.0.1', '--via', 'pi', '--json']);
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
    const outcome = info.out.map((line) => JSON.parse(line));
    expect([info.code, outcome]).toEqual([5, [expect.objectContaining({ type: 'error' })]]);
    expect(outcome[0].error).toMatchObject({ code, message: expect.stringContaining('towpath up') });
  });
});

const MEMBERS_OF_ANOTHER_FORM = JSON.stringify({
  parties: [{ id: 'p', name: 'camp', peers: [{ name: 'pi' }], accepts: [] }],
  cameras: [],
});

function answer(body: string, length = Buffer.byteLength(body)): string {
  return `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ${length}\r\n\r\n${body}`;
}

/** Sends a piece again and again, as fast as it is taken. */
function endless(socket: Socket, piece: string, first = 'HTTP/1.1 200 OK\r\n'): void {
  const more = () => {
    while (!socket.destroyed && socket.write(piece));
  };
  socket.on('drain', more);
  socket.write(first);
  more();
}
