/** A bare WebSocket server in a process of its own: it holds its connections and echoes messages. Needs --expose-gc. */
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { HERE } from '../support/loopback.ts';
import { parentLeft, tell } from '../support/worker.ts';
import { WebSocketServer } from '../support/ws.ts';

/** Its message when it listens. */
export interface BareWebSocketsReady {
  port: number;
}

/** Its answer to each message. */
export interface BareWebSocketsUsage {
  connections: number;
  rss: number;
  heap: number;
}

const server = new WebSocketServer({ host: HERE, port: 0, perMessageDeflate: false });
server.on('connection', (socket) => socket.on('message', (data, binary) => socket.send(data, { binary })));
await once(server, 'listening');
process.on('message', () => {
  for (let pass = 0; pass < 2; pass++) globalThis.gc?.();
  const { rss, heapUsed } = process.memoryUsage();
  const usage: BareWebSocketsUsage = { connections: server.clients.size, rss, heap: heapUsed };
  tell(usage);
});
const ready: BareWebSocketsReady = { port: (server.address() as AddressInfo).port };
tell(ready);
await parentLeft();
for (const socket of server.clients) socket.terminate();
server.close();
