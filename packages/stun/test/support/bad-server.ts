import { createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import type { Endpoint } from '@towpath/net';

const HERE = '127.0.0.1';

/** What a server of another protocol, or a broken one, does with a connection. */
export const MISBEHAVIOUR: readonly [name: string, behave: (socket: Socket) => void][] = [
  ['answers with garbage', (socket) => void socket.once('data', () => socket.write(Buffer.alloc(64, 0xff)))],
  ['answers with HTTP', (socket) => void socket.once('data', () => socket.write('HTTP/1.1 400 Bad Request\r\n\r\n'))],
  ['hangs up at once', (socket) => void socket.destroy()],
  ['hangs up after the request', (socket) => void socket.once('data', () => socket.end())],
  ['greets with garbage', (socket) => void socket.write(Buffer.alloc(4096, 0xee))],
];

/** Opens a server on loopback that treats each connection by `behave`. */
export async function badServer(
  transport: 'tcp' | 'tls',
  identity: { cert: string; key: string },
  behave: (socket: Socket) => void,
): Promise<{ at: Endpoint; server: Server }> {
  const onSocket = (socket: Socket) => {
    socket.on('error', () => {});
    behave(socket);
  };
  const server = transport === 'tcp' ? createServer(onSocket) : createTlsServer(identity, onSocket);
  await new Promise<void>((resolve) => {
    server.listen(0, HERE, resolve);
  });
  const { port } = server.address() as { port: number };
  return { at: { address: HERE, port }, server };
}
