import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type Clock, errorMessage, type Log, silentLog, TowpathError } from '@towpath/core';
import { ConnectionLimit, type Endpoint, limitPipelining, limitServer, markUsed } from '@towpath/net';
import type { LiveSource } from '../live-source.ts';
import { LiveMp4 } from '../live-mp4.ts';
import type { NewestPicture } from '../newest-picture.ts';
import { type HttpAccess, refusal } from './access.ts';
import { BOUNDARY, motionJpeg } from './motion-jpeg.ts';

export interface HttpOutputsComponents {
  readonly clock: Clock;
  readonly log?: Log;
  /** The camera. Its stream runs only while somebody watches. */
  readonly source: LiveSource;
  readonly newest: Pick<NewestPicture, 'read'>;
}

export interface HttpOutputsOptions {
  /** @default 127.0.0.1 */
  readonly address?: string;
  /** @default 8088 */
  readonly port?: number;
  readonly user: string;
  /** A secret. */
  readonly password: string;
  /** More names by which the server may be called. */
  readonly allowHosts?: readonly string[];
}

const DEFAULT_PORT = 8088;

/** Viewers of live streams at a time; each motion JPEG runs a process. */
const MAX_STREAMS = 8;
/** One address cannot keep others out: its oldest connection without a password makes room for a new one. */
const CONNECTIONS = { total: 64, perAddress: 32 } as const;
const REQUEST_LIMIT_MS = 15_000;
/** How often Node looks for requests that are over their limit. */
const CHECK_MS = 1_000;

/** A viewer that is slower than its stream loses the connection at this many bytes. */
const MAX_QUEUED_BYTES = 8 * 1024 * 1024;

/**
 * Serves the pictures of one camera over HTTP with a password: `/snapshot.jpg` is the newest photo, `/live.mjpeg` live
 * motion JPEG, `/live.mp4` live MP4 with sound.
 */
export class HttpOutputs implements AsyncDisposable {
  readonly #components: HttpOutputsComponents;
  readonly #access: HttpAccess;
  readonly #log: Log;
  readonly #server: Server;
  readonly #limit = new ConnectionLimit(CONNECTIONS);
  readonly #running = new Set<Promise<void>>();
  readonly #closing = new AbortController();
  #streams = 0;

  private constructor(components: HttpOutputsComponents, options: HttpOutputsOptions, address: string) {
    this.#components = components;
    this.#log = (components.log ?? silentLog).child('HTTP');
    const hosts = ['localhost', '127.0.0.1', '::1', address, ...(options.allowHosts ?? [])];
    this.#access = { ...options, hosts: new Set(hosts.map((host) => host.toLowerCase())) };
    this.#server = createServer({
      requestTimeout: REQUEST_LIMIT_MS,
      headersTimeout: REQUEST_LIMIT_MS,
      connectionsCheckingInterval: CHECK_MS,
    });
    limitServer(this.#server, this.#limit);
    this.#server.on(
      'request',
      limitPipelining((request, response) => this.#take(request, response), { bodies: false }),
    );
  }

  /** @throws TowpathError `address-in-use`, `network-failed` */
  static async listen(components: HttpOutputsComponents, options: HttpOutputsOptions): Promise<HttpOutputs> {
    const { address = '127.0.0.1', port = DEFAULT_PORT } = options;
    const outputs = new HttpOutputs(components, options, address);
    await new Promise<void>((resolve, reject) => {
      outputs.#server.once('error', (cause: NodeJS.ErrnoException) => {
        const code = cause.code === 'EADDRINUSE' ? 'address-in-use' : 'network-failed';
        const message = `Pictures cannot be served on ${address}:${port} (${cause.code}). Next: choose another port.`;
        reject(new TowpathError(code, message, { cause, kind: 'local' }));
      });
      outputs.#server.listen(port, address, resolve);
    });
    return outputs;
  }

  get local(): Endpoint {
    const bound = this.#server.address();
    if (typeof bound !== 'object' || bound === null) throw new TypeError('unreachable: the server listens');
    return { address: bound.address, port: bound.port };
  }

  /** Live streams that run. */
  get streams(): number {
    return this.#streams;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new TowpathError('aborted', 'The server is closed.'));
    this.#server.closeAllConnections();
    if (this.#server.listening) await new Promise<void>((resolve) => this.#server.close(() => resolve()));
    await Promise.all(this.#running);
  }

  #take(request: IncomingMessage, response: ServerResponse): void {
    const gone = new AbortController();
    response.once('close', () => gone.abort(new TowpathError('aborted', 'The viewer has left.')));
    const signal = AbortSignal.any([gone.signal, this.#closing.signal]);
    const running = this.#answer(request, response, signal)
      .catch((error: unknown) => {
        if (signal.aborted) return;
        this.#log.info(`${request.url?.slice(0, 40)}: ${errorMessage(error)}`);
        if (response.headersSent) response.destroy();
        else end(response, error instanceof TowpathError && error.kind === 'local' ? 501 : 503, errorMessage(error));
      })
      .finally(() => this.#running.delete(running));
    this.#running.add(running);
  }

  async #answer(request: IncomingMessage, response: ServerResponse, signal: AbortSignal): Promise<void> {
    const refused = refusal(request, this.#access);
    if (refused !== undefined) {
      if (refused.status === 401) response.setHeader('www-authenticate', 'Basic realm="towpath", charset="UTF-8"');
      end(response, refused.status, refused.text);
      return;
    }
    markUsed(request.socket, this.#limit);
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.setHeader('allow', 'GET, HEAD');
      end(response, 405, 'Only GET and HEAD are served.');
      return;
    }
    response.setHeader('cache-control', 'no-store');
    response.setHeader('x-content-type-options', 'nosniff');
    switch (request.url?.split('?')[0]) {
      case '/snapshot.jpg': {
        const jpeg = await this.#components.newest.read(signal);
        if (jpeg === undefined) end(response, 404, 'The card has no photo.');
        else response.writeHead(200, { 'content-type': 'image/jpeg', 'content-length': jpeg.length }).end(jpeg);
        return;
      }
      case '/live.mjpeg':
        await this.#stream(response, `multipart/x-mixed-replace; boundary=${BOUNDARY}`, (write) =>
          motionJpeg(this.#components.source.live({ signal }), write, signal),
        );
        return;
      case '/live.mp4':
        await this.#stream(response, 'video/mp4', (write) => this.#mp4(write, signal));
        return;
      default:
        end(response, 404, 'Served are /snapshot.jpg, /live.mjpeg and /live.mp4.');
    }
  }

  async #stream(
    response: ServerResponse,
    type: string,
    run: (write: (bytes: Uint8Array) => boolean) => Promise<void>,
  ): Promise<void> {
    if (response.req.method === 'HEAD') {
      response.writeHead(200, { 'content-type': type }).end();
      return;
    }
    if (this.#streams >= MAX_STREAMS) {
      end(response, 503, `${MAX_STREAMS} streams are being watched already.`);
      return;
    }
    this.#streams++;
    try {
      await run((bytes) => {
        if (!response.headersSent) response.writeHead(200, { 'content-type': type });
        if (response.writableLength > MAX_QUEUED_BYTES) response.destroy();
        return response.write(bytes);
      });
      response.end();
    } finally {
      this.#streams--;
    }
  }

  async #mp4(write: (bytes: Uint8Array) => boolean, signal: AbortSignal): Promise<void> {
    const { source, clock } = this.#components;
    await using file = new LiveMp4({ write: async (bytes) => void write(bytes) });
    for await (const frame of source.live({ signal })) await file.add(frame, clock.now());
  }
}

function end(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' }).end(`${text}\n`);
}
