import { SeededRandom } from '@towpath/core';
import type { VirtualClock } from '@towpath/core/testing';
import type { CloseReason, PpppSession, SessionHandlers, SessionStats } from '@towpath/pppp';
import { decodeText, encodeRequestText } from '../src/artemis/cipher.ts';
import { encodeFrame, type Frame, FrameStream, MessageType } from '../src/artemis/frame.ts';
import { type JsonObject, parseJsonObject } from '../src/artemis/json.ts';
import { CameraSession } from '../src/emulator/camera-session.ts';
import { CameraClock, type EmulatedCamera, emptyCounters } from '../src/emulator/emulated-camera.ts';
import { Card } from '../src/emulator/card.ts';
import { paddedPictures } from '../src/emulator/media/picture-source.ts';

/** The camera's end of a session that keeps what is written, channel by channel, until the test takes it. */
export class RecordingSession implements PpppSession {
  readonly role = 'device';
  readonly pathKind = 'lan';
  readonly uid = 'TEST-000001-BCDEF';
  readonly local = { address: '192.0.2.1', port: 40611 };
  readonly peer = { address: '192.0.2.9', port: 5000 };
  readonly highWaterBytes: number;
  closed: CloseReason | undefined;
  largestQueueBytes = 0;
  #handlers: SessionHandlers | undefined;
  readonly #queues: Map<number, Uint8Array[]> = new Map();

  constructor(highWaterBytes: number = Number.POSITIVE_INFINITY) {
    this.highWaterBytes = highWaterBytes;
  }

  get stats(): SessionStats {
    throw new Error('The camera does not look at the statistics of its sessions.');
  }

  attach(handlers: SessionHandlers): void {
    this.#handlers = handlers;
  }

  write(channel: number, data: Uint8Array): boolean {
    if (this.closed !== undefined) return false;
    const queue = this.#queues.get(channel) ?? [];
    this.#queues.set(channel, queue);
    queue.push(data);
    const queued = this.bufferedBytes(channel);
    this.largestQueueBytes = Math.max(this.largestQueueBytes, queued);
    return queued <= this.highWaterBytes;
  }

  bufferedBytes(channel: number): number {
    return (this.#queues.get(channel) ?? []).reduce((sum, piece) => sum + piece.length, 0);
  }

  setPaused(): void {}

  async close(): Promise<void> {
    this.end('closed-locally');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  end(reason: CloseReason): void {
    if (this.closed !== undefined) return;
    this.closed = reason;
    this.#handlers?.onClose?.(reason);
  }

  /** Takes what waits on a channel; the camera is told that there is room again. */
  take(channel: number): Uint8Array[] {
    const queue = this.#queues.get(channel) ?? [];
    this.#queues.set(channel, []);
    if (queue.length > 0) this.#handlers?.onDrain?.(channel);
    return queue;
  }

  /** Takes until nothing comes any more. */
  takeAll(channel: number): Uint8Array[] {
    const pieces: Uint8Array[] = [];
    for (let more = this.take(channel); more.length > 0; more = this.take(channel)) pieces.push(...more);
    return pieces;
  }

  receive(channel: number, data: Uint8Array): void {
    this.#handlers?.onData(channel, data);
  }
}

/** The frames in the pieces of one channel. */
export function framesIn(pieces: readonly Uint8Array[]): Frame[] {
  const frames: Frame[] = [];
  const stream = new FrameStream({ onFrame: (frame) => frames.push({ ...frame, body: frame.body.slice() }) });
  for (const piece of pieces) stream.push(piece);
  return frames;
}

/** A camera with 83 items and small pictures. */
export function testCamera(clock: VirtualClock, change: Partial<EmulatedCamera> = {}): EmulatedCamera {
  return {
    seed: 1,
    name: 'TOWPATH 01',
    deviceId: '02:54:50:00:00:01',
    card: new Card(1, 83, 0),
    hasCard: true,
    pictures: paddedPictures({ photoBytes: 40_000, thumbnailBytes: 20_000 }),
    clock: new CameraClock(clock),
    batteryPercent: 80,
    temperature: 12,
    tokenPolicy: 'silent',
    secondTransfer: 'queue',
    mergeRatio: 0.2,
    audio: true,
    timeCode: false,
    responseDelayMs: 0,
    settings: new Map(),
    settingsPolicy: 'accept',
    faults: { stuck: false, wrongToken: false, hostileText: false, damagedFrameEvery: 0, closeAfterMs: 0 },
    counters: emptyCounters(),
    ...change,
  };
}

/** A client that speaks ARTEMIS to a {@link CameraSession} without any transport. */
export class DirectClient {
  readonly session: RecordingSession;
  readonly camera: EmulatedCamera;
  token: number | undefined;
  #seq = 0;

  constructor(
    clock: VirtualClock,
    change: Partial<EmulatedCamera> = {},
    session: RecordingSession = new RecordingSession(),
  ) {
    this.session = session;
    this.camera = testCamera(clock, change);
    const handlers = { onLogin() {}, onCommand() {}, onClose() {} };
    new CameraSession({ session, camera: this.camera, clock, random: new SeededRandom(3) }, handlers);
  }

  /** Sends a request and returns what the camera answered at once. */
  ask(fields: object, token: number | undefined = this.token): JsonObject | undefined {
    this.send(token === undefined ? fields : { ...fields, token });
    return this.answers().at(-1)?.json;
  }

  send(fields: object): void {
    const body = encodeRequestText(JSON.stringify(fields));
    this.session.receive(0, encodeFrame(MessageType.request, ++this.#seq, body));
  }

  login(): void {
    this.token = Number(this.ask(LOGIN)?.token);
  }

  /** Responses that wait on channel 0. */
  answers(): { seq: number; json: JsonObject; length: number }[] {
    return framesIn(this.session.takeAll(0)).map((frame) => {
      const text = decodeText(frame.body);
      const json = text.ok ? parseJsonObject(text.value) : text;
      if (!json.ok) throw new Error(json.message);
      return { seq: frame.seq, json: json.value, length: frame.body.length };
    });
  }
}

export const LOGIN: JsonObject = {
  cmdId: 0,
  usrName: 'admin',
  password: 'admin',
  needVideo: 0,
  needAudio: 0,
  utcTime: 1_766_236_491,
  supportHeartBeat: true,
};
