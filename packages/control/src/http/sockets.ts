import type { IncomingMessage, Server } from 'node:http';
import type { Duplex } from 'node:stream';
import { type Clock, deadlineInterval, errorMessage, type Log, type Timer } from '@towpath/core';
import { type RawData, type WebSocket, WebSocketServer } from 'ws';
import type { ControlService } from '../server/service.ts';
import type { Session, SessionSink } from '../server/session.ts';
import { MAX_CLIENT_MESSAGE_BYTES, parseClientMessage } from '../wire/messages.ts';
import { answerTo } from './errors.ts';
import { type AddressShare, type BufferLimits, BufferedMemory } from './buffered-memory.ts';
import type { ConnectionLimits } from './connection-limits.ts';
import type { ControlMetrics } from './metrics.ts';
import { refuseConnection } from './parser-errors.ts';
import { addressKey, type RequestGuard } from './request-guard.ts';
import { localEnd } from './server-names.ts';

/** Path of the WebSocket. */
export const SOCKET_PATH = '/v1/socket';
/**
 * Every node is checked every 2.5 s, pinged when it was not heard since, and dropped when it was not heard for 10 s.
 * Nodes are checked in slices, because ten thousand pings at once would delay signals.
 */
const SLICES = 10;
const SLICE_MS = 250;
/** Pings and pongs of one node between two checks: it sends one ping in 3 s. */
const MAX_CONTROL_FRAMES = 64;
/** Checks in a row without anything heard. */
const DROP_AFTER = 3;
/** Below this a connection gets the next page of a log. */
const DRAINED_BYTES = 65_536;
/** A node that leaves more than this unread for 15 s is not reading at all. */
const MAX_STALE_BYTES = 65_536;
const STALE_LOOKS = 6;

/** Close codes (RFC 6455 §7.4.1; 4000–4999 are Towpath's). */
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
  readonly sink: SocketSink;
  readonly slice: Set<WebSocket>;
  /** Pings and pongs since the last check. */
  controlFrames: number;
  /** Checks since it was heard. */
  unheard: number;
  /** Checks since it had read most of what was sent. */
  stale: number;
}

/** The WebSocket connections of a server. One timer for all, and little memory for each. */
export class ControlSockets {
  readonly #service: ControlService;
  readonly #guard: RequestGuard;
  readonly #metrics: () => ControlMetrics;
  readonly #log: Log;
  readonly #acceptor: WebSocketServer;
  readonly #memory: BufferedMemory;
  readonly #connected = new Map<WebSocket, Connected>();
  readonly #slices: Set<WebSocket>[] = Array.from({ length: SLICES }, () => new Set());
  #nextSlice = 0;
  readonly #sweep: Timer;
  readonly #onMessage: (this: WebSocket, data: RawData, isBinary: boolean) => void;
  readonly #onHeard: (this: WebSocket) => void;
  readonly #onClose: (this: WebSocket) => void;
  readonly #onError: (error: Error) => void;

  constructor(
    components: {
      service: ControlService;
      guard: RequestGuard;
      metrics: () => ControlMetrics;
      clock: Clock;
      log: Log;
    },
    options: { buffers: BufferLimits },
  ) {
    this.#memory = new BufferedMemory(options.buffers);
    this.#service = components.service;
    this.#guard = components.guard;
    this.#metrics = components.metrics;
    this.#log = components.log;
    const accepting = {
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      maxPayload: MAX_CLIENT_MESSAGE_BYTES,
      // The library ends a connection at its own limit without a close code, so that ours has to be reached first.
      maxPendingAutoPongs: MAX_CONTROL_FRAMES + 1,
    };
    this.#acceptor = new WebSocketServer(accepting);
    this.#acceptor.on('wsClientError', (error, socket) =>
      this.#refuse(socket, Object.assign(error, { statusCode: 400 })),
    );
    this.#sweep = deadlineInterval({
      clock: components.clock,
      intervalMs: SLICE_MS,
      onTick: ({ count }) => this.#sweepSlice(this.#slices[count % SLICES]!),
    });
    // One function for all sockets instead of four closures for each.
    const sockets = this;
    this.#onMessage = function (data, isBinary) {
      sockets.#received(this, data, isBinary);
    };
    this.#onHeard = function () {
      const connected = sockets.#connected.get(this);
      if (connected === undefined) return;
      connected.unheard = 0;
      if (++connected.controlFrames > MAX_CONTROL_FRAMES) sockets.#drop(this, CLOSE_CODES.tooMany, 'too-many-pings');
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
    return { open: this.#connected.size, bufferedBytes: this.#memory.count() };
  }

  /** Takes over the upgrade requests of `server`. */
  serve(server: Server, connections: ConnectionLimits): void {
    server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      const onError = () => socket.destroy();
      socket.on('error', onError);
      this.#admit(request).then(
        (key) => {
          socket.off('error', onError);
          connections.prove(request.socket.remoteAddress, request.socket.remotePort);
          if (!socket.destroyed)
            this.#acceptor.handleUpgrade(request, socket, head, (ws) =>
              this.#accept(ws, key, addressKey(request.socket.remoteAddress ?? '')),
            );
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
    const claims = this.#guard.claims(request.headers, localEnd(request.socket));
    if (path !== SOCKET_PATH) throw Object.assign(new Error('WebSockets are at /v1/socket.'), { statusCode: 404 });
    await this.#guard.authenticateConnection(claims, path);
    return claims.key;
  }

  #refuse(socket: Duplex, error: unknown): void {
    const { status, body, unexpected } = answerTo(error);
    this.#metrics().refused(body.code);
    if (unexpected) this.#log.error('Cannot accept a connection', { error: errorMessage(error) });
    refuseConnection(socket, status, body);
  }

  #accept(socket: WebSocket, key: Uint8Array, address: string): void {
    const sink = new SocketSink(socket, this.#memory.of(address));
    const session = this.#service.attach(key, address, sink);
    const slice = this.#slices[this.#nextSlice++ % SLICES]!;
    slice.add(socket);
    this.#connected.set(socket, { session, sink, slice, controlFrames: 0, unheard: 0, stale: 0 });
    socket.on('message', this.#onMessage);
    socket.on('ping', this.#onHeard);
    socket.on('pong', this.#onHeard);
    socket.on('close', this.#onClose);
    socket.on('error', this.#onError);
  }

  #received(socket: WebSocket, data: RawData, isBinary: boolean): void {
    const connected = this.#connected.get(socket);
    if (connected === undefined) return;
    connected.unheard = 0;
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
        this.#log.error('Cannot process a message', { error: errorMessage(error) });
        // The node reconnects, possibly to a server with a working store.
        socket.close(CLOSE_CODES.shuttingDown, 'the store is not available');
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
    connected.sink.release();
    this.#service.detach(connected.session);
  }

  #sweepSlice(slice: Set<WebSocket>): void {
    for (const socket of slice) {
      const connected = this.#connected.get(socket);
      if (connected === undefined) continue;
      connected.stale = socket.bufferedAmount > MAX_STALE_BYTES ? connected.stale + 1 : 0;
      const stale = connected.stale > STALE_LOOKS;
      if (connected.unheard >= DROP_AFTER || stale) {
        this.#metrics().refused(stale ? 'too-slow' : 'silent');
        socket.terminate();
        continue;
      }
      // Nodes ping by themselves: those that were heard need no ping.
      if (connected.unheard > 0) socket.ping();
      connected.unheard++;
      connected.controlFrames = 0;
    }
  }
}

/** Connection of the service to one node. */
class SocketSink implements SessionSink {
  readonly #socket: WebSocket;
  readonly #share: AddressShare;
  #waiting: (() => void)[] = [];

  constructor(socket: WebSocket, share: AddressShare) {
    this.#socket = socket;
    this.#share = share;
    share.add(socket);
  }

  send(text: string): boolean {
    this.#socket.send(text, this.#onSent);
    return this.#share.admits(this.#socket, text.length);
  }

  drained(): Promise<void> {
    if (this.#isDrained()) return Promise.resolve();
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
    });
  }

  /** The connection is gone. */
  release(): void {
    this.#share.delete(this.#socket);
    this.#wakeAll();
  }

  close(reason: 'replaced' | 'too-slow' | 'shutting-down'): void {
    if (reason === 'too-slow') this.#socket.terminate();
    else if (reason === 'replaced') this.#socket.close(CLOSE_CODES.replaced, 'this node connected again');
    else this.#socket.close(CLOSE_CODES.shuttingDown, 'the server is shutting down');
  }

  readonly #onSent = (): void => {
    if (this.#waiting.length > 0 && this.#isDrained()) this.#wakeAll();
  };

  #isDrained(): boolean {
    return this.#socket.readyState !== this.#socket.OPEN || this.#socket.bufferedAmount <= DRAINED_BYTES;
  }

  #wakeAll(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wake of waiting) wake();
  }
}
