import { constants } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import swagger from '@fastify/swagger';
import { type Clock, errorMessage, type Log, type Random, silentLog } from '@towpath/core';
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { jsonSchemaTransform, serializerCompiler, validatorCompiler } from 'fastify-type-provider-zod';
import { limitPipelining } from '@towpath/net';
import { ControlError } from '../control-error.ts';
import { ControlService, type ControlServiceOptions } from '../server/service.ts';
import type { ControlStore } from '../store/store.ts';
import type { RequestClaims } from '../wire/request-signing.ts';
import type { BufferLimits } from './buffered-memory.ts';
import { DEFAULT_BUFFERS, DEFAULT_CONNECTIONS, DEFAULT_LIMITS } from './default-limits.ts';
import { answerTo } from './errors.ts';
import { type ConnectionLimitOptions, ConnectionLimits } from './connection-limits.ts';
import { ControlMetrics } from './metrics.ts';
import { dropRestOfBody, parserErrors } from './parser-errors.ts';
import { RequestGuard, type RequestLimits } from './request-guard.ts';
import { registerRoutes } from './routes.ts';
import { localEnd, ServerNames } from './server-names.ts';
import { ControlSockets } from './sockets.ts';

/** Options of a control server; all are optional. */
export interface ControlServerOptions extends ControlServiceOptions {
  /** Address to listen on. @default '127.0.0.1' */
  host?: string;
  /** @default 0, any free port */
  port?: number;
  /** PEM of certificate and key: HTTPS and secure WebSockets. */
  tls?: { cert: string; key: string };
  /** @default 200 per second, 2000 at once, for an address; 20 and 200 for a node; a party every 2 s, 50 at once */
  limits?: Partial<RequestLimits>;
  /**
   * Names that nodes know this server by, as `host` or `host:port`, besides the address that it is reached at: behind a
   * NAT, a proxy or with a DNS name. Requests that are signed for another name are refused.
   */
  names?: readonly string[];
  /** Bytes that nodes may leave unread. @default 8 MiB for a connection, 32 MiB for an address, 256 MiB in all */
  buffers?: Partial<BufferLimits>;
  /**
   * Open connections. Unproven ones have not sent an accepted request yet.
   * @default 20000 in all, 1024 of one address; unproven 2048 and 128
   */
  connections?: Partial<ConnectionLimitOptions>;
  /** A request has to be complete within this time, ms. @default 10000 */
  requestTimeoutMs?: number;
  /** Who may read `/metrics`. @default 'loopback' */
  metrics?: 'loopback' | 'everybody' | 'nobody';
}

/** The largest statement in base64 has 700 bytes, a sealed invite 2.5 KB; the limit is several times as large. */
const MAX_BODY_BYTES = 16_384;
const MAX_HEADER_BYTES = 8_192;
const READY = '/ready';

/** The control plane over HTTP and WebSocket. */
export class ControlServer implements AsyncDisposable {
  readonly service: ControlService;
  readonly #app: FastifyInstance;
  readonly #store: ControlStore;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #options: ControlServerOptions;
  readonly #guard: RequestGuard;
  readonly #sockets: ControlSockets;
  readonly #connections: ConnectionLimits;
  readonly #metrics: ControlMetrics;
  readonly #claims = new WeakMap<FastifyRequest, RequestClaims>();
  readonly #bodies = new WeakMap<FastifyRequest, Uint8Array>();
  readonly #startedAt = new WeakMap<FastifyRequest, number>();
  #address = '';
  #stopWatching = () => {};
  #closing = false;

  private constructor(
    components: { service: ControlService; store: ControlStore; clock: Clock; random: Random; log: Log },
    options: ControlServerOptions,
  ) {
    const { service } = components;
    this.service = service;
    this.#store = components.store;
    this.#clock = components.clock;
    this.#log = components.log;
    this.#options = options;
    this.#guard = new RequestGuard(
      { ...components, names: new ServerNames(options.names ?? []) },
      { ...DEFAULT_LIMITS, ...options.limits },
    );
    this.#sockets = new ControlSockets(
      { ...components, guard: this.#guard, metrics: () => this.#metrics },
      { buffers: { ...DEFAULT_BUFFERS, ...options.buffers } },
    );
    this.#connections = new ConnectionLimits(
      { onRefused: (reason) => this.#metrics.refused(reason) },
      { ...DEFAULT_CONNECTIONS, ...options.connections },
    );
    this.#metrics = new ControlMetrics(service, () => ({
      ...this.#sockets.counts,
      connections: this.#connections.counts,
    }));
    const parsing = parserErrors({
      bodyOf: ({ code, message }) => ({ code, message, details: {} }),
      onRefused: ({ code }) => this.#metrics.refused(code),
    });
    this.#app = fastify({
      bodyLimit: MAX_BODY_BYTES,
      forceCloseConnections: 'idle',
      // Fastify's own answer has another form: see `#onRequest`.
      return503OnClosing: false,
      routerOptions: { maxParamLength: 100 },
      clientErrorHandler: parsing.onClientError,
      frameworkErrors: (error, request, reply) => void this.#unroutable(error, request, reply),
      serverFactory: (handler) => {
        const server = this.#createServer(limitPipelining(handler));
        parsing.watch(server);
        this.#sockets.serve(server, this.#connections);
        return server;
      },
    });
  }

  /**
   * Starts to listen. The caller closes the store.
   * @throws ControlError `store-failed`; a system error (`EADDRINUSE`) when the address cannot be used.
   */
  static async start(
    components: { store: ControlStore; clock: Clock; random: Random; log?: Log | undefined },
    options: ControlServerOptions = {},
  ): Promise<ControlServer> {
    const log = components.log ?? silentLog;
    const service = await ControlService.start(components, options);
    const server = new ControlServer({ ...components, service, log }, options);
    try {
      await server.#open();
    } catch (error) {
      await server.close();
      throw error;
    }
    return server;
  }

  /** Its URL: `http://127.0.0.1:4100`. */
  get address(): string {
    return this.#address;
  }

  /** The OpenAPI document of the API. */
  openapi(): object {
    return this.#app.swagger();
  }

  /** Injects a request without a socket, for tests. */
  get inject(): FastifyInstance['inject'] {
    return this.#app.inject.bind(this.#app);
  }

  /** Finishes requests, closes the connections of nodes so that they connect elsewhere, stops listening. Idempotent. */
  async close(): Promise<void> {
    if (this.#closing) return;
    this.#closing = true;
    this.#stopWatching();
    await this.service.close();
    // The close frames are sent; connections that do not answer them are then terminated.
    setImmediate(() => this.#sockets.close());
    await this.#app.close();
    // The caller closes the store next.
    await this.service.settled();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #createServer(handler: Parameters<typeof createServer>[1]): Server {
    const { requestTimeoutMs = 10_000, tls } = this.#options;
    const options = {
      requestTimeout: requestTimeoutMs,
      headersTimeout: Math.min(requestTimeoutMs, 5_000),
      keepAliveTimeout: 5_000,
      connectionsCheckingInterval: Math.min(1_000, requestTimeoutMs),
      maxHeaderSize: MAX_HEADER_BYTES,
      // Node's own answer has no body.
      requireHostHeader: false,
      noDelay: true,
      // A client that renegotiates (TLS 1.2) makes a handshake anew, of which no limit knows.
      secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
    };
    const server =
      tls === undefined
        ? createServer(options, handler)
        : createTlsServer({ ...options, ...tls, handshakeTimeout: Math.min(requestTimeoutMs, 5_000) }, handler);
    this.#connections.watch(server);
    // Clients that read nothing of a response; WebSockets are checked separately.
    server.setTimeout(2 * requestTimeoutMs);
    return server;
  }

  async #open(): Promise<void> {
    const app = this.#app;
    app.setValidatorCompiler(validatorCompiler);
    app.setSerializerCompiler(serializerCompiler);
    app.removeAllContentTypeParsers();
    app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, body, done) =>
      this.#parseBody(request, body as Buffer, done),
    );
    app.addHook('onRequest', async (request) => this.#onRequest(request));
    app.addHook('preValidation', async (request) => this.#authenticate(request));
    app.addHook('onResponse', async (request, reply) => this.#answered(request, reply));
    app.setErrorHandler((error, _, reply) => this.#failed(error, reply));
    app.setNotFoundHandler((_, reply) => {
      const message = 'No such route. See /openapi.json.';
      return reply.code(404).send({ code: 'not-found', message, details: {} });
    });
    await app.register(swagger, { openapi: OPENAPI, transform: jsonSchemaTransform });
    await app.register((scope, _, done) => {
      registerRoutes(scope, this.service, {
        claimsOf: (request) => this.#claimsOf(request),
        admitCreation: (request) => this.#guard.admitCreation(request.ip),
      });
      this.#registerPublicRoutes(scope);
      done();
    });
    this.#stopWatching = this.#store.onBusRestored(() => this.#guard.forgetNonces());
    await app.listen({ host: this.#options.host ?? '127.0.0.1', port: this.#options.port ?? 0, backlog: 4_096 });
    const { address, port, family } = app.server.address() as AddressInfo;
    const scheme = this.#options.tls === undefined ? 'http' : 'https';
    this.#address = `${scheme}://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
  }

  #registerPublicRoutes(scope: FastifyInstance): void {
    const open = { config: { unsigned: true } };
    scope.get('/health', { ...open, schema: { summary: 'The process runs' } }, async () => ({ status: 'ok' }));
    scope.get(
      READY,
      { ...open, schema: { summary: 'The store works and requests are accepted' } },
      async (_, reply) => {
        if (this.#closing) return reply.code(503).send({ status: 'closing' });
        await this.#store.ready();
        return { status: 'ready' };
      },
    );
    scope.get('/metrics', { ...open, schema: { summary: 'Numbers for Prometheus' } }, async (request, reply) => {
      const { metrics = 'loopback' } = this.#options;
      const local = /^(127\.|::1$|::ffff:127\.)/.test(request.ip);
      if (metrics === 'nobody' || (metrics === 'loopback' && !local)) {
        throw new ControlError(
          'forbidden',
          'Metrics are served to this machine only; the configuration can allow more.',
        );
      }
      return reply.type(this.#metrics.contentType).send(await this.#metrics.text());
    });
    scope.get('/openapi.json', { ...open, schema: { summary: 'This document' } }, async () => this.openapi());
  }

  #onRequest(request: FastifyRequest): void {
    this.#startedAt.set(request, this.#clock.now());
    if (this.#closing && request.routeOptions.url !== READY) {
      throw new ControlError('closed', 'The server is shutting down. Next: use another server, or try again.');
    }
    if (request.headers.host === undefined) throw new ControlError('invalid-request', 'There is no Host header.');
    this.#guard.admit(request.ip, request.headers, costOf(request));
    if (!isUnsigned(request)) this.#claims.set(request, this.#guard.claims(request.headers, localEnd(request.socket)));
  }

  #parseBody(request: FastifyRequest, body: Buffer, done: (error: Error | null, body?: unknown) => void): void {
    this.#bodies.set(request, body);
    if (body.length === 0) {
      done(null, undefined);
      return;
    }
    try {
      done(null, JSON.parse(body.toString()));
    } catch {
      // The parser's message contains the body; the sender knows it.
      done(new ControlError('invalid-request', 'The body is not JSON.'));
    }
  }

  async #authenticate(request: FastifyRequest): Promise<void> {
    const claims = this.#claims.get(request);
    if (claims === undefined) return;
    const body = this.#bodies.get(request) ?? new Uint8Array(0);
    await this.#guard.authenticate(claims, { method: request.method, path: request.url, body });
    this.#connections.prove(request.socket.remoteAddress, request.socket.remotePort);
  }

  #claimsOf(request: FastifyRequest): RequestClaims {
    const claims = this.#claims.get(request);
    if (claims === undefined) throw new ControlError('unauthorized', 'This request is not signed.');
    return claims;
  }

  #answered(request: FastifyRequest, reply: FastifyReply): void {
    const durationMs = this.#clock.now() - (this.#startedAt.get(request) ?? this.#clock.now());
    const route = request.routeOptions.url ?? 'none';
    this.#metrics.request(`${request.method} ${route}`, reply.statusCode, durationMs);
    this.#log.debug('answered', { method: request.method, route, status: reply.statusCode, durationMs });
  }

  /** A request whose path has no route because it cannot be decoded, or is too long; it costs as much as others. */
  #unroutable(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
    try {
      this.#guard.admit(request.ip, request.headers);
    } catch (limited) {
      return this.#failed(limited, reply);
    }
    return this.#failed(error, reply);
  }

  #failed(error: unknown, reply: FastifyReply): FastifyReply {
    const { status, body, unexpected } = answerTo(error);
    if (status === 413) dropRestOfBody(reply);
    if (this.#closing) reply.header('connection', 'close');
    if (status < 500) this.#metrics.refused(body.code);
    if (unexpected) this.#log.error('a request failed', { error: errorMessage(error) });
    const { retryAfterMs } = body.details;
    if (typeof retryAfterMs === 'number') reply.header('retry-after', Math.ceil(retryAfterMs / 1_000));
    return reply.code(status).serializer(JSON.stringify).type('application/json').send(body);
  }
}

/** What the answer to a request takes of the budget of its address. */
function costOf(request: FastifyRequest): number {
  const { config } = request.routeOptions;
  return (config as { cost?: number } | undefined)?.cost ?? 1;
}

function isUnsigned(request: FastifyRequest): boolean {
  const { config } = request.routeOptions;
  return (config as { unsigned?: boolean } | undefined)?.unsigned === true;
}

const OPENAPI = {
  openapi: '3.1.0',
  info: {
    title: 'Towpath control plane',
    version: '1',
    description:
      'Parties, presence, signals and relays. Requests are signed by a node key: towpath-signature is the Ed25519 ' +
      'signature over the lines "towpath request v2", towpath-server, method, path with query, towpath-time (ms since 1970), ' +
      'towpath-nonce (16 bytes, base64url) and the SHA-256 of the body in hex, joined by line feeds. A request is ' +
      'accepted once, within 60 s of its time. Statements: docs/protocol/control.md, "Statement".',
  },
  components: {
    securitySchemes: {
      nodeSignature: {
        type: 'apiKey' as const,
        in: 'header' as const,
        name: 'towpath-signature',
        description:
          'With towpath-key, towpath-server (host:port that the node was given), towpath-time and towpath-nonce.',
      },
    },
  },
};
