import { type Clock, Events, type PathKind, SeededRandom } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import type { CloseReason, PpppSession, SessionHandlers, SessionRole, SessionStats } from '@towpath/pppp';
import { encodeAvFrame, LIVE_STALE_BYTES } from '../src/artemis/av.ts';
import { decodeText, encodeResponseText } from '../src/artemis/cipher.ts';
import { encodeEvent } from '../src/artemis/event.ts';
import { Channel, encodeFrame, type Frame, FrameStream, GREETING, MessageType } from '../src/artemis/frame.ts';
import { encodeFileRecord, encodeThumbnailRecord } from '../src/artemis/record.ts';
import { CameraClient, type CameraClientComponents, type CameraClientOptions } from '../src/client/camera-client.ts';
import type { CameraConnector, ConnectorOptions } from '../src/client/connector.ts';

const CHANNELS = 8;
const DEAD_AFTER_MS = 8000;
const KEEP_ALIVE_MS = 1000;

/** The cable between two {@link MemorySession}s: a delay, and a switch that cuts it. */
export class Wire {
  readonly clock: Clock;
  readonly delayMs: number;
  readonly changed: Events<{ up: boolean }> = new Events();
  #downSince: number | undefined;

  constructor(clock: Clock, delayMs: number) {
    this.clock = clock;
    this.delayMs = delayMs;
  }

  get up(): boolean {
    return this.#downSince === undefined;
  }

  /** When the last keep-alive can have come through. */
  get lastAliveAt(): number {
    return Math.max(0, (this.#downSince ?? this.clock.now()) - KEEP_ALIVE_MS / 2);
  }

  cut(): void {
    this.#downSince ??= this.clock.now();
    this.changed.emit('up', false);
  }

  restore(): void {
    this.#downSince = undefined;
    this.changed.emit('up', true);
  }
}

/** A PPPP session in memory: reliable and ordered like the real one, with its 8 s to notice a dead peer. */
export class MemorySession implements PpppSession {
  readonly role: SessionRole;
  readonly pathKind: PathKind;
  readonly uid = 'TEST-000001-ABCDE';
  readonly local = { address: '192.0.2.2', port: 50_000 };
  readonly peer = { address: '192.0.2.1', port: 40_611 };
  closed: CloseReason | undefined;
  readonly paused: boolean[] = new Array(CHANNELS).fill(false);
  other!: MemorySession;
  readonly #wire: Wire;
  readonly #queues: { channel: number; data: Uint8Array }[] = [];
  readonly #inbox: { channel: number; data: Uint8Array }[] = [];
  readonly #buffered: number[] = new Array(CHANNELS).fill(0);
  readonly #held: Uint8Array[][] = Array.from({ length: CHANNELS }, () => []);
  #handlers: SessionHandlers | undefined;
  #lastReceivedAt = 0;
  readonly #stopWatching: () => void;
  #death: Disposable | undefined;

  constructor(role: SessionRole, wire: Wire, pathKind: PathKind) {
    this.role = role;
    this.pathKind = pathKind;
    this.#wire = wire;
    this.#stopWatching = wire.changed.on('up', (up) => (up ? this.#flush() : this.#startDying()));
  }

  static pair(wire: Wire, pathKind: PathKind = 'lan'): { client: MemorySession; device: MemorySession } {
    const client = new MemorySession('client', wire, pathKind);
    const device = new MemorySession('device', wire, pathKind);
    client.other = device;
    device.other = client;
    return { client, device };
  }

  get stats(): SessionStats {
    return {
      rttMs: 2 * this.#wire.delayMs,
      minRttMs: 2 * this.#wire.delayMs,
      inFlight: 0,
      bytesSent: 0,
      bytesReceived: 0,
      packetsSent: 0,
      packetsReceived: 0,
      retransmissions: 0,
      duplicatesReceived: 0,
      rejected: 0,
      lastReceivedAt: Math.max(this.#lastReceivedAt, this.#wire.lastAliveAt),
    };
  }

  attach(handlers: SessionHandlers): void {
    this.#handlers = handlers;
    for (const { channel, data } of this.#inbox.splice(0)) handlers.onData(channel, data);
  }

  write(channel: number, data: Uint8Array): boolean {
    if (this.closed) return false;
    this.#buffered[channel]! += data.length;
    this.#queues.push({ channel, data });
    if (this.#wire.up) this.#flush();
    return true;
  }

  bufferedBytes(channel: number): number {
    return this.#buffered[channel]!;
  }

  setPaused(channel: number, paused: boolean): void {
    this.paused[channel] = paused;
    if (!paused) for (const data of this.#held[channel]!.splice(0)) this.#deliver(channel, data);
  }

  async close(): Promise<void> {
    if (this.closed) return;
    const { other } = this;
    if (this.#wire.up) this.#wire.clock.timer(this.#wire.delayMs, () => other.end('closed-by-peer'));
    this.end('closed-locally');
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  end(reason: CloseReason): void {
    if (this.closed) return;
    this.closed = reason;
    this.#stopWatching();
    this.#death?.[Symbol.dispose]();
    this.#handlers?.onClose?.(reason);
  }

  #flush(): void {
    this.#death?.[Symbol.dispose]();
    for (const { channel, data } of this.#queues.splice(0)) {
      this.#wire.clock.timer(this.#wire.delayMs, () => {
        // What a cut catches on its way is sent again afterwards, as a reliable channel does.
        if (!this.#wire.up) this.#queues.push({ channel, data });
        else {
          this.#buffered[channel]! -= data.length;
          this.other.receive(channel, data);
        }
      });
    }
  }

  receive(channel: number, data: Uint8Array): void {
    if (this.closed) return;
    this.#lastReceivedAt = this.#wire.clock.now();
    if (this.paused[channel]) this.#held[channel]!.push(data);
    else this.#deliver(channel, data);
  }

  #deliver(channel: number, data: Uint8Array): void {
    if (this.#handlers) this.#handlers.onData(channel, data);
    else this.#inbox.push({ channel, data });
  }

  #startDying(): void {
    this.#death = this.#wire.clock.timer(DEAD_AFTER_MS, () => this.end('timed-out'));
  }
}

export interface FakeItem {
  fileType: number;
  dirNum: number;
  mediaNum: number;
  data: Uint8Array;
}

type Json = Record<string, unknown>;

/** The device end of memory sessions: enough of a camera to test the client, with everything about it settable. */
export class FakeCamera {
  readonly clock: Clock;
  wire: Wire;
  items: FakeItem[] = [];
  token = 7001;
  /** Seconds of `utcTime` of the last login. */
  utcTime: number | undefined;
  /** Every request as it came. */
  readonly requests: { at: number; seq: number; json: Json }[] = [];
  /** Commands that get no answer. */
  readonly silent: Set<number> = new Set();
  /** Answers instead of the usual ones. */
  readonly answers: Map<number, Json> = new Map();
  /** Time between two items of a transfer, ms. */
  itemMs = 10;
  /** Items that are passed over in transfers: `dir/num` → how many times. */
  readonly passOver: Map<string, number> = new Map();
  /** Items that come with a damaged end: `dir/num` → how many times. */
  readonly damage: Map<string, number> = new Map();
  /** Ignores transfer requests, although it answers them. */
  stuckTransfers = false;
  greets = true;
  reachable = true;
  /** Of the sessions that the connector brings. */
  pathKind: PathKind = 'lan';
  sessions: MemorySession[] = [];
  connects = 0;
  lastOptions: ConnectorOptions | undefined;
  liveRunning = false;

  constructor(clock: Clock, delayMs = 5) {
    this.clock = clock;
    this.wire = new Wire(clock, delayMs);
  }

  /** Fills the card with `count` pictures, numbers 1…count of folder 100, each with bytes of its own. */
  fill(count: number, bytes = 1000): void {
    for (let mediaNum = 1; mediaNum <= count; mediaNum++) {
      const data = new SeededRandom(mediaNum).bytes(bytes);
      this.items.push({ fileType: 0, dirNum: 100, mediaNum, data });
    }
  }

  get session(): MemorySession {
    return this.sessions.at(-1)!;
  }

  count(cmdId: number): number {
    return this.requests.filter(({ json }) => json.cmdId === cmdId).length;
  }

  /** A connector that finds this camera in one round trip, or never while it is not reachable. */
  get connector(): CameraConnector {
    return {
      target: '192.0.2.1',
      connect: async (options) => {
        this.connects++;
        this.lastOptions = options;
        while (!this.reachable || !this.wire.up) await this.clock.sleep(100, options.signal);
        await this.clock.sleep(2 * this.wire.delayMs, options.signal);
        return { session: this.open(this.wire, this.pathKind), report: { connects: this.connects } };
      },
    };
  }

  open(wire: Wire = this.wire, pathKind: PathKind = 'lan'): MemorySession {
    const { client, device } = MemorySession.pair(wire, pathKind);
    this.sessions.push(device);
    const stream = new FrameStream({ onFrame: (frame) => this.#take(device, frame) });
    device.attach({ onData: (_channel, data) => stream.push(data) });
    if (this.greets) device.write(Channel.command, GREETING);
    return client;
  }

  event(fields: Json): void {
    this.session.write(Channel.event, encodeFrame(MessageType.event, 1, encodeEvent(fields), 0x77));
  }

  respond(session: MemorySession, seq: number, json: Json): void {
    session.write(Channel.command, encodeFrame(MessageType.response, seq, encodeResponseText(JSON.stringify(json))));
  }

  /** Sends one live frame; its video is a few bytes that name it. */
  live(frameNumber: number, options: { keyFrame?: boolean; damaged?: boolean; session?: MemorySession } = {}): void {
    const body = encodeAvFrame(
      {
        frameNumber,
        timestamp: frameNumber * 66_000,
        keyFrame: options.keyFrame ?? false,
        width: 1280,
        height: 720,
        audioType: 0,
        mark: 0,
        sessionNo: 0,
        videoType: 0,
        video: Buffer.from(`frame ${frameNumber}`),
        audio: new Uint8Array(0),
      },
      new Uint8Array(LIVE_STALE_BYTES),
    );
    if (options.damaged) body[66]! ^= 0xff;
    (options.session ?? this.session).write(Channel.live, encodeFrame(MessageType.liveAv, frameNumber, body));
  }

  #take(session: MemorySession, frame: Frame): void {
    const text = decodeText(frame.body);
    if (frame.type !== MessageType.request || !text.ok) return;
    const json = JSON.parse(text.value) as Json;
    this.requests.push({ at: this.clock.now(), seq: frame.seq, json });
    const cmdId = json.cmdId as number;
    if (cmdId === 525 || this.silent.has(cmdId)) return;
    if (cmdId !== 0 && json.token !== this.token) return;
    this.respond(session, frame.seq, { cmdId, ...(this.answers.get(cmdId) ?? this.#answer(cmdId, json)) });
    if (cmdId === 772 && !this.stuckTransfers) this.#send(session, json.thumbnailReqs, Channel.thumbnail);
    if (cmdId === 1285 && !this.stuckTransfers) this.#send(session, json.downloadReqs, Channel.file);
  }

  #answer(cmdId: number, json: Json): Json {
    switch (cmdId) {
      case 0:
        this.utcTime = json.utcTime as number;
        return { result: 0, token: this.token, errorMsg: 'Success' };
      case 258:
      case 259:
        this.liveRunning = cmdId === 258;
        return { result: 0 };
      case 512:
        return { devId: '00:11:22:33:44:55', modelName: 'TEST1', batPercent: 42, result: 0 };
      case 768:
        return this.#page(json.pageNo as number, json.itemCntPerPage as number);
      default:
        return { cmdRet: 0, result: 0 };
    }
  }

  #page(pageNo: number, size: number): Json {
    const newestFirst = [...this.items].sort((a, b) => b.mediaNum - a.mediaNum);
    const page = newestFirst.slice(pageNo * size, (pageNo + 1) * size);
    const mediaFiles = page.map(({ fileType, dirNum, mediaNum }) => ({
      fileType,
      mediaDirNum: dirNum,
      mediaNum,
      durationMs: 0,
      mediaId: mediaNum * 1000,
      mediaTime: 1_700_000_000 + mediaNum,
    }));
    return { mediaFiles, cnt: page.length, pageNo, getMediaListRet: 0, result: 0 };
  }

  #send(session: MemorySession, requests: unknown, channel: number): void {
    let seq = 0;
    let delayMs = 0;
    for (const { dirNum, mediaNum } of requests as FakeItem[]) {
      const item = this.items.find((one) => one.dirNum === dirNum && one.mediaNum === mediaNum);
      const name = `${dirNum}/${mediaNum}`;
      if (item === undefined || spend(this.passOver, name)) continue;
      const record = { deviceId: '00:11:22:33:44:55', dirNum, mediaNum, mediaId: mediaNum * 1000, data: item.data };
      const body = channel === Channel.file ? encodeFileRecord(record) : encodeThumbnailRecord(record);
      if (spend(this.damage, name)) body[body.length - 1]! ^= 0xff;
      const type = channel === Channel.file ? MessageType.file : MessageType.thumbnail;
      const frame = encodeFrame(type, ++seq, body);
      delayMs += this.itemMs;
      this.clock.timer(delayMs, () => {
        for (let at = 0; at < frame.length; at += 1024) session.write(channel, frame.subarray(at, at + 1024));
      });
    }
  }
}

function spend(counts: Map<string, number>, name: string): boolean {
  const left = counts.get(name) ?? 0;
  counts.set(name, left - 1);
  return left > 0;
}

export interface Bench {
  clock: VirtualClock;
  camera: FakeCamera;
  client: CameraClient;
}

/** A camera and a client that has not connected yet, on one virtual clock. */
export function bench(options: CameraClientOptions = {}, components: Partial<CameraClientComponents> = {}): Bench {
  const clock = new VirtualClock();
  const camera = new FakeCamera(clock);
  const random = new SeededRandom(1);
  const { connector } = camera;
  const client = new CameraClient(
    { connector, clock, random, ...components },
    { utcOffsetMs: () => 3_600_000, ...options },
  );
  return { clock, camera, client };
}

/** A camera and a client that is connected to it. */
export async function connectedBench(options: CameraClientOptions = {}): Promise<Bench> {
  const made = bench(options);
  await made.clock.runUntil(made.client.connectWithRetries());
  return made;
}

/** A camera and a client that is connected to it over a relay. */
export async function relayedBench(): Promise<Bench> {
  const made = bench();
  made.camera.pathKind = 'relay';
  await made.clock.runUntil(made.client.connectWithRetries());
  return made;
}

/** Everything that an iterable yields. */
export async function drain<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

/** The error that a promise rejects with. */
export async function failure(promise: Promise<unknown>): Promise<{ code: string; message: string; details: object }> {
  try {
    await promise;
  } catch (error) {
    return error as { code: string; message: string; details: object };
  }
  throw new Error('it should have failed');
}
