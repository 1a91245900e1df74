import { readFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { extname, join, normalize, sep } from 'node:path';
import {
  type DaemonEvent,
  type DeleteMedia,
  type Download,
  encodeLiveFrame,
  type EventBatch,
  type IssuedInvite,
  type MediaItem,
  type NetworkCheck,
  type NewInvite,
  routes,
} from '@towpath/dashboard/api';
import { type WebSocket, WebSocketServer } from 'ws';
import { PAGE_SECURITY_POLICY } from '../src/page-folder.ts';
import { FakeData, type FakeSize } from './fake-data.ts';
import { FakePictures, FRAME_MS } from './fake-pictures.ts';

export const FAKE_TOKEN = 'fake-token-0123456789abcdef';
const COOKIE = 'towpath=fake-session';
const RUN = 'run-1';

export interface FakeDaemonOptions extends FakeSize {
  /** Folder of the built page. */
  page: string;
  /** Drawing takes most of a test's time, so daemons may share what was drawn. */
  drawn?: FakePictures;
  /** @default any free port */
  port?: number;
  /** Answers with no parties and no cameras. */
  empty?: boolean;
}

type Handler = (request: IncomingMessage, parts: Record<string, string>, query: URLSearchParams) => unknown;

/** The answer that a request is refused with. */
class Refusal {
  readonly status: number;
  readonly error: { code: string; message: string };

  constructor(status: number, code: string, message: string) {
    this.status = status;
    this.error = { code, message };
  }
}

const CONTENT_TYPES: Record<string, string> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
  '.woff2': 'font/woff2',
};

/** Serves the page and the daemon's API from made-up data, with the same security policy. For tests and development. */
export class FakeDaemon {
  readonly data: FakeData;
  /** Requests so far, as `GET /v1/status`. */
  readonly requests: string[] = [];
  /** Routes that are answered with an error, or not at all. */
  readonly #failing = new Map<string, Refusal | 'hang'>();
  /** Requests without a cookie are let in. */
  open = false;
  readonly #options: FakeDaemonOptions;
  readonly #pictures: FakePictures;
  readonly #server: Server;
  readonly #sockets = new WebSocketServer({ noServer: true });
  readonly #events = new Set<WebSocket>();
  readonly #timers = new Set<NodeJS.Timeout>();
  #sequence = 0;
  #check: NetworkCheck;
  #downloads: Download[] = [];
  #port = 0;

  constructor(options: FakeDaemonOptions) {
    this.#options = options;
    this.#pictures = options.drawn ?? new FakePictures();
    this.data = new FakeData(options);
    if (options.empty) {
      this.data.peers.length = 0;
      this.data.cameras.length = 0;
      this.data.relays.length = 0;
      this.data.invites.length = 0;
    }
    this.#check = { running: false, report: options.empty ? null : this.data.report, problem: null };
    this.#server = createServer((request, response) => void this.#answer(request, response));
    this.#server.on('upgrade', (request, socket, head) => {
      const url = new URL(request.url ?? '/', 'http://daemon');
      if (!this.#signedIn(request)) {
        socket.end('HTTP/1.1 401 Unauthorized\r\nconnection: close\r\n\r\n');
        return;
      }
      this.#sockets.handleUpgrade(request, socket, head, (webSocket) => {
        if (url.pathname === routes.events.path) this.#subscribe(webSocket);
        else this.#live(webSocket);
      });
    });
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}/`;
  }

  /** The link that a daemon prints. */
  get link(): string {
    return `${this.url}#token=${FAKE_TOKEN}`;
  }

  async listen(port: number = this.#options.port ?? 0): Promise<this> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(port, '127.0.0.1', resolve);
    });
    const address = this.#server.address();
    this.#port = typeof address === 'object' && address !== null ? address.port : 0;
    return this;
  }

  /** Sends events to every page that is open. */
  emit(...events: DaemonEvent[]): void {
    this.#sequence++;
    for (const socket of this.#events) this.#send(socket, { reset: false, events });
  }

  /** Drops every event stream and refuses new connections until {@link listen}. */
  async stop(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    this.#timers.clear();
    for (const client of this.#sockets.clients) client.terminate();
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  /** Answers a route with an error until {@link works}. */
  fail(route: keyof typeof routes, status = 500, message = 'Made-up failure.'): void {
    this.#failing.set(route, new Refusal(status, 'made-up', message));
  }

  works(): void {
    this.#failing.clear();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://daemon');
    this.requests.push(`${request.method} ${url.pathname}`);
    response.setHeader('content-security-policy', PAGE_SECURITY_POLICY);
    response.setHeader('x-content-type-options', 'nosniff');
    response.setHeader('referrer-policy', 'no-referrer');
    try {
      if (!url.pathname.startsWith('/v1/')) await this.#serveFile(url.pathname, response);
      else await this.#serveApi(request, response, url);
    } catch (error) {
      const refusal = error instanceof Refusal ? error : new Refusal(500, 'internal', String(error));
      if (response.headersSent) response.destroy();
      else json(response, refusal.status, { error: refusal.error });
    }
  }

  async #serveFile(path: string, response: ServerResponse): Promise<void> {
    const folder = this.#options.page;
    const file = normalize(join(folder, path === '/' ? 'index.html' : decodeURIComponent(path)));
    if (!file.startsWith(folder.endsWith(sep) ? folder : folder + sep))
      throw new Refusal(404, 'not-found', 'No such file.');
    const bytes = await readFile(file).catch(() => undefined);
    if (bytes === undefined) throw new Refusal(404, 'not-found', 'No such file.');
    response.writeHead(200, { 'content-type': CONTENT_TYPES[extname(file)] ?? 'application/octet-stream' }).end(bytes);
  }

  async #serveApi(request: IncomingMessage, response: ServerResponse, url: URL): Promise<void> {
    const found = match(request.method ?? 'GET', url.pathname);
    if (found === undefined) throw new Refusal(404, 'not-found', `No route ${url.pathname}.`);
    const { name, parts } = found;
    if (name === 'createSession') {
      const { token } = (await body(request)) as { token?: string };
      if (token !== FAKE_TOKEN)
        throw new Refusal(401, 'wrong-token', 'The token is not this daemon’s. Next: towpath dashboard.');
      response.writeHead(204, { 'set-cookie': `${COOKIE}; Path=/; HttpOnly; SameSite=Strict` }).end();
      return;
    }
    if (!this.#signedIn(request)) throw new Refusal(401, 'no-token', 'No token.');
    const failure = this.#failing.get(name);
    if (failure === 'hang') return;
    if (failure !== undefined) throw failure;
    if (name === 'thumbnail' || name === 'file') return this.#serveMedia(name, parts, url, request, response);
    const handler = this.#handlers()[name];
    if (handler === undefined) throw new Refusal(404, 'not-found', `No answer for ${name}.`);
    const answer = await handler(request, parts, url.searchParams);
    if (answer === undefined) response.writeHead(204).end();
    else json(response, 200, answer);
  }

  #handlers(): Partial<Record<string, Handler>> {
    const { data } = this;
    return {
      status: () =>
        this.#options.empty ? { ...data.status(this.#sequence, RUN), parties: [] } : data.status(this.#sequence, RUN),
      peers: () => data.peers,
      peer: (_request, { peer = '' }) => found(data.detail(peer)),
      ping: (_request, { peer = '' }) => ({ rttMs: found(data.peers.find(({ id }) => id === peer)).latencyMs }),
      refreshPeer: () => ({}),
      invites: () => data.invites,
      createInvite: (request) => this.#invite(request),
      revokeInvite: (_request, { invite }) => {
        const one = found(data.invites.find(({ id }) => id === invite));
        one.state = 'revoked';
      },
      relays: () => data.relays,
      netcheck: () => this.#check,
      runNetcheck: () => this.#runCheck(),
      cameras: () => data.cameras,
      camera: (_request, { camera }) => found(data.cameras.find(({ name }) => name === camera)),
      checkCamera: () => ({}),
      days: (_request, { camera = '' }) => data.days(camera),
      media: (_request, { camera = '' }, query) => this.#list(camera, query),
      downloads: () => this.#downloads,
      createDownload: (request, { camera = '' }) => this.#download(request, camera),
      cancelDownload: (_request, { download }) => {
        for (const one of this.#downloads) if (one.id === download) one.state = 'cancelled';
      },
      deleteMedia: (request, { camera = '' }) => this.#delete(request, camera),
    };
  }

  async #invite(request: IncomingMessage): Promise<IssuedInvite> {
    const { uses = 1, hours = 24, role = 'member' } = (await body(request)) as NewInvite;
    const id = `inv-${this.data.invites.length + 1}`;
    const expires = new Date(this.data.nowMs + hours * 3_600_000).toISOString();
    const invite = { id, state: 'open', role, issuer: 'study', uses: 0, maxUses: uses, expires } as const;
    this.data.invites.unshift({ ...invite });
    return {
      invite,
      code: 'K7QF-2M9X-TR4C',
      link: 'https://party.example.org/join#inv=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4v.MDEyMzQ1Njc4OTo7PD0-P0BBQkNERUZHSElKS0xNTk9QUVJTVFVWV1hZWltcXV5fYA',
      command: 'towpath party join K7QF-2M9X-TR4C --server party.example.org',
    };
  }

  #runCheck(): NetworkCheck {
    this.#check = { ...this.#check, running: true };
    this.#later(600, () => {
      this.#check = {
        running: false,
        report: { ...this.data.report, at: new Date(this.data.nowMs).toISOString() },
        problem: null,
      };
      this.emit({ type: 'netcheck', check: this.#check });
    });
    return this.#check;
  }

  #list(camera: string, query: URLSearchParams): { items: MediaItem[]; next: string | null } {
    const day = query.get('day');
    const all = found(this.data.media.get(camera)).filter((item) => day === null || item.day === day);
    const from = Number(query.get('after') ?? 0);
    const limit = Number(query.get('limit') ?? 100);
    return { items: all.slice(from, from + limit), next: from + limit < all.length ? String(from + limit) : null };
  }

  async #download(request: IncomingMessage, camera: string): Promise<Download> {
    const { items } = (await body(request)) as { items?: string[] };
    const missing = found(this.data.media.get(camera)).filter(
      ({ saved, id }) => !saved && (items?.includes(id) ?? true),
    );
    const download: Download = {
      id: `download-${this.#downloads.length + 1}`,
      camera,
      state: 'running',
      startedAt: new Date(this.data.nowMs).toISOString(),
      done: 0,
      wanted: missing.length,
      bytes: 0,
      bytesPerSecond: 410_000,
      failed: [],
      problem: null,
    };
    this.#downloads.push(download);
    const step = () => {
      const item = missing[download.done];
      if (item === undefined || download.state !== 'running') return;
      Object.assign(item, { saved: true, bytes: 240_000, fileUrl: `/v1/cameras/${camera}/media/${item.id}/file` });
      download.done++;
      download.bytes += 240_000;
      if (download.done === download.wanted) download.state = 'done';
      this.emit({ type: 'media', camera, item: { ...item } }, { type: 'download', download: { ...download } });
      if (download.state === 'running') this.#later(500, step);
    };
    this.#later(500, step);
    return { ...download };
  }

  async #delete(request: IncomingMessage, camera: string): Promise<unknown> {
    const { items, confirm } = (await body(request)) as DeleteMedia;
    if (confirm !== camera) throw new Refusal(400, 'not-confirmed', 'The name of the camera is not confirmed.');
    const media = found(this.data.media.get(camera));
    this.data.media.set(
      camera,
      media.filter(({ id }) => !items.includes(id)),
    );
    this.emit({ type: 'media-removed', camera, items });
    return { deleted: items, failed: [] };
  }

  async #serveMedia(
    name: 'thumbnail' | 'file',
    parts: Record<string, string>,
    url: URL,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    const item = found(this.data.media.get(parts.camera ?? '')?.find(({ id }) => id === parts.media));
    const takenMs = item.takenAt === null ? 0 : Date.parse(`${item.takenAt.slice(0, 19)}Z`);
    const video = name === 'file' && item.kind === 'video';
    const bytes = video
      ? await this.#pictures.video()
      : name === 'file'
        ? this.#pictures.photo(item.id, takenMs)
        : this.#pictures.thumbnail(item.id, takenMs);
    const headers: Record<string, string> = {
      'content-type': video ? 'video/mp4' : 'image/jpeg',
      'cache-control': 'private, max-age=3600',
      'accept-ranges': 'bytes',
    };
    if (url.searchParams.has('download')) {
      headers['content-disposition'] = `attachment; filename="${item.id}.${video ? 'mp4' : 'jpg'}"`;
    }
    const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '');
    if (range === null) {
      response.writeHead(200, { ...headers, 'content-length': bytes.length }).end(bytes);
      return;
    }
    const from = Number(range[1]);
    const to = Math.min(range[2] ? Number(range[2]) : bytes.length - 1, bytes.length - 1);
    headers['content-range'] = `bytes ${from}-${to}/${bytes.length}`;
    response.writeHead(206, headers).end(bytes.subarray(from, to + 1));
  }

  #signedIn(request: IncomingMessage): boolean {
    return this.open || (request.headers.cookie ?? '').includes(COOKIE);
  }

  #subscribe(socket: WebSocket): void {
    this.#events.add(socket);
    socket.on('close', () => this.#events.delete(socket));
    this.#send(socket, { reset: false, events: [] });
  }

  #send(socket: WebSocket, { reset, events }: Pick<EventBatch, 'reset' | 'events'>): void {
    const at = new Date(this.data.nowMs).toISOString();
    const batch: EventBatch = { version: 1, run: RUN, sequence: this.#sequence, reset, at, events };
    socket.send(JSON.stringify(batch));
  }

  #live(socket: WebSocket): void {
    const frames = this.#pictures.frames();
    const { width, height } = this.#pictures;
    socket.send(JSON.stringify({ type: 'start', codec: codecOf(frames[0]!.data), width, height }));
    let count = 0;
    const timer = setInterval(() => {
      const { data, keyFrame } = frames[count % frames.length]!;
      socket.send(encodeLiveFrame({ keyFrame, timestampUs: Date.now() * 1_000, data }));
      count++;
    }, FRAME_MS);
    this.#timers.add(timer);
    socket.on('close', () => {
      clearInterval(timer);
      this.#timers.delete(timer);
    });
  }

  #later(delayMs: number, callback: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      callback();
    }, delayMs);
    this.#timers.add(timer);
  }
}

function found<T>(thing: T | undefined): T {
  if (thing === undefined) throw new Refusal(404, 'not-found', 'There is no such thing. Next: towpath status.');
  return thing;
}

function match(method: string, path: string): { name: keyof typeof routes; parts: Record<string, string> } | undefined {
  const given = path.split('/');
  for (const [name, route] of Object.entries(routes)) {
    const wanted = route.path.split('/');
    if (route.method !== method || wanted.length !== given.length) continue;
    const parts: Record<string, string> = {};
    const fits = wanted.every((part, index) => {
      if (!part.startsWith(':')) return part === given[index];
      parts[part.slice(1)] = decodeURIComponent(given[index]!);
      return true;
    });
    if (fits) return { name: name as keyof typeof routes, parts };
  }
  return undefined;
}

async function body(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return chunks.length === 0 ? {} : JSON.parse(Buffer.concat(chunks).toString('utf8'));
}

function json(response: ServerResponse, status: number, answer: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
}

/** `avc1.42c01e`, from the SPS that an Annex B stream begins with. */
function codecOf(data: Uint8Array): string {
  for (let at = 0; at + 7 < data.length; at++) {
    const isSps = data[at] === 0 && data[at + 1] === 0 && data[at + 2] === 1 && (data[at + 3]! & 0x1f) === 7;
    if (isSps) return `avc1.${Buffer.from(data.subarray(at + 4, at + 7)).toString('hex')}`;
  }
  throw new TypeError('The stream begins with no SPS.');
}
