import type { Clock, Log } from '@towpath/core';
import { Channel, type Frame, FrameStream, MessageType } from '../artemis/frame.ts';

/** A reader of one channel. Called synchronously. */
export interface ChannelReader {
  onFrame(frame: Frame): void;
  /** Bytes of the channel have arrived, part of a frame or a whole one. */
  onBytes?: ((count: number) => void) | undefined;
  /** The session is over; no frame will follow. */
  onClosed?(): void;
}

export interface ChannelReadersOptions {
  /** Bytes that belong to no frame. */
  onSkipped(channel: number, bytes: Uint8Array): void;
}

interface ReceivingChannel {
  readonly stream: FrameStream;
  /** Replaced and never changed, so that a reader may stop reading while a frame is handed on. */
  readers: readonly ChannelReader[];
  /** When a frame of the channel's own type last came or grew. */
  lastDataAt: number;
}

/**
 * Message types allowed on each channel; others are dropped. docs/protocol/artemis.md, "Channels".
 */
const TYPE_OF_CHANNEL: ReadonlyMap<number, number> = new Map<number, number>([
  [Channel.command, MessageType.response],
  [Channel.live, MessageType.liveAv],
  [Channel.playback, MessageType.playbackAv],
  [Channel.file, MessageType.file],
  [Channel.thumbnail, MessageType.thumbnail],
  [Channel.event, MessageType.event],
]);

/** Cuts the bytes of each channel into frames and passes them to the channel's readers. */
export class ChannelReaders {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #options: ChannelReadersOptions;
  readonly #channels = new Map<number, ReceivingChannel>();
  #bytes = 0;

  constructor({ clock, log }: { clock: Clock; log: Log }, options: ChannelReadersOptions) {
    this.#clock = clock;
    this.#log = log;
    this.#options = options;
  }

  /** Reads a channel until the returned function is called. Frames without a reader are dropped. */
  read(channel: number, reader: ChannelReader): () => void {
    const receiving = this.#channel(channel);
    receiving.readers = [...receiving.readers, reader];
    return () => {
      receiving.readers = receiving.readers.filter((other) => other !== reader);
    };
  }

  /** Takes the next bytes of a channel. */
  receive(channel: number, data: Uint8Array): void {
    const receiving = this.#channel(channel);
    this.#bytes += data.length;
    receiving.stream.push(data);
    // Only this is progress: a camera could send anything else for ever.
    const { pendingType } = receiving.stream;
    if (pendingType !== undefined && pendingType === TYPE_OF_CHANNEL.get(channel))
      receiving.lastDataAt = this.#clock.now();
    for (const reader of receiving.readers) reader.onBytes?.(data.length);
  }

  /** Bytes of all channels so far. */
  get bytes(): number {
    return this.#bytes;
  }

  /** `Clock.now` of the last bytes of a channel that belong to a frame of its own type; minus infinity without any. */
  lastDataAt(channel: number): number {
    return this.#channel(channel).lastDataAt;
  }

  /** True while a frame of the channel is incomplete. */
  isMidFrame(channel: number): boolean {
    return this.#channel(channel).stream.pendingBytes > 0;
  }

  /** Tells every reader that the session is over. */
  close(): void {
    for (const { readers } of this.#channels.values()) for (const reader of readers) reader.onClosed?.();
  }

  #channel(channel: number): ReceivingChannel {
    let receiving = this.#channels.get(channel);
    if (receiving === undefined) {
      const stream = new FrameStream({
        onFrame: (frame) => this.#dispatch(channel, frame),
        onSkipped: (bytes) => this.#options.onSkipped(channel, bytes),
      });
      receiving = { stream, readers: [], lastDataAt: Number.NEGATIVE_INFINITY };
      this.#channels.set(channel, receiving);
    }
    return receiving;
  }

  #dispatch(channel: number, frame: Frame): void {
    if (TYPE_OF_CHANNEL.get(channel) !== frame.type) {
      this.#log.debug('Message type not allowed on this channel', { channel, type: frame.type });
      return;
    }
    const receiving = this.#channel(channel);
    receiving.lastDataAt = this.#clock.now();
    for (const reader of receiving.readers) reader.onFrame(frame);
  }
}
