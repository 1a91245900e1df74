import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { type Clock, deadline, type Log, type Random, race, silentLog } from '@towpath/core';
import { z } from 'zod';
import { ControlError, type ControlErrorCode } from '../control-error.ts';
import type { Relay, TurnCredentials } from '../control-plane.ts';
import { fromBase64, MAX_CLOCK_SKEW_MS, MAX_STATEMENT_BYTES, type PartyId, toBase64 } from '@towpath/membership';
import type { SealedInvite } from '../server/invite-codes.ts';
import { base64Text, type PresenceEntry, presenceSchema, type ServerMessage } from '../wire/messages.ts';
import { authorityOf, NONCE_BYTES, signRequest } from '../wire/request-signing.ts';
import { MAX_ASKED_MEMBERS } from '../wire/turn-user.ts';
import { farDate } from './far-date.ts';
import { sendRequest } from './http-request.ts';
import { openLiveSocket } from './live-socket.ts';
import type { ControlTransport, LiveConnection, RequestOptions } from './transport.ts';

/** Time limit of one server, ms. */
const REQUEST_LIMIT_MS = 10_000;
/** Number and length of waits when a server reports too many requests. */
const MAX_WAITS = 4;
const MAX_WAIT_MS = 5_000;
/** Time limit to connect, all servers together. */
const CONNECT_LIMIT_MS = 15_000;
/** Head start of one server over the next. */
const STAGGER_MS = 300;

const statements = z.array(base64Text(MAX_STATEMENT_BYTES)).max(4_096);
const errorSchema = z.object({
  code: z.string(),
  message: z.string().max(2_000),
  details: z.record(z.string(), z.unknown()).optional(),
  statements: statements.optional(),
});
const pageSchema = z.object({ length: z.number().int().min(0), statements });
const membersSchema = z.object({ members: z.array(z.looseObject({ id: z.string() })) });
const inviteSchema = z.object({ sealed: z.string() });
const credentialsSchema = z.object({
  username: z.string(),
  credential: z.string(),
  expiresAtMs: z.number(),
  urls: z.array(z.string()),
});
const removedSchema = z.object({
  removed: z.array(z.string().max(100)).max(MAX_ASKED_MEMBERS),
  proof: z.string().max(100),
});

/** Control servers over HTTP and WebSocket. All are equal; the one that answered last is tried first. */
export class HttpTransport implements ControlTransport {
  readonly servers: readonly string[];
  readonly #urls: readonly URL[];
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #log: Log;
  readonly #ca: string | undefined;
  readonly #onAsk: ((server: string) => Disposable) | undefined;
  readonly #http = new HttpAgent({ keepAlive: true, maxSockets: 8 });
  readonly #https: HttpsAgent;
  /** By how much each server's clock is ahead of this machine's, where that is within bounds, ms. */
  readonly #offsetsMs = new Map<number, number>();
  #preferred = 0;

  /**
   * @param options.servers `http://host:port` or `https://…`, one or more
   * @param options.ca PEM of a certificate authority, instead of the system's
   * @param options.onAsk called with `host:port` when a server is asked; what it returns is disposed of when it has answered or failed
   * @throws ControlError `invalid-request` for an invalid address
   */
  constructor(
    components: { clock: Clock; random: Random; log?: Log | undefined },
    options: { servers: readonly string[]; ca?: string; onAsk?(server: string): Disposable },
  ) {
    this.#clock = components.clock;
    this.#random = components.random;
    this.#log = components.log ?? silentLog;
    this.#ca = options.ca;
    this.#onAsk = options.onAsk?.bind(options);
    this.#https = new HttpsAgent({
      keepAlive: true,
      maxSockets: 8,
      ...(options.ca === undefined ? {} : { ca: options.ca }),
    });
    this.servers = [...options.servers];
    this.#urls = options.servers.map(parseServer);
    if (this.#urls.length === 0)
      throw new ControlError('invalid-request', 'No control server was given. Next: add one as http://host:port');
  }

  serverTime(): number {
    return this.#timeOf(this.#preferred);
  }

  async connect(options: Parameters<ControlTransport['connect']>[0]): Promise<LiveConnection> {
    const result = await race<LiveConnection>(
      this.#inOrder().map((at) => ({
        id: `${at}`,
        kind: 'servers',
        label: this.#urls[at]!.host,
        connect: ({ signal }) => this.#open(at, { ...options, signal }),
      })),
      { clock: this.#clock, log: this.#log },
      {
        limitMs: CONNECT_LIMIT_MS,
        staggerMs: STAGGER_MS,
        undo: (connection) => connection.close(),
        ...(options.signal === undefined ? {} : { signal: options.signal }),
      },
    ).result;
    if (result.ok) {
      this.#preferred = Number(result.winner.id);
      return result.path;
    }
    const errors = result.report.attempts.flatMap((attempt) => attempt.error ?? []);
    const told = errors.find((error) => error instanceof ControlError && error.code !== 'server-unavailable');
    throw told ?? errors[0] ?? new ControlError('server-unavailable', 'No control server answered in time.');
  }

  async readLog(
    party: PartyId,
    from: number,
    options: RequestOptions,
  ): Promise<{ length: number; statements: readonly Uint8Array[] }> {
    const answer = await this.#request('GET', `/v1/parties/${party}/statements?from=${from}`, undefined, options);
    const page = expectAnswer(answer, pageSchema);
    return { length: page.length, statements: decodeAll(page.statements) };
  }

  async readPresence(party: PartyId, options: RequestOptions): Promise<readonly PresenceEntry[]> {
    const answer = await this.#request('GET', `/v1/parties/${party}`, undefined, options);
    const { members } = expectAnswer(answer, membersSchema);
    return expectAnswer(
      { ...answer, body: members.map((member) => ({ ...member, peer: member.id })) },
      z.array(presenceSchema),
    );
  }

  async append(
    party: PartyId,
    sequence: number,
    statement: Uint8Array,
    options: RequestOptions,
  ): Promise<{ ok: true } | { ok: false; statements: readonly Uint8Array[] }> {
    const { setupProof } = options;
    const body = { statement: toBase64(statement), ...(setupProof === undefined ? {} : { setupProof }) };
    const path = sequence === 0 ? '/v1/parties' : `/v1/parties/${party}/statements`;
    const answer = await this.#request('POST', path, body, options);
    if (answer.status === 201) return { ok: true };
    const refused = errorSchema.safeParse(answer.body);
    if (answer.status === 409 && refused.success && refused.data.statements !== undefined) {
      return { ok: false, statements: decodeAll(refused.data.statements) };
    }
    throw errorOf(answer);
  }

  async keepInvite(party: PartyId, invite: SealedInvite, options: RequestOptions): Promise<void> {
    const path = `/v1/parties/${party}/invites/${invite.lookup}`;
    const body = { sealed: toBase64(invite.sealed), inviteKey: toBase64(invite.inviteKey) };
    const answer = await this.#request('PUT', path, body, options);
    if (answer.status !== 201) throw errorOf(answer);
  }

  async findInvite(lookup: string, options: RequestOptions): Promise<Uint8Array> {
    const answer = await this.#request('GET', `/v1/invites/${lookup}`, undefined, options);
    return fromBase64(expectAnswer(answer, inviteSchema).sealed) ?? new Uint8Array(0);
  }

  async turnCredentials(party: PartyId, options: RequestOptions): Promise<TurnCredentials> {
    const answer = await this.#request('POST', `/v1/parties/${party}/turn-credentials`, undefined, options);
    return expectAnswer(answer, credentialsSchema);
  }

  /**
   * Reports a relay, valid for 30 s. `options.key` is one of the servers' relay reporters.
   * @throws ControlError `forbidden`.
   */
  async reportRelay(relay: Relay, options: RequestOptions): Promise<void> {
    const answer = await this.#request('PUT', `/v1/relays/${relay.id}`, relay, options);
    if (answer.status !== 200) throw errorOf(answer);
  }

  /**
   * Asks which of these members (`MEMBER.PARTY`) are no longer members. `options.key` is that of a relay.
   * @throws ControlError `forbidden` when the server has another secret.
   */
  async removedMembers(
    members: readonly string[],
    challenge: string,
    options: RequestOptions,
  ): Promise<{ removed: readonly string[]; proof: string }> {
    const path = `/v1/removed-members?members=${members.join(',')}&challenge=${challenge}`;
    return expectAnswer(await this.#request('GET', path, undefined, options), removedSchema);
  }

  async close(): Promise<void> {
    this.#http.destroy();
    this.#https.destroy();
  }

  #inOrder(): number[] {
    return this.#urls.map((_, at) => (this.#preferred + at) % this.#urls.length);
  }

  async #open(
    at: number,
    options: RequestOptions & {
      signal: AbortSignal;
      onMessage(message: ServerMessage, server: string): Promise<void> | undefined;
    },
    again = true,
  ): Promise<LiveConnection> {
    const url = new URL('/v1/socket', this.#urls[at]);
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
    const { key, signal, onMessage } = options;
    const parts = { method: 'GET', path: '/v1/socket', body: new Uint8Array(0) };
    try {
      return await openLiveSocket(url, {
        headers: signRequest(key, parts, this.#stamp(at)),
        ca: this.#ca,
        clock: this.#clock,
        signal,
        refusal: (status, body) => errorOf({ server: this.#urls[at]!, status, body: parseJson(body) }),
        onUnreadable: () => {
          const text =
            'sends messages that are not read: it has another version of Towpath. Next: use the same version on both';
          this.#log.warn(`The control server ${url.host} ${text}.`);
        },
        onMessage: (message) => {
          if (message.type === 'welcome') this.#learnTime(at, message.timeMs);
          return onMessage(message, url.host);
        },
      });
    } catch (error) {
      if (again && this.#mayCorrect(at, error)) return this.#open(at, options, false);
      throw error;
    }
  }

  async #request(method: string, path: string, body: unknown, options: RequestOptions): Promise<Answer> {
    for (let waits = 0; ; waits++) {
      const answer = await this.#askAny(method, path, body, options);
      if (answer.status !== 429 || waits >= MAX_WAITS) return answer;
      const { retryAfterMs } = errorOf(answer).details;
      if (typeof retryAfterMs !== 'number' || !(retryAfterMs > 0 && retryAfterMs <= MAX_WAIT_MS)) return answer;
      // Random waits, so that clients do not return at the same time.
      await this.#clock.sleep(retryAfterMs * (1 + this.#random.next()), options.signal);
    }
  }

  /** Tries one server after the other until one answers. */
  async #askAny(method: string, path: string, body: unknown, options: RequestOptions): Promise<Answer> {
    let last: unknown;
    for (const at of this.#inOrder()) {
      try {
        const answer = await this.#ask(at, method, path, body, options);
        if (answer.status !== 503) {
          this.#preferred = at;
          return answer;
        }
        last = errorOf(answer);
      } catch (error) {
        if (!(error instanceof ControlError) || error.code !== 'server-unavailable') throw error;
        last = error;
      }
    }
    throw last;
  }

  async #ask(
    at: number,
    method: string,
    path: string,
    body: unknown,
    { key, signal }: RequestOptions,
    again = true,
  ): Promise<Answer> {
    signal?.throwIfAborted();
    const url = new URL(path, this.#urls[at]);
    const bytes = body === undefined ? new Uint8Array(0) : new TextEncoder().encode(JSON.stringify(body));
    const headers = {
      ...signRequest(key, { method, path, body: bytes }, this.#stamp(at)),
      ...(body === undefined ? {} : { 'content-type': 'application/json', 'content-length': `${bytes.length}` }),
    };
    const late = `${url.host} did not answer within ${REQUEST_LIMIT_MS / 1_000} s. Next: check that a control server runs at this address and port, then try again.`;
    using limit = deadline(this.#clock, REQUEST_LIMIT_MS, signal, () => new ControlError('server-unavailable', late));
    using _asked = this.#onAsk?.(url.host);
    const answer = await sendRequest(url, {
      method,
      headers,
      body: bytes,
      agent: url.protocol === 'https:' ? this.#https : this.#http,
      ca: this.#ca,
      signal: limit.signal,
    });
    const parsed = { server: this.#urls[at]!, status: answer.status, body: parseJson(answer.body) };
    if (again && answer.status === 401 && this.#mayCorrect(at, errorOf(parsed))) {
      return await this.#ask(at, method, path, body, { key, signal }, false);
    }
    return parsed;
  }

  #timeOf(at: number): number {
    return this.#clock.wallTime() + (this.#offsetsMs.get(at) ?? 0);
  }

  #stamp(at: number): { server: string; timeMs: number; nonce: Uint8Array } {
    return { server: authorityOf(this.#urls[at]!), timeMs: this.#timeOf(at), nonce: this.#random.bytes(NONCE_BYTES) };
  }

  /** Follows a server's clock. @returns false when it differs from this machine's by more than is followed. */
  #learnTime(at: number, serverTimeMs: number): boolean {
    const offsetMs = serverTimeMs - this.#clock.wallTime();
    if (!(Math.abs(offsetMs) <= MAX_CLOCK_SKEW_MS)) return false;
    this.#offsetsMs.set(at, offsetMs);
    return true;
  }

  /**
   * Returns whether a request that was refused for its date is to be repeated with a date nearer to the server's clock.
   * @throws ControlError `clock-skew` when the two clocks are so far apart that one of them is wrong.
   */
  #mayCorrect(at: number, error: unknown): boolean {
    if (!(error instanceof ControlError) || error.code !== 'clock-skew') return false;
    const { serverTimeMs } = error.details;
    if (typeof serverTimeMs !== 'number') return false;
    if (!this.#learnTime(at, serverTimeMs)) throw farDate(this.#urls[at]!.host, serverTimeMs, this.#clock.wallTime());
    this.#log.warn(error.message);
    return true;
  }
}

interface Answer {
  readonly server: URL;
  readonly status: number;
  readonly body: unknown;
}

function parseServer(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new ControlError(
      'invalid-request',
      `${text} is not the address of a control server. Expected http://host:port`,
    );
  }
  return url;
}

function parseJson(body: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(body));
  } catch {
    // Reported by the caller.
    return undefined;
  }
}

function expectAnswer<T>(answer: Answer, schema: z.ZodType<T>): T {
  if (answer.status < 200 || answer.status > 299) throw errorOf(answer);
  const parsed = schema.safeParse(answer.body);
  if (parsed.success) return parsed.data;
  const what = `${answer.server.origin} is not a control server of Towpath of this version`;
  throw new ControlError('bad-answer', `${what}. ${CHECK_SERVER}`);
}

const KNOWN_CODES: ReadonlySet<string> = new Set<ControlErrorCode>([
  'unauthorized',
  'forbidden',
  'replayed',
  'clock-skew',
  'wrong-server',
  'setup-code-required',
  'invalid-invite',
  'not-found',
  'conflict',
  'invalid-request',
  'limit-exceeded',
  'invalid-statement',
  'store-failed',
]);

const CHECK_SERVER =
  'Next: check the address and the port given to --server (4100 by default); towpath party servers shows and changes them.';

function errorOf({ server, status, body }: Answer): ControlError {
  const parsed = errorSchema.safeParse(body);
  if (!parsed.success || !KNOWN_CODES.has(parsed.data.code)) {
    // A proxy in front of a control server that is down answers so, too.
    const isDown = status >= 500;
    const isOther = !parsed.success && !isDown;
    const answered = `${server.origin} ${isOther ? 'is not a control server of Towpath: it ' : ''}answered with status ${status}`;
    return new ControlError(isDown ? 'server-unavailable' : 'bad-answer', `${answered}. ${CHECK_SERVER}`);
  }
  const { code, message, details } = parsed.data;
  // The server's words are told as such: it may be hostile.
  return new ControlError(code as ControlErrorCode, `The control server ${server.host} answers: ${message}`, {
    details: details ?? {},
  });
}

function decodeAll(texts: readonly string[]): Uint8Array[] {
  return texts.map((text) => fromBase64(text) ?? new Uint8Array(0));
}
