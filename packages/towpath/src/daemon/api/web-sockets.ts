import type { IncomingMessage, Server } from 'node:http';
import type { Duplex } from 'node:stream';
import { refuseConnection } from '@towpath/control/parser-errors';
import { deadlineInterval, errorCode, errorMessage, isAbort, type Timer } from '@towpath/core';
import { encodeLiveFrame, type LiveEnd, type LiveStart } from '@towpath/dashboard/api';
import { type WebSocket, WebSocketServer } from 'ws';
import type { CameraHolder } from '../cameras/camera-holder.ts';
import type { Daemon } from '../daemon.ts';
import type { Refusal } from './guard.ts';

/** Pages send nothing; a client that does is broken. */
const MAX_PAYLOAD = 1_024;
const MAX_SOCKETS = 100;
/** A page that takes this long to read is left behind: it gets later frames, and the newest state. */
const EVENTS_BUFFER_BYTES = 1_000_000;
const LIVE_BUFFER_BYTES = 4_000_000;
const PING_MS = 30_000;
/** A client that pings and does not read is cut off before more waits for it than a live stream may queue. */
const PONG_BUFFER_BYTES = 2 * LIVE_BUFFER_BYTES;

/** An answer instead of an upgrade. */
interface Refused {
  readonly status: number;
  readonly code: string;
  readonly message: string;
}
const NOT_FOUND: Refused = { status: 404, code: 'not-found', message: 'There is no WebSocket here.' };
const TOO_MANY: Refused = {
  status: 503,
  code: 'limit-exceeded',
  message: `More than ${MAX_SOCKETS} WebSockets are open. Next: close other pages.`,
};

/** The WebSockets of one listener: events, and live video. */
export class WebSockets implements Disposable {
  readonly #daemon: Daemon;
  readonly #server = new WebSocketServer({
    noServer: true,
    maxPayload: MAX_PAYLOAD,
    perMessageDeflate: false,
    autoPong: false,
  });
  readonly #check: (request: IncomingMessage) => Refusal | undefined;
  readonly #open = new Map<WebSocket, { answered: boolean }>();
  readonly #pinging: Timer;

  /** @param check who may connect */
  constructor(daemon: Daemon, server: Server, check: (request: IncomingMessage) => Refusal | undefined) {
    this.#daemon = daemon;
    this.#check = check;
    this.#server.on('wsClientError', (error, socket) =>
      refuse(socket, { status: 400, code: 'invalid-request', message: error.message }),
    );
    server.on('upgrade', (request, socket, head) => this.#upgrade(request, socket, head));
    this.#pinging = deadlineInterval({
      clock: daemon.runtime.clock,
      intervalMs: PING_MS,
      onTick: () => this.#ping(),
    });
  }

  [Symbol.dispose](): void {
    this.#pinging.cancel();
    for (const socket of this.#open.keys()) socket.terminate();
    this.#server.close();
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on('error', () => socket.destroy());
    const refusal = this.#check(request);
    if (refusal !== undefined) {
      refuse(socket, refusal);
      return;
    }
    if (this.#open.size >= MAX_SOCKETS) {
      refuse(socket, TOO_MANY);
      return;
    }
    const url = URL.parse(request.url ?? '/', 'http://localhost');
    if (url === null) {
      refuse(socket, { status: 400, code: 'invalid-request', message: 'The path is malformed.' });
      return;
    }
    const live = /^\/v1\/cameras\/([\w-]{1,40})\/live$/.exec(url.pathname)?.[1];
    const holder = live === undefined ? undefined : this.#daemon.cameras.get(live);
    if (url.pathname !== '/v1/events' && holder === undefined) {
      refuse(socket, NOT_FOUND);
      return;
    }
    this.#server.handleUpgrade(request, socket, head, (webSocket) => {
      const state = { answered: true };
      this.#open.set(webSocket, state);
      webSocket.on('pong', () => {
        state.answered = true;
      });
      webSocket.on('ping', (data) => {
        if (webSocket.bufferedAmount > PONG_BUFFER_BYTES) webSocket.terminate();
        else webSocket.pong(data);
      });
      webSocket.on('error', () => webSocket.terminate());
      webSocket.once('close', () => this.#open.delete(webSocket));
      if (holder === undefined) this.#sendEvents(webSocket, url.searchParams);
      else void this.#sendLive(webSocket, holder);
    });
  }

  #sendEvents(socket: WebSocket, query: URLSearchParams): void {
    const run = query.get('run');
    const after = Number(query.get('after') ?? Number.NaN);
    const from = run !== null && Number.isSafeInteger(after) ? { run, after } : undefined;
    const stop = this.#daemon.hub.subscribe(
      from,
      (batch) => socket.send(JSON.stringify(batch)),
      () => socket.bufferedAmount > EVENTS_BUFFER_BYTES,
    );
    socket.once('close', stop);
  }

  async #sendLive(socket: WebSocket, holder: CameraHolder): Promise<void> {
    const gone = new AbortController();
    socket.once('close', () => gone.abort());
    const signal = AbortSignal.any([gone.signal, this.#daemon.runtime.signal]);
    let started = false;
    let problem: LiveEnd['problem'] = null;
    try {
      for await (const { video, keyFrame, timestamp, width, height, intact } of holder.watch({ signal })) {
        if (video.length === 0 || !intact) continue;
        if (!started || socket.bufferedAmount > LIVE_BUFFER_BYTES) {
          // A decoder can begin at a key frame only.
          if (!keyFrame || socket.bufferedAmount > LIVE_BUFFER_BYTES) {
            started = false;
            continue;
          }
          const codec = h264Codec(video);
          if (codec === undefined) continue;
          socket.send(JSON.stringify({ type: 'start', codec, width, height } satisfies LiveStart));
          started = true;
        }
        socket.send(encodeLiveFrame({ keyFrame, timestampUs: timestamp, data: video }));
      }
    } catch (error) {
      if (!isAbort(error)) problem = { code: errorCode(error), message: errorMessage(error) };
    }
    if (socket.readyState !== socket.OPEN) return;
    socket.send(JSON.stringify({ type: 'end', problem } satisfies LiveEnd));
    socket.close(1000);
  }

  #ping(): void {
    for (const [socket, state] of this.#open) {
      if (!state.answered) socket.terminate();
      state.answered = false;
      socket.ping();
    }
  }
}

/** `avc1.42c01e` from the sequence parameter set of an access unit in Annex B; undefined without one. */
export function h264Codec(data: Uint8Array): string | undefined {
  for (let at = 0; at + 6 < data.length; at++) {
    const isStart = data[at] === 0 && data[at + 1] === 0 && data[at + 2] === 1;
    if (!isStart || ((data[at + 3] ?? 0) & 0x1f) !== 7) continue;
    return `avc1.${Buffer.from(data.subarray(at + 4, at + 7)).toString('hex')}`;
  }
  return undefined;
}

function refuse(socket: Duplex, { status, code, message }: Refused): void {
  refuseConnection(socket, status, { error: { code, message } });
}
