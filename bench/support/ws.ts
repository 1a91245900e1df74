import { createRequire } from 'node:module';
import type * as Ws from 'ws';

/** The very library that the control plane uses: the bare server beside it must not be another version. */
const ws: typeof Ws = createRequire(new URL('../../packages/control/package.json', import.meta.url))('ws');

export const WebSocket: typeof Ws.WebSocket = ws.WebSocket;
export const WebSocketServer: typeof Ws.WebSocketServer = ws.WebSocketServer;
