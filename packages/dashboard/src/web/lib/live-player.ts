import type { LiveEnd, LiveStart } from '../../api/cameras.ts';
import { decodeLiveFrame } from '../../api/live-frame.ts';
import { LiveStats } from './live-stats.ts';

/** How the pictures are decoded: WebCodecs is faster, Media Source is in more browsers. */
export type LiveDecoder = 'webcodecs' | 'mediasource';

export interface LiveElements {
  canvas: HTMLCanvasElement;
  video: HTMLVideoElement;
}

export interface LiveCallbacks {
  onStart(start: LiveStart, decoder: LiveDecoder): void;
  /** The end, with the reason where it was not asked for. */
  onEnd(message: string | undefined): void;
}

/** Frames that wait to be decoded; with more, frames are skipped up to the next key frame. */
const MAX_DECODE_QUEUE = 15;
const UNSUPPORTED = 'This browser plays neither WebCodecs nor Media Source with H.264. Next: use another browser.';

interface Sink {
  push(data: Uint8Array, keyFrame: boolean, timestampUs: number, fromMs: number): void;
  close(): void;
}

/** Plays the live WebSocket of a camera until {@link close}. */
export class LivePlayer {
  readonly stats: LiveStats = new LiveStats();
  readonly #socket: WebSocket;
  readonly #elements: LiveElements;
  readonly #callbacks: LiveCallbacks;
  readonly #force: LiveDecoder | undefined;
  #sink: Sink | undefined;
  #ended = false;
  #awaitingKey = true;

  constructor(url: string, elements: LiveElements, callbacks: LiveCallbacks, force?: LiveDecoder) {
    this.#elements = elements;
    this.#callbacks = callbacks;
    this.#force = force;
    this.#socket = new WebSocket(url);
    this.#socket.binaryType = 'arraybuffer';
    this.#socket.onmessage = ({ data }) => {
      if (typeof data === 'string') this.#said(data);
      else if (data instanceof ArrayBuffer) this.#frame(new Uint8Array(data));
    };
    this.#socket.onclose = () => this.#end('The connection to the daemon was lost.');
  }

  close(): void {
    this.#end(undefined);
  }

  #said(text: string): void {
    const message = JSON.parse(text) as LiveStart | LiveEnd;
    if (message.type === 'end') this.#end(message.problem?.message ?? 'The camera ended the live view.');
    else if (message.type === 'start') void this.#start(message);
  }

  async #start(start: LiveStart): Promise<void> {
    try {
      const decoder = this.#force ?? (await chooseDecoder(start.codec));
      if (this.#ended) return;
      if (decoder === undefined) {
        this.#end(UNSUPPORTED);
        return;
      }
      const failed = (error: unknown): void =>
        this.#end(`The video could not be decoded. ${error instanceof Error ? error.message : ''}`);
      const sink =
        decoder === 'webcodecs'
          ? codecSink(start, this.#elements.canvas, this.stats, failed)
          : await sourceSink(this.#elements.video, this.stats);
      if (this.#ended) sink.close();
      else {
        this.#sink = sink;
        this.#callbacks.onStart(start, decoder);
      }
    } catch (error) {
      this.#end(`The video could not be started. ${error instanceof Error ? error.message : ''}`);
    }
  }

  #frame(message: Uint8Array): void {
    const frame = decodeLiveFrame(message);
    if (frame === undefined || this.#sink === undefined) return;
    if (this.#awaitingKey && !frame.keyFrame) return;
    this.#awaitingKey = false;
    const fromMs = this.stats.arrived(frame.timestampUs, frame.data.length, Date.now());
    this.#sink.push(frame.data, frame.keyFrame, frame.timestampUs, fromMs);
  }

  #end(message: string | undefined): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#socket.onmessage = null;
    this.#socket.onclose = null;
    this.#socket.close();
    this.#sink?.close();
    this.#sink = undefined;
    this.#callbacks.onEnd(message);
  }
}

async function chooseDecoder(codec: string): Promise<LiveDecoder | undefined> {
  if ('VideoDecoder' in globalThis) {
    const { supported } = await VideoDecoder.isConfigSupported({ codec }).catch(() => ({ supported: false }));
    if (supported === true) return 'webcodecs';
  }
  const type = `video/mp4; codecs="${codec}"`;
  return 'MediaSource' in globalThis && MediaSource.isTypeSupported(type) ? 'mediasource' : undefined;
}

function codecSink(
  { codec, width, height }: LiveStart,
  canvas: HTMLCanvasElement,
  stats: LiveStats,
  failed: (error: unknown) => void,
): Sink {
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext('2d', { alpha: false, desynchronized: true });
  const sentAt = new Map<number, number>();
  let next: VideoFrame | undefined;
  let request = 0;
  let count = 0;
  let skipping = false;
  const draw = (): void => {
    request = 0;
    const frame = next;
    next = undefined;
    if (frame === undefined) return;
    context?.drawImage(frame, 0, 0, canvas.width, canvas.height);
    const from = sentAt.get(frame.timestamp);
    for (const number of sentAt.keys()) if (number <= frame.timestamp) sentAt.delete(number);
    frame.close();
    if (from !== undefined) stats.shown(from, Date.now());
  };
  const decoder = new VideoDecoder({
    output: (frame) => {
      // Only the newest picture is drawn: a slow page shows fewer, not older ones.
      next?.close();
      next = frame;
      if (request === 0) request = requestAnimationFrame(draw);
    },
    error: failed,
  });
  decoder.configure({ codec, codedWidth: width, codedHeight: height, optimizeForLatency: true });
  return {
    push(data, keyFrame, _timestampUs, fromMs) {
      if (decoder.decodeQueueSize > MAX_DECODE_QUEUE) skipping = true;
      if (skipping && !keyFrame) return;
      skipping = false;
      // Numbered, since a camera's own time stamps may repeat.
      const timestamp = count++;
      sentAt.set(timestamp, fromMs);
      decoder.decode(new EncodedVideoChunk({ type: keyFrame ? 'key' : 'delta', timestamp, data }));
    },
    close() {
      if (request !== 0) cancelAnimationFrame(request);
      next?.close();
      if (decoder.state !== 'closed') decoder.close();
    },
  };
}

async function sourceSink(video: HTMLVideoElement, stats: LiveStats): Promise<Sink> {
  const { default: JMuxer } = await import('jmuxer');
  const muxer = new JMuxer({ node: video, mode: 'video', flushingTime: 0, clearBuffer: true, debug: false });
  const started = performance.now();
  let last: number | undefined;
  // Media Source keeps a reserve: what is shown is as old as the buffer is long.
  const measure = setInterval(() => {
    const { buffered, currentTime } = video;
    if (buffered.length === 0) return;
    const behindMs = (buffered.end(buffered.length - 1) - currentTime) * 1_000;
    const now = Date.now();
    stats.shown(now - behindMs, now);
    if (behindMs > 1_500 && performance.now() - started > 3_000)
      video.currentTime = buffered.end(buffered.length - 1) - 0.1;
  }, 250);
  void video.play().catch(() => undefined);
  return {
    push(data, _keyFrame, timestampUs) {
      const duration = last === undefined ? undefined : (timestampUs - last) / 1_000;
      last = timestampUs;
      muxer.feed({ video: data, ...(duration !== undefined && duration > 0 && duration < 1_000 ? { duration } : {}) });
    },
    close() {
      clearInterval(measure);
      muxer.destroy();
    },
  };
}
