import type { Clock, Random, Timer } from '@towpath/core';
import type { CloseReason, PpppSession } from '@towpath/pppp';
import { decodeText, encodeResponseText } from '../artemis/cipher.ts';
import { CommandId } from '../artemis/command-id.ts';
import { encodeEvent } from '../artemis/event.ts';
import { Channel, encodeFrame, type Frame, FrameStream, GREETING, MessageType } from '../artemis/frame.ts';
import { type JsonObject, parseJsonObject } from '../artemis/json.ts';
import type { EmulatedCamera } from './emulated-camera.ts';
import { ChannelWriter } from './channel-writer.ts';
import { type CommandContext, type CommandOutcome, runCommand } from './commands.ts';
import { LiveStream } from './live-stream.ts';
import { loginSchema } from './requests.ts';

/** Without a valid login the real camera closes after 7 to 12 s (docs/protocol/pppp.md, "Closing"). */
const LOGIN_LIMIT_MS: readonly [number, number] = [7000, 12_000];

/** A client with more unread responses than this gets no further ones. */
const MAX_QUEUED_ANSWER_BYTES: number = 256 * 1024;

/** The event is sent up to 60 ms after the login response (docs/protocol/artemis.md, "Session"). */
const EVENT_DELAY_MS = 30;

/** Observed value of the pad byte in events (docs/protocol/artemis.md, "Frame"). */
const EVENT_PAD = 0x77;

export interface CameraSessionComponents {
  session: PpppSession;
  camera: EmulatedCamera;
  clock: Clock;
  random: Random;
}

/** Callbacks of a session to the emulator. */
export interface CameraSessionHandlers {
  onLogin(): void;
  onCommand(id: number): void;
  onClose(reason: CloseReason): void;
}

/** The camera's end of one session: greeting, login, commands, transfers, live video. */
export class CameraSession {
  readonly #session: PpppSession;
  readonly #camera: EmulatedCamera;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #handlers: CameraSessionHandlers;
  readonly #requests = new FrameStream({ onFrame: (frame) => this.#onFrame(frame) });
  readonly #writers: Map<number, ChannelWriter> = new Map();
  readonly #timers: Set<Timer> = new Set();
  readonly #context: CommandContext;
  #loginTimer: Timer;
  #token: number | undefined;
  #live: LiveStream | undefined;
  #answeredAt = 0;

  constructor({ session, camera, clock, random }: CameraSessionComponents, handlers: CameraSessionHandlers) {
    this.#session = session;
    this.#camera = camera;
    this.#clock = clock;
    this.#random = random;
    this.#handlers = handlers;
    this.#context = {
      camera,
      startTransfer: (channel, frames) => this.#writer(channel).enqueue(frames),
      stopTransfers: (channel) => this.#writer(channel).clear(),
      startLive: () => this.#startLive(),
      stopLive: () => this.#stopLive(),
    };
    this.#loginTimer = this.#after(random.integer(...LOGIN_LIMIT_MS), () => void session.close());
    if (camera.faults.closeAfterMs > 0) this.#after(camera.faults.closeAfterMs, () => void session.close());
    session.attach({
      onData: (channel, data) => this.#onData(channel, data),
      onDrain: (channel) => this.#writers.get(channel)?.onDrain(),
      onClose: (reason) => this.#onClose(reason),
    });
    if (session.closed === undefined) session.write(Channel.command, GREETING);
  }

  /** Endpoint of the client. */
  get session(): PpppSession {
    return this.#session;
  }

  /** Ends the session with CLOSE. */
  close(): Promise<void> {
    return this.#session.close();
  }

  #onClose(reason: CloseReason): void {
    for (const timer of this.#timers) timer.cancel();
    this.#timers.clear();
    this.#stopLive();
    for (const writer of this.#writers.values()) writer.clear();
    this.#handlers.onClose(reason);
  }

  #onData(channel: number, data: Uint8Array): void {
    // Talk audio on channel 1 is discarded; clients send nothing else there.
    if (channel === Channel.command) this.#requests.push(data);
  }

  #onFrame(frame: Frame): void {
    if (frame.type !== MessageType.request || this.#camera.faults.stuck) return;
    const text = decodeText(frame.body);
    const request = text.ok ? parseJsonObject(text.value) : text;
    if (!request.ok || typeof request.value.cmdId !== 'number') {
      this.#camera.counters.undecodable++;
      return;
    }
    const id = request.value.cmdId;
    this.#handlers.onCommand(id);
    if (id === CommandId.heartbeat) return;
    if (this.#session.bufferedBytes(Channel.command) > MAX_QUEUED_ANSWER_BYTES) return;
    const outcome = id === CommandId.login ? this.#login(request.value) : this.#command(id, request.value, frame.seq);
    if (outcome === undefined) this.#camera.counters.ignored++;
    else this.#answer(frame.seq, outcome);
  }

  #login(request: JsonObject): CommandOutcome {
    const fields = loginSchema.safeParse(request);
    if (!fields.success) return undefined;
    if (fields.data.usrName !== 'admin' || fields.data.password !== 'admin') {
      return { reply: { cmdId: CommandId.login, result: -1, errorCode: -1, errorMsg: 'Login failed' } };
    }
    this.#loginTimer.cancel();
    const token = tokenOf(request);
    this.#token = this.#camera.faults.wrongToken ? token ^ 1 : token;
    if (fields.data.utcTime !== undefined) this.#camera.clock.set(fields.data.utcTime);
    this.#after(EVENT_DELAY_MS, () => {
      this.#session.write(Channel.event, encodeFrame(MessageType.event, 1, encodeEvent({ evtId: 4 }), EVENT_PAD));
    });
    this.#handlers.onLogin();
    return { reply: { cmdId: CommandId.login, result: 0, token, bat_percent: 80, errorMsg: 'Success' } };
  }

  #command(id: number, request: JsonObject, seq: number): CommandOutcome {
    const { tokenPolicy } = this.#camera;
    if (this.#token === undefined) return undefined;
    if (tokenPolicy !== 'ignore' && request.token !== this.#token) {
      return tokenPolicy === 'silent' ? undefined : { reply: { errorMsg: 'Invalid token', result: -1, cmdId: id } };
    }
    return runCommand(this.#context, id, request, seq);
  }

  /** Responds in the order of the requests. */
  #answer(seq: number, { reply, after }: NonNullable<CommandOutcome>): void {
    const send = () => {
      const body = encodeResponseText(JSON.stringify(reply));
      this.#session.write(Channel.command, encodeFrame(MessageType.response, seq, body));
      after?.();
    };
    const now = this.#clock.now();
    this.#answeredAt = Math.max(this.#answeredAt, now + this.#camera.responseDelayMs);
    if (this.#answeredAt <= now) send();
    else this.#after(this.#answeredAt - now, send);
  }

  #startLive(): void {
    this.#stopLive();
    this.#live = new LiveStream(this.#session, this.#camera, this.#clock, this.#random);
  }

  #stopLive(): void {
    this.#live?.stop();
    this.#live = undefined;
  }

  #writer(channel: number): ChannelWriter {
    let writer = this.#writers.get(channel);
    if (writer === undefined) {
      writer = new ChannelWriter(this.#session, channel, this.#random, this.#camera.mergeRatio);
      this.#writers.set(channel, writer);
    }
    return writer;
  }

  #after(delayMs: number, callback: () => void): Timer {
    const timer = this.#clock.timer(delayMs, () => {
      this.#timers.delete(timer);
      callback();
    });
    this.#timers.add(timer);
    return timer;
  }
}

/** Returns 26 bits that depend only on the login request, as on the real camera (docs/protocol/artemis.md, "Login"). */
function tokenOf(request: JsonObject): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(JSON.stringify(request), 'utf8')) hash = Math.imul(hash ^ byte, 0x01000193);
  return (hash >>> 6) | 0x0200_0000;
}
