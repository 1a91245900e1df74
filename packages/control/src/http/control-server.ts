import { createServer, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import swagger from '@fastify/swagger';
import { type Clock, errorMessage, type Log, type Random, silentLog } from '@towpath/core';
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { jsonSchemaTransform, serializerCompiler, validatorCompiler } from 'fastify-type-provider-zod';
import { ControlError } from '../control-error.ts';
import { ControlService, type ControlServiceInit } from '../server/service.ts';
import type { ControlStore } from '../store/store.ts';
import type { RequestClaims } from '../wire/request-signing.ts';
import { answerTo } from './errors.ts';
import { ControlMetrics } from './metrics.ts';
import { addressKey, RequestGuard, type RequestLimits } from './request-guard.ts';
import { registerRoutes } from './routes.ts';
import { ControlSockets } from './sockets.ts';

/** What a control server may be told; nothing is needed. */
export interface ControlServerInit extends ControlServiceInit {
  /** Address to listen on. @default '127.0.0.1' */
  host?: string;
  /** @default 0, which lets the system choose */
  port?: number;
  /** PEM of certificate and key: HTTPS and secure WebSockets. */
  tls?: { cert: string; key: string };
  /** @default 200 per second, 2000 at once, for an address; 20 and 200 for a node; a party every 2 s, 50 at once */
  limits?: Partial<RequestLimits>;
  /** Open connections in all. @default 20000 */
  maxConnections?: number;
  /** Open connections of one address. @default 1024 */
  maxConnectionsPerAddress?: number;
  /** A request has to be complete within this time, ms. @default 10000 */
  requestTimeoutMs?: number;
  /** Who may read `/metrics`. @default 'loopback' */
  metrics?: 'loopback' | 'everybody' | 'nobody';
}

/** A statement of the largest size in base64 is 700 bytes, a sealed invite 2.5 KB: ten times as much is never needed. */
const MAX_BODY_BYTES = 16_384;
const MAX_HEADER_BYTES = 8_192;
const DEFAULT_LIMITS: RequestLimits = {
  perAddress: { perSecond: 200, burst: 2_000 },
  perNode: { perSecond: 20, burst: 200 },
  creations: { perSecond: 0.5, burst: 50 },
};

/** The control plane on HTTP and WebSocket. */
export class ControlServer implements AsyncDisposable {
  readonly service: ControlService;
  readonly #app: FastifyInstance;
  readonly #store: ControlStore;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #init: ControlServerInit;
  readonly #guard: RequestGuard;
  readonly #sockets: ControlSockets;
  readonly #metrics: ControlMetrics;
  readonly #claims = new WeakMap<FastifyRequest, RequestClaims>();
  readonly #bodies = new WeakMap<FastifyRequest, Uint8Array>();
  readonly #startedAt = new WeakMap<FastifyRequest, number>();
  #address = '';
  #closing = false;

  private constructor(
    components: { store: ControlStore; clock: Clock; random: Random; log: Log },
    service: ControlService,
    init: ControlServerInit,
  ) {
    this.service = service;
    this.#store = components.store;
    this.#clock = components.clock;
    this.#log = components.log;
    this.#init = init;
    this.#guard = new RequestGuard(components, { ...DEFAULT_LIMITS, ...init.limits });
    this.#sockets = new ControlSockets({ ...components, service, guard: this.#guard, metrics: () => this.#metrics });
    this.#metrics = new ControlMetrics(service, () => this.#sockets.counts);
    this.#app = fastify({
      bodyLimit: MAX_BODY_BYTES,
      forceCloseConnections: 'idle',
      return503OnClosing: true,
      routerOptions: { maxParamLength: 100 },
      serverFactory: (handler) => {
        const server = this.#createServer(handler);
        this.#sockets.serve(server);
        return server;
      },
    });
  }

  /**
   * Starts to listen. The store stays the caller's to close.
   * @throws ControlError `store-failed`; a system error (`EADDRINUSE`) when the address cannot be used.
   */
  static async start(
    components: { store: ControlStore; clock: Clock; random: Random; log?: Log },
    init: ControlServerInit = {},
  ): Promise<ControlServer> {
    const log = components.log ?? silentLog;
    const service = await ControlService.start(components, init);
    const server = new ControlServer({ ...components, log }, service, init);
    try {
      await server.#open();
    } catch (error) {
      await server.close();
      throw error;
    }
    return server;
  }

  /** Where it listens: `http://127.0.0.1:4100`. */
  get address(): string {
    return this.#address;
  }

  /** The OpenAPI document of the API. */
  openapi(): object {
    return this.#app.swagger();
  }

  /** A request without a socket, for tests. */
  get inject(): FastifyInstance['inject'] {
    return this.#app.inject.bind(this.#app);
  }

  /** Lets requests finish, tells every node to connect elsewhere, stops listening. Idempotent. */
  async close(): Promise<void> {
    if (this.#closing) return;
    this.#closing = true;
    await this.service.close();
    // The close frames are on their way; whoever does not answer them is cut off.
    setImmediate(() => this.#sockets.close());
    await this.#app.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #createServer(handler: Parameters<typeof createServer>[1]): Server {
    const { requestTimeoutMs = 10_000, maxConnections = 20_000, maxConnectionsPerAddress = 1_024, tls } = this.#init;
    const options = {
      requestTimeout: requestTimeoutMs,
      headersTimeout: Math.min(requestTimeoutMs, 5_000),
      keepAliveTimeout: 5_000,
      connectionsCheckingInterval: Math.min(1_000, requestTimeoutMs),
      maxHeaderSize: MAX_HEADER_BYTES,
      noDelay: true,
    };
    const server =
      tls === undefined ? createServer(options, handler) : createTlsServer({ ...options, ...tls }, handler);
    server.maxConnections = maxConnections;
    const perAddress = new Map<string, number>();
    server.on('connection', (socket) => {
      const address = addressKey(socket.remoteAddress ?? '');
      const open = (perAddress.get(address) ?? 0) + 1;
      if (open > maxConnectionsPerAddress) {
        this.#metrics.refused('too-many-connections');
        socket.destroy();
        return;
      }
      perAddress.set(address, open);
      socket.once('close', () => {
        const left = (perAddress.get(address) ?? 1) - 1;
        if (left === 0) perAddress.delete(address);
        else perAddress.set(address, left);
      });
    });
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
      const message = 'There is nothing here: see /openapi.json.';
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
    await app.listen({ host: this.#init.host ?? '127.0.0.1', port: this.#init.port ?? 0, backlog: 4_096 });
    const { address, port, family } = app.server.address() as AddressInfo;
    const scheme = this.#init.tls === undefined ? 'http' : 'https';
    this.#address = `${scheme}://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
  }

  #registerPublicRoutes(scope: FastifyInstance): void {
    const open = { config: { unsigned: true } };
    scope.get('/health', { ...open, schema: { summary: 'The process runs' } }, async () => ({ status: 'ok' }));
    scope.get(
      '/ready',
      { ...open, schema: { summary: 'The store works and requests are taken' } },
      async (_, reply) => {
        if (this.#closing) return reply.code(503).send({ status: 'closing' });
        await this.#store.ready();
        return { status: 'ready' };
      },
    );
    scope.get('/metrics', { ...open, schema: { summary: 'Numbers for Prometheus' } }, async (request, reply) => {
      const { metrics = 'loopback' } = this.#init;
      const local = /^(127\.|::1$|::ffff:127\.)/.test(request.ip);
      if (metrics === 'nobody' || (metrics === 'loopback' && !local)) {
        throw new ControlError('forbidden', 'Metrics are read on the server itself; its configuration can allow more.');
      }
      return reply.type(this.#metrics.contentType).send(await this.#metrics.text());
    });
    scope.get('/openapi.json', { ...open, schema: { summary: 'This document' } }, async () => this.openapi());
  }

  #onRequest(request: FastifyRequest): void {
    this.#startedAt.set(request, this.#clock.now());
    this.#guard.admit(request.ip, request.headers);
    if (!isUnsigned(request)) this.#claims.set(request, this.#guard.claims(request.headers));
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
      // What the parser says quotes the body; who sent it knows it.
      done(new ControlError('invalid-request', 'The body is not JSON.'));
    }
  }

  async #authenticate(request: FastifyRequest): Promise<void> {
    const claims = this.#claims.get(request);
    if (claims === undefined) return;
    const body = this.#bodies.get(request) ?? new Uint8Array(0);
    await this.#guard.authenticate(claims, { method: request.method, path: request.url, body });
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

  #failed(error: unknown, reply: FastifyReply): FastifyReply {
    const { status, body, unexpected } = answerTo(error);
    if (status < 500) this.#metrics.refused(body.code);
    if (unexpected) this.#log.error('a request failed', { error: errorMessage(error) });
    const { retryAfterMs } = body.details;
    if (typeof retryAfterMs === 'number') reply.header('retry-after', Math.ceil(retryAfterMs / 1_000));
    return reply.code(status).serializer(JSON.stringify).type('application/json').send(body);
  }
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
      'signature over the lines "towpath request v1", method, path with query, towpath-time (ms since 1970), ' +
      'towpath-nonce (16 bytes, base64url) and the SHA-256 of the body in hex, joined by line feeds. A request is ' +
      'taken once, within 60 s of its time. What a statement is, stands in docs/control-trust.md.',
  },
  components: {
    securitySchemes: {
      nodeSignature: {
        type: 'apiKey' as const,
        in: 'header' as const,
        name: 'towpath-signature',
        description: 'With towpath-key, towpath-time and towpath-nonce.',
      },
    },
  },
};
