import {
  type Clock,
  Events,
  type Log,
  Monitor,
  type MonitorTimes,
  type PathHealth,
  silentLog,
  Wakeup,
} from '@towpath/core';
import { formatEndpoint } from '@towpath/net';
import type { CloseReason, PpppSession } from '@towpath/pppp';
import { CameraError } from '../artemis/camera-error.ts';
import { encodeRequestText } from '../artemis/cipher.ts';
import { CommandId, commandName } from '../artemis/command-id.ts';
import { COMMAND_TIME_LIMIT_MS, type Command, login, needsToken, requestText } from '../artemis/commands.ts';
import { type CameraEvent, decodeEvent } from '../artemis/event.ts';
import { Channel, encodeFrame, type Frame, GREETING, MessageType } from '../artemis/frame.ts';
import type { JsonObject } from '../artemis/json.ts';
import { type ChannelReader, ChannelReaders } from './channel-readers.ts';
import { HEARTBEAT_INTERVAL_MS, Heartbeat, type HeartbeatReport } from './heartbeat.ts';
import { RequestTable } from './request-table.ts';

/** Components of an {@link ArtemisSession}. */
export interface ArtemisSessionComponents {
  /** The transport, without handlers attached. Closed together with this session. */
  session: PpppSession;
  clock: Clock;
  log?: Log | undefined;
}

export interface ArtemisSessionOptions {
  /** Offset of local wall time from UTC, ms: the camera's clock is set to local time. */
  utcOffsetMs?: ((wallTimeMs: number) => number) | undefined;
  /** Time to wait for the camera's greeting before the login is sent anyway, ms. @default 1000 */
  greetingLimitMs?: number | undefined;
  /** @default 3000 */
  heartbeatIntervalMs?: number | undefined;
  /** Send heartbeats after the login. @default true */
  heartbeat?: boolean | undefined;
  /** Do not set the camera's clock: the login has no time. @default false */
  keepClock?: boolean | undefined;
}

/** Events of a session. */
export interface ArtemisEvents {
  /** An unsolicited message of channel 6. */
  event: CameraEvent;
  heartbeat: HeartbeatReport;
  /** Health of the connection while data is expected. */
  health: PathHealth;
  /** Emitted once, when the session is over. */
  closed: CameraError;
}

/** Observed 0–112 ms after the transport is up. docs/protocol/artemis.md, "Timing". */
const GREETING_LIMIT_MS = 1000;

/**
 * One ARTEMIS session over one PPPP session: greeting, login, requests, heartbeat, binary channels.
 * docs/protocol/artemis.md, "Requests and responses", "Session".
 */
export class ArtemisSession implements AsyncDisposable {
  readonly events: Events<ArtemisEvents> = new Events();
  readonly carrier: PpppSession;
  readonly clock: Clock;
  /** Description of the camera for messages. */
  readonly target: string;
  readonly #options: ArtemisSessionOptions;
  readonly #log: Log;
  readonly #channels: ChannelReaders;
  readonly #requests: RequestTable;
  readonly #heartbeat: Heartbeat;
  /** Monitors the transport while data is expected. */
  #watch: Monitor | undefined;
  #owed = 0;
  readonly #greetingWakeup: Wakeup;
  #greeting = '';
  #commandBytes = 0;
  #token: number | undefined;
  #closed: CameraError | undefined;

  constructor({ session, clock, log = silentLog }: ArtemisSessionComponents, options: ArtemisSessionOptions = {}) {
    this.#options = options;
    this.#log = log;
    this.clock = clock;
    this.carrier = session;
    this.target = formatEndpoint(session.peer);
    this.#greetingWakeup = new Wakeup({ clock });
    this.#requests = new RequestTable(
      { clock, log },
      {
        target: this.target,
        send: (seq, text) => this.#send(seq, text),
        allAcknowledged: () => session.bufferedBytes(Channel.command) === 0,
        onTimeout: () => this.#requestTimedOut(),
      },
    );
    this.#heartbeat = new Heartbeat(
      { clock },
      {
        intervalMs: options.heartbeatIntervalMs ?? HEARTBEAT_INTERVAL_MS,
        send: (seq) => this.#send(seq, requestText(CommandId.heartbeat, {})),
        acknowledgedBytes: () => this.#commandBytes - session.bufferedBytes(Channel.command),
        onBeat: (report) => this.events.emit('heartbeat', report),
        onDead: (failures) => this.#die(`The last ${failures} heartbeats were not acknowledged.`),
      },
    );
    this.#channels = new ChannelReaders(
      { clock, log },
      { onSkipped: (channel, bytes) => this.#skipped(channel, bytes) },
    );
    this.#channels.read(Channel.command, { onFrame: (frame) => this.#requests.take(frame) });
    this.#channels.read(Channel.event, { onFrame: (frame) => this.#takeEvent(frame) });
    session.attach({
      onData: (channel, data) => this.#channels.receive(channel, data),
      onClose: (reason) => this.#finish(this.#closeError(reason)),
    });
  }

  /** Why the session is over; undefined while it is open. */
  get closed(): CameraError | undefined {
    return this.#closed;
  }

  /**
   * Waits for the greeting, logs in and starts the heartbeat.
   * @throws CameraError `login-failed` when the camera refuses or does not answer, `session-closed`; the signal's
   * reason.
   */
  async login(signal?: AbortSignal): Promise<void> {
    await this.#awaitGreeting(signal);
    const fields = {
      usrName: 'admin',
      password: 'admin',
      needVideo: 0,
      needAudio: 0,
      ...(this.#options.keepClock ? {} : { utcTime: this.#localSeconds() }),
      supportHeartBeat: true,
    } as const;
    try {
      this.#token = (await this.request(login, fields, { signal })).token;
    } catch (error) {
      throw this.#loginError(error);
    }
    this.setHeartbeat(this.#options.heartbeat ?? true);
    this.#log.info(`Logged in to ${this.target}`);
  }

  /**
   * Sends a command and resolves with its response. Several may be pending at the same time.
   * @throws CameraError `command-timeout`, `command-refused`, `bad-response`, `not-logged-in`, `session-closed`,
   * `busy`;
   *   the signal's reason.
   */
  async request<Fields extends object, Response>(
    command: Command<Fields, Response>,
    fields: Fields,
    options: { signal?: AbortSignal | undefined } = {},
  ): Promise<Response> {
    const json = await this.command(command.id, fields, { timeLimitMs: command.timeLimitMs, ...options });
    const response = command.parse(json);
    if (response.ok) return response.value;
    throw new CameraError('bad-response', response.message, { target: this.target, details: { cmdId: command.id } });
  }

  /** Sends any command by its number and resolves with the response's fields. @throws as {@link request}. */
  async command(
    id: number,
    fields: object,
    options: { signal?: AbortSignal | undefined; timeLimitMs?: number } = {},
  ): Promise<JsonObject> {
    if (this.#closed) throw this.#closed;
    if (needsToken(id) && this.#token === undefined) {
      const message = `${commandName(id)} needs a login. Next: log in first.`;
      throw new CameraError('not-logged-in', message, { target: this.target, details: { cmdId: id } });
    }
    const text = requestText(id, fields, needsToken(id) ? this.#token : undefined);
    return this.#requests.call(id, text, options.timeLimitMs ?? COMMAND_TIME_LIMIT_MS, options.signal);
  }

  /** Reads the frames of a channel until the returned function is called. Frames without a reader are dropped. */
  read(channel: number, reader: ChannelReader): () => void {
    return this.#channels.read(channel, reader);
  }

  /** `Clock.now` of the last bytes of a channel; minus infinity without any. */
  lastDataAt(channel: number): number {
    return this.#channels.lastDataAt(channel);
  }

  /**
   * Received bytes that were not delivered as data: headers, duplicates, and data after a gap. It grows by kilobytes
   * while a gap blocks a channel, and hardly while the camera sends nothing.
   */
  get undeliveredBytes(): number {
    return this.carrier.stats.bytesReceived - this.#channels.bytes;
  }

  /** True while a frame of the channel is incomplete. */
  isMidFrame(channel: number): boolean {
    return this.#channels.isMidFrame(channel);
  }

  /** Marks that data is expected: until the result is disposed of, silence ends the session early. */
  expectData(): Disposable {
    if (this.#owed++ === 0 && !this.#closed) this.#watch = this.#startWatch();
    let done = false;
    return {
      [Symbol.dispose]: () => {
        if (done) return;
        done = true;
        if (--this.#owed === 0) this.#stopWatch();
      },
    };
  }

  /** Silence of this duration, ms, is suspicious on this path. */
  get suspiciousAfterMs(): number {
    return Math.max(SUSPICIOUS_MS, SUSPICIOUS_ROUND_TRIPS * (this.carrier.stats.rttMs ?? 0));
  }

  /** Time since the last packet from the camera, ms. */
  get silentMs(): number {
    return this.clock.now() - this.carrier.stats.lastReceivedAt;
  }

  /** Starts or stops the heartbeat of a session that is logged in. */
  setHeartbeat(enabled: boolean): void {
    if (enabled && this.#token !== undefined && !this.#closed) this.#heartbeat.start();
    else this.#heartbeat.stop();
  }

  /** Ends the session. Cameras need no logout. Idempotent. */
  async close(): Promise<void> {
    this.#finish(new CameraError('session-closed', `The session with ${this.target} was closed.`, this.#about()));
    await this.carrier.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #awaitGreeting(signal?: AbortSignal): Promise<void> {
    const limitMs = this.#options.greetingLimitMs ?? GREETING_LIMIT_MS;
    if (!this.#closed && this.#greeting.length < GREETING.length) await this.#greetingWakeup.wait(limitMs, signal);
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
    else this.#log.debug(`Malformed event: ${event.message}`);
  }

  #skipped(channel: number, bytes: Uint8Array): void {
    if (channel === Channel.command && this.#greeting.length < GREETING.length) {
      this.#greeting += Buffer.from(bytes.subarray(0, GREETING.length)).toString('latin1');
      if (this.#greeting.length >= GREETING.length) this.#greetingWakeup.wake();
      return;
    }
    this.#log.debug('Bytes outside of any message were skipped', { channel, bytes: bytes.length });
  }

  /** A camera that also stopped acknowledging is lost; one that acknowledges has only refused the request. */
  #requestTimedOut(): void {
    const { silentMs } = this;
    if (silentMs < Math.max(COMMAND_TIME_LIMIT_MS, this.suspiciousAfterMs)) return;
    this.#die(`No packet for ${seconds(silentMs)} s while a response was pending.`);
  }

  /** Suspect after {@link suspiciousAfterMs} of silence, dead after half as much again. */
  #startWatch(): Monitor {
    const { suspiciousAfterMs } = this;
    return new Monitor(
      { clock: this.clock },
      {
        lastHeardAtMs: () => this.carrier.stats.lastReceivedAt,
        onHealth: (health) => {
          if (health === 'dead') this.#die(`No packet for ${seconds(this.silentMs)} s during a transfer.`);
          else this.events.emit('health', health);
        },
        times: watchTimes(suspiciousAfterMs / WATCH_STEPS),
      },
    );
  }

  #stopWatch(): void {
    const suspect = this.#watch?.state.health === 'suspect';
    this.#watch?.stop();
    this.#watch = undefined;
    if (suspect && !this.#closed) this.events.emit('health', 'good');
  }

  #die(why: string): void {
    const message = `Connection to the camera at ${this.target} lost. ${why}`;
    this.#finish(new CameraError('session-closed', message, this.#about({ reason: 'silent' })));
    this.carrier.close().catch((error: unknown) => this.#log.warn('Closing the transport failed', { error }));
  }

  #finish(error: CameraError): void {
    if (this.#closed) return;
    this.#closed = error;
    this.#heartbeat.stop();
    this.#stopWatch();
    this.#greetingWakeup.wake();
    this.#requests.failAll(error);
    this.#channels.close();
    this.events.emit('closed', error);
  }

  #closeError(reason: CloseReason): CameraError {
    const message = `The session with ${this.target} ended: ${CLOSE_REASONS[reason]}.`;
    return new CameraError('session-closed', message, this.#about({ reason }));
  }

  #about(details: Record<string, string> = {}): { target: string; details: Record<string, string> } {
    return { target: this.target, details };
  }
}

/**
 * A healthy camera sends something at least once a second (keep-alives, acknowledgements, data), so this much silence is
 * suspicious while data is expected.
 */
const SUSPICIOUS_MS = 1000;
const SUSPICIOUS_ROUND_TRIPS = 4;
const WATCH_STEPS = 2;

/** The session's own keep-alives are the probes: within each step at least one packet must arrive. */
function watchTimes(stepMs: number): Partial<MonitorTimes> {
  return {
    startIntervalMs: stepMs,
    activeIntervalMs: stepMs,
    idleIntervalMs: stepMs,
    minProbeLimitMs: stepMs,
    maxProbeLimitMs: stepMs,
    suspectAfter: WATCH_STEPS,
    deadAfter: WATCH_STEPS + 1,
    trustMs: Number.POSITIVE_INFINITY,
  };
}

const CLOSE_REASONS: Readonly<Record<CloseReason, string>> = {
  'closed-locally': 'closed locally',
  'closed-by-peer': 'closed by the camera',
  'timed-out': 'the camera does not answer',
  'carrier-failed': 'socket error',
};

function seconds(ms: number): string {
  return (ms / 1000).toFixed(1);
}
