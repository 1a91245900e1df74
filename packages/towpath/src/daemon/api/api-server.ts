import { chmodSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { ListenOptions } from 'node:net';
import { dropRestOfBody, parserErrors } from '@towpath/control/parser-errors';
import { errorCode, TowpathError } from '@towpath/core';
import { ConnectionLimit, limitPipelining, limitServer, markUsed } from '@towpath/net';
import { routes } from '@towpath/dashboard/api';
import { pageFolder } from '@towpath/dashboard/page';
import fastify, { type FastifyInstance, type FastifyReply } from 'fastify';
import { z } from 'zod';
import type { Daemon } from '../daemon.ts';
import { answerOf } from './answer-error.ts';
import { Guard, NO_COOKIE, type Refusal } from './guard.ts';
import { addMediaRoutes } from './media-routes.ts';
import { loadPage, NO_PAGE, PAGE_HEADERS, type PageFile } from './page.ts';
import { addRoutes, healthOf } from './routes.ts';
import { apiSocketPath } from './socket-path.ts';
import type { ApiToken } from './token.ts';
import { WebSockets } from './web-sockets.ts';

/** A list of 10,000 ids, the largest request there is. */
const MAX_BODY_BYTES = 1_100_000;
/** Where they are used up, the oldest connection without the token makes room for a new one. */
const MAX_CONNECTIONS = 256;
/** Times in which a request has to be complete; a missing Host header is answered by the guard, because Node's answer has no body. */
const SERVER = {
  requestTimeout: 30_000,
  headersTimeout: 10_000,
  connectionsCheckingInterval: 1_000,
  requireHostHeader: false,
} as const;
/** The kernel's limit of a Unix socket's name. */
const MAX_SOCKET_PATH = 107;

/** `successor`: the one that asks is the next daemon. */
const downSchema = z.object({ successor: z.boolean().optional() });

/** One listener of the API. */
export class ApiServer implements AsyncDisposable {
  readonly app: FastifyInstance;
  /** `http://127.0.0.1:4180`, or the path of the socket. */
  readonly address: string;
  readonly #sockets: WebSockets;
  readonly #after: () => void;

  private constructor(app: FastifyInstance, address: string, sockets: WebSockets, after: () => void) {
    this.app = app;
    this.address = address;
    this.#sockets = sockets;
    this.#after = after;
  }

  /**
   * Listens on the Unix socket, for its owner only.
   * @throws TowpathError `disk-failed`; `bad-argument` when the path is too long for a socket.
   */
  static async onSocket(daemon: Daemon, stateFolder: string): Promise<ApiServer> {
    const path = apiSocketPath(stateFolder);
    if (Buffer.byteLength(path) > MAX_SOCKET_PATH) {
      throw new TowpathError(
        'bad-argument',
        `${path} is longer than a socket's name can be (${MAX_SOCKET_PATH} bytes). Next: set TOWPATH_HOME to a shorter path.`,
        { target: path },
      );
    }
    // The process lock says that nobody else listens there.
    rmSync(path, { force: true });
    const server = createServer(SERVER);
    bindForOwner(server);
    const app = build(daemon, server);
    app.post('/v1/down', (request, reply) => {
      const { successor = false } = downSchema.parse(request.body ?? {});
      reply.raw.once('finish', () => daemon.ended.abort());
      return reply.status(202).send(successor ? { pathPorts: daemon.expectSuccessor() } : {});
    });
    await listen(app, { path });
    chmodSync(path, 0o600);
    const sockets = new WebSockets(daemon, server, () => undefined);
    return new ApiServer(app, path, sockets, () => rmSync(path, { force: true }));
  }

  /** Listens on the loopback address, with the page. @throws TowpathError `address-in-use`, `network-failed`. */
  static async onLoopback(daemon: Daemon, options: { port: number; token: ApiToken }): Promise<ApiServer> {
    const server = createServer(SERVER);
    const limit = new ConnectionLimit({ total: MAX_CONNECTIONS, perAddress: MAX_CONNECTIONS });
    limitServer(server, limit);
    const proven = ({ socket }: IncomingMessage) => markUsed(socket, limit);
    let port = options.port;
    const hosts = () => [`127.0.0.1:${port}`, `localhost:${port}`];
    const guard = new Guard(daemon.runtime, { token: options.token, hosts });
    const app = build(daemon, server, { guard, proven });
    addPage(app);
    await listen(app, { host: '127.0.0.1', port });
    const bound = server.address();
    if (typeof bound === 'object' && bound !== null) port = bound.port;
    const sockets = new WebSockets(daemon, server, (request) => {
      const refusal = guard.checkOrigin(request, { navigation: false }) ?? guard.checkToken(request);
      if (refusal === undefined) proven(request);
      return refusal;
    });
    return new ApiServer(app, `http://127.0.0.1:${port}`, sockets, () => {});
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#sockets[Symbol.dispose]();
    this.app.server.closeAllConnections();
    await this.app.close();
    this.#after();
  }
}

/** @param access without it, whoever connects may do everything; `proven` is told of requests that had the token */
function build(
  daemon: Daemon,
  server: Server,
  access?: { guard: Guard; proven(request: IncomingMessage): void },
): FastifyInstance {
  const { log } = daemon.runtime;
  const parsing = parserErrors({ bodyOf: ({ code, message }) => ({ error: { code, message } }) });
  parsing.watch(server);
  const failed = (error: unknown, reply: FastifyReply) => {
    const { status, problem } = answerOf(error, log.child('API'));
    if (status === 413) dropRestOfBody(reply);
    return reply.status(status).type('application/json').send({ error: problem });
  };
  const app = fastify({
    serverFactory: (handler) => server.on('request', limitPipelining(handler)),
    bodyLimit: MAX_BODY_BYTES,
    forceCloseConnections: true,
    // Fastify's own answer has another form; what is asked meanwhile is answered.
    return503OnClosing: false,
    routerOptions: { maxParamLength: 300 },
    clientErrorHandler: parsing.onClientError,
    frameworkErrors: (error, _request, reply) => void failed(error, reply),
    logger: false,
  });
  // Only JSON, which a form of another page cannot send.
  app.removeContentTypeParser('text/plain');
  app.addHook('onRequest', async (request, reply) => {
    reply.headers(PAGE_HEADERS).header('cache-control', 'no-store');
    if (access === undefined) return;
    const { guard, proven } = access;
    const path = request.url.split('?')[0] ?? '/';
    const isApi = path.startsWith('/v1/') || path === routes.metrics.path;
    const refusal = guard.checkOrigin(request.raw, { navigation: !isApi });
    if (refusal !== undefined) return refuse(reply, refusal);
    if (!isApi || (request.method === 'POST' && path === routes.createSession.path)) return;
    const wrong = guard.checkToken(request.raw);
    if (wrong !== undefined) return refuse(reply, wrong);
    proven(request.raw);
  });
  app.setErrorHandler((error, _request, reply) => failed(error, reply));
  app.setNotFoundHandler((request, reply) =>
    reply.status(404).send({ error: { code: 'not-found', message: `There is no ${request.method} here.` } }),
  );
  app.get(routes.health.path, () => healthOf(daemon));
  if (access !== undefined) addSessions(app, access.guard);
  addRoutes(app, daemon);
  addMediaRoutes(app, daemon);
  return app;
}

const sessionSchema = z.strictObject({ token: z.string().max(200) });

function addSessions(app: FastifyInstance, guard: Guard): void {
  app.post(routes.createSession.path, (request, reply) => {
    const refusal = guard.checkSession(sessionSchema.parse(request.body).token);
    if (refusal !== undefined) return refuse(reply, refusal);
    return reply.header('set-cookie', guard.sessionCookie()).status(204).send();
  });
  app.delete(routes.deleteSession.path, (_request, reply) => reply.header('set-cookie', NO_COOKIE).status(204).send());
}

/** Serves the built page; paths without a file are places within the page. */
function addPage(app: FastifyInstance): void {
  const folder = pageFolder();
  const files = folder === undefined ? new Map<string, PageFile>() : loadPage(folder);
  const index = files.get('/index.html') ?? NO_PAGE;
  app.get('/*', (request, reply) => {
    const path = request.url.split('?')[0] ?? '/';
    const isPlace = !/\.\w+$/.test(path) && !path.startsWith('/v1/');
    const file = files.get(path) ?? (isPlace ? index : undefined);
    if (file === undefined) return reply.callNotFound();
    reply.header('cache-control', file.immutable ? 'public, max-age=31536000, immutable' : 'no-cache');
    return reply.type(file.type).send(file.data);
  });
}

function refuse(reply: FastifyReply, { status, code, message }: Refusal): FastifyReply {
  return reply.status(status).send({ error: { code, message } });
}

/**
 * The socket's mode is right from the first moment: between bind and chmod others could connect. The umask is that of the whole
 * process, so it is changed for the bind alone, which `listen` does before it returns: parties and cameras start meanwhile.
 */
function bindForOwner(server: Server): void {
  const bind = server.listen.bind(server) as (options: ListenOptions) => Server;
  Object.assign(server, {
    listen: (options: ListenOptions) => {
      const umask = process.umask(0o177);
      try {
        return bind(options);
      } finally {
        process.umask(umask);
      }
    },
  });
}

async function listen(app: FastifyInstance, where: { path: string } | { host: string; port: number }): Promise<void> {
  try {
    await app.listen(where);
  } catch (cause) {
    await app.close();
    const place = 'path' in where ? where.path : `${where.host}:${where.port}`;
    const inUse = errorCode(cause) === 'EADDRINUSE';
    const next = inUse ? 'Next: set api.port in the configuration, or --api-port.' : '';
    throw new TowpathError(
      inUse ? 'address-in-use' : 'path' in where ? 'disk-failed' : 'network-failed',
      `The API cannot listen on ${place} (${errorCode(cause)}). ${next}`.trimEnd(),
      { target: place, cause, kind: 'local' },
    );
  }
}
