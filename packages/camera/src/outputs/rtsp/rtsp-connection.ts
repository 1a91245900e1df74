import { type Clock, errorMessage, type Log, type Random, type Timer } from '@towpath/core';
import type { Network, TcpConnection, TcpHandlers } from '@towpath/net';
import type { LiveSource } from '../live-source.ts';
import { challenge, isAuthorized, type RtspUser } from './digest.ts';
import { encodeResponse, parseTransport, RtspReader, type RtspRequest } from './message.ts';
import { RtspPlayer } from './rtsp-player.ts';
import { openTrack, type Track } from './rtsp-track.ts';
import type { StreamDescription } from './sdp.ts';

export interface RtspConnectionComponents {
  readonly network: Network;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly source: LiveSource;
  readonly tcp: TcpConnection;
}

export interface RtspConnectionOptions {
  readonly user: RtspUser;
  describe(signal: AbortSignal): Promise<StreamDescription>;
  /** The client has shown that it knows the password. */
  onAuthorized(): void;
  onClosed(): void;
}

const METHODS = 'OPTIONS, DESCRIBE, SETUP, PLAY, PAUSE, TEARDOWN, GET_PARAMETER, SET_PARAMETER';

/** A connection that has not authenticated itself within this time is closed, ms. */
const LOGIN_LIMIT_MS = 15_000;

/** A viewer over UDP that is not heard of for this long is gone, ms; it is told so in the Session header. */
const SESSION_LIMIT_MS = 60_000;

/** Requests that wait for their turn; clients send one at a time. */
const MAX_WAITING_REQUESTS = 16;

/** Responses and packets that a client may leave unread: more than a track queues, so that slow viewers are heard out. */
const MAX_UNREAD_BYTES = 2 * 1024 * 1024;

/** One client: at most one session, which ends with the connection. */
export class RtspConnection {
  readonly #components: RtspConnectionComponents;
  readonly #options: RtspConnectionOptions;
  readonly #reader = new RtspReader();
  readonly #nonce: string;
  readonly #session: string;
  readonly #ended = new AbortController();
  readonly #tracks = new Map<number, Track>();
  #player: RtspPlayer | undefined;
  #authorized = false;
  #waiting = 0;
  #queue: Promise<void> = Promise.resolve();
  #limit: Timer;

  constructor(components: RtspConnectionComponents, options: RtspConnectionOptions) {
    const { clock, random } = components;
    this.#components = components;
    this.#options = options;
    this.#nonce = hex(random.bytes(16));
    this.#session = hex(random.bytes(8));
    this.#limit = clock.timer(LOGIN_LIMIT_MS, () => this.#drop('it did not authenticate itself in time'));
  }

  get playing(): boolean {
    return this.#player !== undefined;
  }

  handlers(): TcpHandlers {
    return {
      onData: (bytes) => this.#take(bytes),
      onClose: () => void this.#end(),
    };
  }

  /** Ends the session and the connection. */
  async close(): Promise<void> {
    await this.#end();
    await this.#components.tcp.close();
  }

  #take(bytes: Uint8Array): void {
    for (const item of this.#reader.push(bytes)) {
      if (item.type === 'malformed') {
        this.#drop('it does not speak RTSP');
        return;
      }
      this.#heard();
      if (item.type === 'data') continue;
      if (this.#waiting >= MAX_WAITING_REQUESTS) {
        this.#drop('it sends requests faster than they are answered');
        return;
      }
      this.#waiting++;
      this.#queue = this.#queue.then(() => this.#answer(item.request)).finally(() => this.#waiting--);
    }
  }

  async #answer(request: RtspRequest): Promise<void> {
    const { tcp, log, clock } = this.#components;
    if (this.#ended.signal.aborted) return;
    const sequence = request.headers.get('cseq');
    const reply = (status: number, headers: Record<string, string> = {}, body = '') => {
      if (tcp.bufferedBytes > MAX_UNREAD_BYTES) this.#drop('it does not read what it asks for');
      else tcp.write(encodeResponse(status, sequence, headers, body));
    };
    // Which methods there are is no secret, and some clients ask before they authenticate themselves.
    if (request.method === 'OPTIONS') {
      reply(200, { Public: METHODS });
      return;
    }
    const { user } = this.#options;
    if (!isAuthorized(request.headers.get('authorization'), request.method, this.#nonce, user)) {
      reply(401, { 'WWW-Authenticate': challenge(this.#nonce) });
      return;
    }
    if (!this.#authorized) {
      this.#authorized = true;
      this.#options.onAuthorized();
      this.#limit.cancel();
      this.#limit = clock.timer(SESSION_LIMIT_MS, () => this.#silent());
    }
    try {
      await this.#perform(request, reply);
    } catch (error) {
      if (this.#ended.signal.aborted) return;
      log.info(`${request.method} failed: ${errorMessage(error)}`);
      reply(503);
    }
  }

  async #perform(
    request: RtspRequest,
    reply: (status: number, headers?: Record<string, string>, body?: string) => void,
  ): Promise<void> {
    const session = { Session: `${this.#session};timeout=${SESSION_LIMIT_MS / 1_000}` };
    switch (request.method) {
      case 'DESCRIBE': {
        const { sdp } = await this.#options.describe(this.#ended.signal);
        const base = `${request.url.replace(/\/+$/, '')}/`;
        reply(200, { 'Content-Base': base, 'Content-Type': 'application/sdp' }, sdp);
        return;
      }
      case 'SETUP':
        await this.#setUp(request, session, reply);
        return;
      case 'PLAY': {
        if (this.#tracks.size === 0) {
          reply(455);
          return;
        }
        const base = request.url.replace(/\/+$/, '');
        const infos = [...this.#tracks].map(([n, { rtp }]) => `url=${base}/track=${n};seq=${rtp.sequence}`);
        reply(200, { ...session, Range: 'npt=now-', 'RTP-Info': infos.join(',') });
        const { source, clock, log } = this.#components;
        this.#player ??= new RtspPlayer({ source, clock, log }, this.#tracks, (reason) => this.#drop(reason));
        return;
      }
      case 'PAUSE':
        await this.#player?.stop();
        this.#player = undefined;
        reply(200, session);
        return;
      case 'TEARDOWN':
        await this.#stop();
        reply(200, session);
        return;
      case 'GET_PARAMETER':
      case 'SET_PARAMETER':
        reply(200, session);
        return;
      default:
        reply(405, { Allow: METHODS });
    }
  }

  async #setUp(
    { url, headers }: RtspRequest,
    session: Record<string, string>,
    reply: (status: number, headers?: Record<string, string>) => void,
  ): Promise<void> {
    const { soundHz } = await this.#options.describe(this.#ended.signal);
    const number = Number(/track=(\d)\/?$/.exec(url)?.[1] ?? Number.NaN);
    if (number !== 0 && !(number === 1 && soundHz !== undefined)) {
      reply(404);
      return;
    }
    if (this.#player !== undefined) {
      reply(455);
      return;
    }
    const transport = parseTransport(headers.get('transport') ?? '');
    if (transport === undefined) {
      reply(461);
      return;
    }
    await this.#tracks.get(number)?.close();
    const { network, random, tcp } = this.#components;
    const track = await openTrack(
      { network, random, tcp, onHeard: () => this.#heard() },
      number === 0 ? undefined : soundHz,
      transport,
    );
    if (this.#ended.signal.aborted) {
      await track.close();
      return;
    }
    this.#tracks.set(number, track);
    reply(200, { ...session, Transport: track.transport });
  }

  /** The viewer is there. */
  #heard(): void {
    if (!this.#authorized || this.#ended.signal.aborted) return;
    this.#limit.cancel();
    this.#limit = this.#components.clock.timer(SESSION_LIMIT_MS, () => this.#silent());
  }

  /** Over TCP the connection itself shows that the viewer is there. */
  #silent(): void {
    const overTcp = this.#player !== undefined && [...this.#tracks.values()].every(({ udp }) => !udp);
    if (overTcp) this.#heard();
    else this.#drop('it is silent');
  }

  #drop(reason: string): void {
    this.#components.log.info(`A viewer is disconnected: ${reason}`);
    void this.#end();
    this.#components.tcp.destroy();
  }

  async #end(): Promise<void> {
    if (this.#ended.signal.aborted) return;
    this.#ended.abort(new Error('The viewer has left.'));
    this.#limit.cancel();
    await this.#stop();
    this.#options.onClosed();
  }

  async #stop(): Promise<void> {
    await this.#player?.stop();
    this.#player = undefined;
    for (const track of this.#tracks.values()) await track.close();
    this.#tracks.clear();
  }
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
