import { createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import type { Endpoint } from '@towpath/net';
import { software } from '../../src/message/attributes.ts';
import { MessageClass, Method } from '../../src/message/header.ts';
import { StunWriter } from '../../src/message/stun-writer.ts';

const HERE = '127.0.0.1';

/** An answer to a request that nobody has sent. */
const ANSWER = new StunWriter(MessageClass.Success, Method.Allocate, new Uint8Array(12))
  .add(software, 'x'.repeat(60))
  .finish();
const LONG = Buffer.concat([Buffer.from('0103fffc2112a442', 'hex'), Buffer.alloc(65_544)]);

/** Sends a piece again and again, as fast as it is taken. */
function repeat(socket: Socket, piece: Uint8Array): void {
  const block = Buffer.concat(Array.from({ length: Math.ceil(65_536 / piece.length) }, () => piece));
  const more = () => {
    while (!socket.destroyed && socket.write(block));
  };
  socket.on('drain', more);
  more();
}

/** What a server of another protocol, or a broken one, does with a connection. */
export const MISBEHAVIOUR: readonly [name: string, behave: (socket: Socket) => void][] = [
  ['answers with garbage', (socket) => void socket.once('data', () => socket.write(Buffer.alloc(64, 0xff)))],
  ['answers with HTTP', (socket) => void socket.once('data', () => socket.write('HTTP/1.1 400 Bad Request\r\n\r\n'))],
  ['hangs up at once', (socket) => void socket.destroy()],
  ['hangs up after the request', (socket) => void socket.once('data', () => socket.end())],
  ['greets with garbage', (socket) => void socket.write(Buffer.alloc(4096, 0xee))],
  ['never answers', () => {}],
  [
    'hangs up in the middle of an answer',
    (socket) => void socket.once('data', () => socket.end(ANSWER.subarray(0, 9))),
  ],
  [
    'stops in the middle of an answer',
    (socket) => void socket.once('data', () => socket.write(ANSWER.subarray(0, 30))),
  ],
  ['answers others without end', (socket) => void socket.once('data', () => repeat(socket, ANSWER))],
  ['announces long messages without end', (socket) => void socket.once('data', () => repeat(socket, LONG))],
];

/** Opens a server on loopback that treats each connection by `behave`. */
export async function badServer(
  transport: 'tcp' | 'tls',
  identity: { cert: string; key: string },
  behave: (socket: Socket) => void,
): Promise<{ at: Endpoint; server: Server; sockets: Socket[] }> {
  const sockets: Socket[] = [];
  const onSocket = (socket: Socket) => {
    sockets.push(socket);
    socket.on('error', () => {});
    // One that nobody reads does not see its end.
    socket.resume();
    behave(socket);
  };
  const server = transport === 'tcp' ? createServer(onSocket) : createTlsServer(identity, onSocket);
  await new Promise<void>((resolve) => {
    server.listen(0, HERE, resolve);
  });
  const { port } = server.address() as { port: number };
  return { at: { address: HERE, port }, server, sockets };
}
