import type { Server, Socket } from 'node:net';
import type { ConnectionLimit } from '../connection-limit.ts';
import type { Endpoint } from '../endpoint.ts';

/** Counts an accepted connection from its first moment on, before any handshake. @returns false when it was refused and closed */
export function admitSocket(socket: Socket, limit: ConnectionLimit): boolean {
  const [local, remote] = endsOf(socket);
  if (!limit.enter(local, remote, () => socket.destroy())) {
    socket.destroy();
    return false;
  }
  socket.once('close', () => limit.leave(local, remote));
  return true;
}

/** Limits the connections of a server of Node's own, such as one for HTTP. */
export function limitServer(server: Server, limit: ConnectionLimit): void {
  server.on('connection', (socket) => admitSocket(socket, limit));
}

/** Marks a connection of {@link limitServer} as used by its client. */
export function markUsed(socket: Socket, limit: ConnectionLimit): void {
  const [local, remote] = endsOf(socket);
  limit.setUsed({ local, remote }, true);
}

export function endsOf(socket: Socket): [local: Endpoint, remote: Endpoint] {
  return [
    { address: socket.localAddress ?? '', port: socket.localPort ?? 0 },
    { address: socket.remoteAddress ?? '', port: socket.remotePort ?? 0 },
  ];
}
