import type { IncomingMessage, Server } from 'node:http';
import type { Duplex } from 'node:stream';
import { type Clock, deadlineInterval, errorMessage, type Log, type Timer } from '@towpath/core';
import { type RawData, type WebSocket, WebSocketServer } from 'ws';
import type { ControlService } from '../server/service.ts';
import type { Session, SessionSink } from '../server/session.ts';
import { MAX_CLIENT_MESSAGE_BYTES, parseClientMessage } from '../wire/messages.ts';
import { answerTo } from './errors.ts';
import type { ControlMetrics } from './metrics.ts';
import type { RequestGuard } from './request-guard.ts';

/** Where nodes connect. */
export const SOCKET_PATH = '/v1/socket';
/**
 * Every node is asked for a sign of life every 15 s; one that missed it is dropped at the next. The nodes are asked in
 * slices, because ten thousand pings at once would hold up everybody's signals.
 */
const SLICES = 60;
const SLICE_MS = 250;
/** What one node may leave unread: log and announcements of a party of a thousand, at their largest. */
const MAX_BUFFERED_BYTES = 8_388_608;
/** What it may leave unread for a whole sweep: then it is not reading at all. */
const MAX_STALE_BYTES = 65_536;

/** Close codes (RFC 6455 §7.4.1; 4000–4999 are ours). */
export const CLOSE_CODES = {
  shuttingDown: 1012,
  malformed: 1007,
  binary: 1003,
  tooMany: 1008,
  tooSlow: 4000,
  replaced: 4001,
} as const;

interface Connected {
  readonly session: Session;
  readonly slice: Set<WebSocket>;
  alive: boolean;
  staleBytes: number;
}

/** The WebSockets of a server. One timer for all; nothing per socket but what it needs. */
export class ControlSockets {
  readonly #service: ControlService;
  readonly #guard: RequestGuard;
  readonly #metrics: () => ControlMetrics;
  readonly #log: Log;
  readonly #acceptor: WebSocketServer;
  readonly #connected = new Map<WebSocket, Connected>();
  readonly #slices: Set<WebSocket>[] = Array.from({ length: SLICES }, () => new Set());
  #nextSlice = 0;
  readonly #sweep: Timer;
  readonly #onMessage: (this: WebSocket, data: RawData, isBinary: boolean) => void;
  readonly #onPong: (this: WebSocket) => void;
  readonly #onClose: (this: WebSocket) => void;
  readonly #onError: (error: Error) => void;

  constructor(components: {
    service: ControlService;
    guard: RequestGuard;
    metrics: () => ControlMetrics;
    clock: Clock;
    log: Log;
  }) {
    this.#service = components.service;
    this.#guard = components.guard;
    this.#metrics = components.metrics;
    this.#log = components.log;
    this.#acceptor = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      maxPayload: MAX_CLIENT_MESSAGE_BYTES,
    });
    this.#sweep = deadlineInterval({
      clock: components.clock,
      intervalMs: SLICE_MS,
      onTick: ({ count }) => this.#sweepSlice(this.#slices[count % SLICES]!),
    });
    // One function for all sockets, not four closures for each.
    const sockets = this;
    this.#onMessage = function (data, isBinary) {
      sockets.#received(this, data, isBinary);
    };
    this.#onPong = function () {
      const connected = sockets.#connected.get(this);
      if (connected !== undefined) connected.alive = true;
    };
    this.#onClose = function () {
      sockets.#closed(this);
    };
    this.#onError = (error) => {
      this.#metrics().refused('broken-socket');
      this.#log.debug('a WebSocket broke', { error: error.message });
    };
  }

  get counts(): { open: number; bufferedBytes: number } {
    let bufferedBytes = 0;
    for (const socket of this.#connected.keys()) bufferedBytes += socket.bufferedAmount;
    return { open: this.#connected.size, bufferedBytes };
  }

  /** Takes over the upgrade requests of `server`. */
  serve(server: Server): void {
    server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      const onError = () => socket.destroy();
      socket.on('error', onError);
      this.#admit(request).then(
        (key) => {
          socket.off('error', onError);
          if (!socket.destroyed) this.#acceptor.handleUpgrade(request, socket, head, (ws) => this.#accept(ws, key));
        },
        (error: unknown) => this.#refuse(socket, error),
      );
    });
  }

  close(): void {
    this.#sweep.cancel();
    for (const socket of this.#connected.keys()) socket.terminate();
  }

  async #admit(request: IncomingMessage): Promise<Uint8Array> {
    const path = request.url ?? '';
    this.#guard.admit(request.socket.remoteAddress ?? '', request.headers);
    const claims = this.#guard.claims(request.headers);
    if (path !== SOCKET_PATH) throw Object.assign(new Error('WebSockets are at /v1/socket.'), { statusCode: 404 });
    await this.#guard.authenticateConnection(claims, path);
    return claims.key;
  }

  #refuse(socket: Duplex, error: unknown): void {
    const { status, body, unexpected } = answerTo(error);
    this.#metrics().refused(body.code);
    if (unexpected) this.#log.error('a connection could not be accepted', { error: errorMessage(error) });
    const text = JSON.stringify(body);
    socket.end(
      `HTTP/1.1 ${status} Refused\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(text)}\r\n` +
        `connection: close\r\n\r\n${text}`,
      () => socket.destroy(),
    );
  }

  #accept(socket: WebSocket, key: Uint8Array): void {
    const session = this.#service.attach(key, new SocketSink(socket));
    const slice = this.#slices[this.#nextSlice++ % SLICES]!;
    slice.add(socket);
    this.#connected.set(socket, { session, slice, alive: true, staleBytes: 0 });
    socket.on('message', this.#onMessage);
    socket.on('pong', this.#onPong);
    socket.on('close', this.#onClose);
    socket.on('error', this.#onError);
  }

  #received(socket: WebSocket, data: RawData, isBinary: boolean): void {
    const connected = this.#connected.get(socket);
    if (connected === undefined) return;
    connected.alive = true;
    if (isBinary || !Buffer.isBuffer(data)) {
      this.#drop(socket, CLOSE_CODES.binary, 'binary');
      return;
    }
    const message = parseClientMessage(data.toString());
    if (message === undefined) {
      this.#drop(socket, CLOSE_CODES.malformed, 'malformed');
      return;
    }
    this.#service.receive(connected.session, message).then(
      (kept) => kept || this.#drop(socket, CLOSE_CODES.tooMany, 'too-many-messages'),
      (error: unknown) => {
        this.#log.error('a message could not be handled', { error: errorMessage(error) });
        // The node connects again, maybe to a server whose store works.
        socket.close(CLOSE_CODES.shuttingDown, 'the store of the control plane does not work now');
      },
    );
  }

  #drop(socket: WebSocket, code: number, reason: string): void {
    this.#metrics().refused(reason);
    this.#closed(socket);
    socket.close(code, reason);
  }

  #closed(socket: WebSocket): void {
    const connected = this.#connected.get(socket);
    if (connected === undefined) return;
    this.#connected.delete(socket);
    connected.slice.delete(socket);
    this.#service.detach(connected.session);
  }

  #sweepSlice(slice: Set<WebSocket>): void {
    for (const socket of slice) {
      const connected = this.#connected.get(socket);
      if (connected === undefined) continue;
      const stale = Math.min(connected.staleBytes, socket.bufferedAmount) > MAX_STALE_BYTES;
      if (!connected.alive || stale) {
        this.#metrics().refused(stale ? 'too-slow' : 'silent');
        socket.terminate();
        continue;
      }
      connected.alive = false;
      connected.staleBytes = socket.bufferedAmount;
      socket.ping();
    }
  }
}

/** How the service reaches one node. */
class SocketSink implements SessionSink {
  readonly #socket: WebSocket;

  constructor(socket: WebSocket) {
    this.#socket = socket;
  }

  send(text: string): boolean {
    this.#socket.send(text);
    return this.#socket.bufferedAmount <= MAX_BUFFERED_BYTES;
  }

  close(reason: 'replaced' | 'too-slow' | 'shutting-down'): void {
    if (reason === 'too-slow') this.#socket.terminate();
    else if (reason === 'replaced') this.#socket.close(CLOSE_CODES.replaced, 'this node connected again');
    else this.#socket.close(CLOSE_CODES.shuttingDown, 'the server is shutting down');
  }
}
