import { type Clock, Events, type Log, silentLog } from '@towpath/core';
import { formatEndpoint } from '@towpath/net';
import type { CloseReason, PpppSession } from '@towpath/pppp';
import { CameraError } from '../artemis/camera-error.ts';
import { encodeRequestText } from '../artemis/cipher.ts';
import { CommandId, commandName } from '../artemis/command-id.ts';
import { COMMAND_TIME_LIMIT_MS, type Command, login, needsToken, requestText } from '../artemis/commands.ts';
import { type CameraEvent, decodeEvent } from '../artemis/event.ts';
import { Channel, encodeFrame, type Frame, GREETING, MessageType } from '../artemis/frame.ts';
import type { JsonObject } from '../artemis/json.ts';
import { Bell } from './bell.ts';
import { type ChannelReader, ChannelReaders } from './channel-readers.ts';
import { HEARTBEAT_INTERVAL_MS, Heartbeat, type HeartbeatReport } from './heartbeat.ts';
import { Liveness, suspiciousAfterMs } from './liveness.ts';
import { RequestTable } from './request-table.ts';

export interface ArtemisSessionOptions {
  /** The transport, which nobody has attached to yet. Closed together with this session. */
  session: PpppSession;
  clock: Clock;
  log?: Log;
  /** How far local wall time is ahead of UTC at a moment, ms: the camera's clock is set to local time. */
  utcOffsetMs?(wallTimeMs: number): number;
  /** How long to wait for the camera's greeting before going on without it, ms. @default 1000 */
  greetingLimitMs?: number;
  /** @default 3000 */
  heartbeatIntervalMs?: number;
}

/** What happens in a session. */
export interface ArtemisEvents {
  /** An unsolicited message of channel 6. */
  event: CameraEvent;
  heartbeat: HeartbeatReport;
  /** Emitted once: the session is over. */
  closed: CameraError;
}

/** Observed 0–112 ms after the transport is up. spec/artemis.md §15. */
const GREETING_LIMIT_MS = 1000;

/** One ARTEMIS session over one PPPP session: greeting, login, requests, heartbeat, binary channels. spec/artemis.md §4, §5. */
export class ArtemisSession implements AsyncDisposable {
  readonly events: Events<ArtemisEvents> = new Events();
  readonly carrier: PpppSession;
  readonly clock: Clock;
  /** The camera as a person reads it. */
  readonly target: string;
  readonly #options: ArtemisSessionOptions;
  readonly #log: Log;
  readonly #channels: ChannelReaders;
  readonly #requests: RequestTable;
  readonly #heartbeat: Heartbeat;
  readonly #liveness: Liveness;
  readonly #greetingBell: Bell;
  #greeting = '';
  #commandBytes = 0;
  #token: number | undefined;
  #closed: CameraError | undefined;

  constructor(options: ArtemisSessionOptions) {
    const { session, clock } = options;
    this.#options = options;
    this.#log = options.log ?? silentLog;
    this.clock = clock;
    this.carrier = session;
    this.target = formatEndpoint(session.peer);
    this.#greetingBell = new Bell(clock);
    this.#liveness = new Liveness({
      clock,
      lastHeardAt: () => session.stats.lastReceivedAt,
      rttMs: () => session.stats.rttMs,
      onDead: (silentMs) => this.#die(`It owed data and has been silent for ${seconds(silentMs)} s.`),
    });
    this.#requests = new RequestTable({
      clock,
      log: this.#log,
      target: this.target,
      send: (seq, text) => this.#send(seq, text),
      allAcknowledged: () => session.bufferedBytes(Channel.command) === 0,
      onTimeout: () => this.#requestTimedOut(),
    });
    this.#heartbeat = new Heartbeat({
      clock,
      intervalMs: options.heartbeatIntervalMs ?? HEARTBEAT_INTERVAL_MS,
      send: (seq) => this.#send(seq, requestText(CommandId.heartbeat, {})),
      acknowledgedBytes: () => this.#commandBytes - session.bufferedBytes(Channel.command),
      onBeat: (report) => this.events.emit('heartbeat', report),
      onDead: (failures) => this.#die(`It acknowledged none of the last ${failures} heartbeats.`),
    });
    this.#channels = new ChannelReaders({
      clock,
      log: this.#log,
      onSkipped: (channel, bytes) => this.#skipped(channel, bytes),
    });
    this.#channels.read(Channel.command, { onFrame: (frame) => this.#requests.take(frame) });
    this.#channels.read(Channel.event, { onFrame: (frame) => this.#takeEvent(frame) });
    session.attach({
      onData: (channel, data) => this.#channels.receive(channel, data),
      onClose: (reason) => this.#finish(this.#closeError(reason)),
    });
  }

  /** Why the session is over; undefined while it lives. */
  get closed(): CameraError | undefined {
    return this.#closed;
  }

  /**
   * Waits for the greeting, logs in and starts the heartbeat.
   * @throws CameraError `login-failed` when the camera refuses or stays silent, `session-closed`; the signal's reason.
   */
  async login(signal?: AbortSignal): Promise<void> {
    await this.#awaitGreeting(signal);
    const fields = {
      usrName: 'admin',
      password: 'admin',
      needVideo: 0,
      needAudio: 0,
      utcTime: this.#localSeconds(),
      supportHeartBeat: true,
    } as const;
    try {
      this.#token = (await this.request(login, fields, { signal })).token;
    } catch (error) {
      throw this.#loginError(error);
    }
    this.#heartbeat.start();
    this.#log.info(`Logged in to ${this.target}`);
  }

  /**
   * Sends a command and resolves with its answer. Several may be under way at once.
   * @throws CameraError `command-timeout`, `command-refused`, `bad-response`, `not-logged-in`, `session-closed`, `busy`;
   *   the signal's reason.
   */
  async request<Fields extends object, Response>(
    command: Command<Fields, Response>,
    fields: Fields,
    options: { signal?: AbortSignal } = {},
  ): Promise<Response> {
    const json = await this.command(command.id, fields, { timeLimitMs: command.timeLimitMs, ...options });
    const response = command.parse(json);
    if (response.ok) return response.value;
    throw new CameraError('bad-response', response.message, { target: this.target, details: { cmdId: command.id } });
  }

  /** Sends any command by its number and resolves with the answer's fields. @throws as {@link request}. */
  async command(
    id: number,
    fields: object,
    options: { signal?: AbortSignal; timeLimitMs?: number } = {},
  ): Promise<JsonObject> {
    if (this.#closed) throw this.#closed;
    if (needsToken(id) && this.#token === undefined) {
      const message = `${commandName(id)} needs the token of a login. Log in first.`;
      throw new CameraError('not-logged-in', message, { target: this.target, details: { cmdId: id } });
    }
    const text = requestText(id, fields, needsToken(id) ? this.#token : undefined);
    return this.#requests.call(id, text, options.timeLimitMs ?? COMMAND_TIME_LIMIT_MS, options.signal);
  }

  /** Reads the frames of a channel until the returned function is called. Frames that nobody reads are dropped. */
  read(channel: number, reader: ChannelReader): () => void {
    return this.#channels.read(channel, reader);
  }

  /** `Clock.now` of the last bytes of a channel; minus infinity when there were none. */
  lastDataAt(channel: number): number {
    return this.#channels.lastDataAt(channel);
  }

  /**
   * Bytes that came from the camera and were not handed on as data: headers and repeats, and what waits behind a gap. It
   * grows by kilobytes while a gap holds a channel up, and hardly while the camera sends nothing.
   */
  get undeliveredBytes(): number {
    return this.carrier.stats.bytesReceived - this.#channels.bytes;
  }

  /** True while a frame of the channel has arrived in part. */
  isMidFrame(channel: number): boolean {
    return this.#channels.isMidFrame(channel);
  }

  /** Says that data is owed to us: until the result is disposed of, silence ends the session early. */
  expectData(): Disposable {
    return this.#liveness.expect();
  }

  /** Silence of this long, ms, is suspicious on this path. */
  get suspiciousAfterMs(): number {
    return suspiciousAfterMs(this.carrier.stats.rttMs);
  }

  /** How long nothing at all has come from the camera, ms. */
  get silentMs(): number {
    return this.#liveness.silentMs;
  }

  /** Ends the session. The camera expects no logout. Idempotent. */
  async close(): Promise<void> {
    this.#finish(new CameraError('session-closed', `The session with ${this.target} was closed.`, this.#about()));
    await this.carrier.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #awaitGreeting(signal?: AbortSignal): Promise<void> {
    const limitMs = this.#options.greetingLimitMs ?? GREETING_LIMIT_MS;
    if (!this.#closed && this.#greeting.length < GREETING.length) await this.#greetingBell.wait(limitMs, signal);
    if (this.#closed) throw this.#closed;
    if (this.#greeting.length < GREETING.length) this.#log.debug(`No greeting within ${limitMs} ms; logging in anyway`);
  }

  #localSeconds(): number {
    const wallMs = this.clock.wallTime();
    const offsetMs = this.#options.utcOffsetMs?.(wallMs) ?? -60_000 * new Date(wallMs).getTimezoneOffset();
    return Math.floor((wallMs + offsetMs) / 1000);
  }

  #loginError(error: unknown): unknown {
    if (!(error instanceof CameraError) || error.code === 'session-closed') return error;
    const { target } = this;
    return new CameraError('login-failed', `The login failed. ${error.message}`, {
      target,
      cause: error,
      details: error.details,
    });
  }

  #send(seq: number, text: string): number {
    const frame = encodeFrame(MessageType.request, seq, encodeRequestText(text));
    this.#commandBytes += frame.length;
    this.carrier.write(Channel.command, frame);
    return this.#commandBytes;
  }

  #takeEvent(frame: Frame): void {
    const event = decodeEvent(frame.body);
    if (event.ok) this.events.emit('event', event.value);
    else this.#log.debug(`An event that cannot be read: ${event.message}`);
  }

  #skipped(channel: number, bytes: Uint8Array): void {
    if (channel === Channel.command && this.#greeting.length < GREETING.length) {
      this.#greeting += Buffer.from(bytes.subarray(0, GREETING.length)).toString('latin1');
      if (this.#greeting.length >= GREETING.length) this.#greetingBell.ring();
      return;
    }
    this.#log.debug('Bytes that belong to no message', { channel, bytes: bytes.length });
  }

  /** A camera that also stopped acknowledging is gone; one that only refuses is not. */
  #requestTimedOut(): void {
    const { silentMs } = this.#liveness;
    if (silentMs < Math.max(COMMAND_TIME_LIMIT_MS, this.suspiciousAfterMs)) return;
    this.#die(`It owed an answer and has been silent for ${seconds(silentMs)} s.`);
  }

  #die(why: string): void {
    const message = `The camera at ${this.target} is gone. ${why}`;
    this.#finish(new CameraError('session-closed', message, this.#about({ reason: 'silent' })));
    this.carrier.close().catch((error: unknown) => this.#log.warn('The transport did not close', { error }));
  }

  #finish(error: CameraError): void {
    if (this.#closed) return;
    this.#closed = error;
    this.#heartbeat.stop();
    this.#liveness.stop();
    this.#greetingBell.ring();
    this.#requests.failAll(error);
    this.#channels.close();
    this.events.emit('closed', error);
  }

  #closeError(reason: CloseReason): CameraError {
    const message = `The session with ${this.target} is over: ${CLOSE_REASONS[reason]}.`;
    return new CameraError('session-closed', message, this.#about({ reason }));
  }

  #about(details: Record<string, string> = {}): { target: string; details: Record<string, string> } {
    return { target: this.target, details };
  }
}

const CLOSE_REASONS: Readonly<Record<CloseReason, string>> = {
  'closed-locally': 'it was closed on this side',
  'closed-by-peer': 'the camera closed it',
  'timed-out': 'the camera stopped answering',
  'carrier-failed': 'the socket failed',
};

function seconds(ms: number): string {
  return (ms / 1000).toFixed(1);
}
