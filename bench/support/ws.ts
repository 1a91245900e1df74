import { createRequire } from 'node:module';
import type * as Ws from 'ws';

/** The library that the control plane uses: the bare server must have the same version. */
const ws: typeof Ws = createRequire(new URL('../../packages/control/package.json', import.meta.url))('ws');

export const WebSocket: typeof Ws.WebSocket = ws.WebSocket;
export const WebSocketServer: typeof Ws.WebSocketServer = ws.WebSocketServer;
