import { AckBatch } from '../channel/ack-batch.ts';
import { ACK_BATCH } from '../channel/limits.ts';
import { perChannel } from '../channel/per-channel.ts';
import { ReceiveChannel } from '../channel/receive-channel.ts';
import { drwChannel, drwData, drwDataBytes, drwIndex } from '../codec/session-messages.ts';
import type { ResolvedSessionOptions } from './options.ts';

/**
 * How long acknowledgements wait while packets are missing: the sender repeats by them, and everything else waits for
 * that.
 */
const GAP_ACK_DELAY_MS = 2;

/**
 * A repeat after so long without any data comes from a sender that cannot go on: its window waits for this one packet.
 */
const STALL_MS = 5;

/**
 * Above this share of packets that came before, acknowledgements are being lost: each is then sent twice, a batch
 * apart.
 */
const LOSSY_SHARE = 0.04;

/** Packets over which that share is taken. */
const SHARE_OVER = 128;

/** What the receiver asks of its session. */
export interface ReceiverHost {
  transmit(datagram: Uint8Array): void;
  deliver(channel: number, data: Uint8Array): void;
}

/** The receiving half of a session: data in order to the user, acknowledgements in batches to the peer. */
export class Receiver {
  readonly #options: ResolvedSessionOptions;
  readonly #host: ReceiverHost;
  readonly #channels: (ReceiveChannel | undefined)[] = perChannel();
  readonly #paused: boolean[] = [];
  readonly #batches: (AckBatch | undefined)[] = perChannel();
  /** Nothing is delivered before the user has taken the session over. */
  #attached = false;
  #ackAt: number = Number.POSITIVE_INFINITY;
  /** Clock time of the last data packet. */
  #dataAt: number = Number.NEGATIVE_INFINITY;
  duplicates = 0;
  #duplicateShare = 0;
  /** The last acknowledgement, to be sent once more with the next. */
  #again: Uint8Array | undefined;

  constructor(host: ReceiverHost, options: ResolvedSessionOptions) {
    this.#options = options;
    this.#host = host;
  }

  /** Clock time by which {@link flush} is to be called. */
  get ackAt(): number {
    return this.#ackAt;
  }

  /** Takes a DRW datagram (docs/protocol/pppp.md, "Data packets", "Receiving"); false when it is malformed. */
  onData(now: number, datagram: Uint8Array): boolean {
    if (drwDataBytes(datagram) < 0) return false;
    const number = drwChannel(datagram);
    const index = drwIndex(datagram);
    let channel = this.#channels[number];
    if (channel === undefined) {
      channel = new ReceiveChannel(this.#options.receiveBudgetBytes, this.#holds(number));
      this.#channels[number] = channel;
    }
    const data = drwData(datagram);
    const arrival = channel.accept(index, data);
    if (arrival === 'refused') return true;
    this.#count(arrival === 'duplicate');
    this.#acknowledge(now, number, index, channel.waiting);
    if (arrival === 'duplicate' && now - this.#dataAt >= STALL_MS) this.#acknowledgeNeighbours(number, index, channel);
    this.#dataAt = now;
    if (arrival === 'in-order') {
      this.#host.deliver(number, data);
      this.#drain(number, channel);
    }
    return true;
  }

  /** Sends the acknowledgements that wait. */
  flush(): void {
    if (this.#ackAt === Number.POSITIVE_INFINITY) return;
    this.#ackAt = Number.POSITIVE_INFINITY;
    for (const batch of this.#batches) {
      if (batch !== undefined && batch.count > 0) this.#send(batch);
    }
  }

  /** Delivers what came before there was a user. */
  attach(): void {
    if (this.#attached) return;
    this.#attached = true;
    for (const [number, channel] of this.#channels.entries()) this.#resume(number, channel);
  }

  setPaused(number: number, paused: boolean): void {
    this.#paused[number] = paused;
    this.#resume(number, this.#channels[number]);
  }

  #resume(number: number, channel: ReceiveChannel | undefined): void {
    if (channel === undefined) return;
    channel.paused = this.#holds(number);
    this.#drain(number, channel);
  }

  #holds(number: number): boolean {
    return !this.#attached || this.#paused[number] === true;
  }

  #drain(number: number, channel: ReceiveChannel): void {
    for (let data = channel.next(); data !== undefined; data = channel.next()) this.#host.deliver(number, data);
  }

  #count(duplicate: boolean): void {
    if (duplicate) this.duplicates++;
    this.#duplicateShare += ((duplicate ? 1 : 0) - this.#duplicateShare) / SHARE_OVER;
  }

  #send(batch: AckBatch): void {
    const datagram = batch.take();
    if (this.#again !== undefined) this.#host.transmit(this.#again);
    this.#again = this.#duplicateShare > LOSSY_SHARE ? datagram : undefined;
    this.#host.transmit(datagram);
  }

  /**
   * A repeated packet was acknowledged in vain, and with it those of its batch: the batch is filled up with the packets
   * that follow it and sent at once, or a camera, which repeats one packet at a time, would repeat them one by one.
   */
  #acknowledgeNeighbours(number: number, index: number, channel: ReceiveChannel): void {
    const batch = this.#batches[number]!;
    for (let next = index + 1; batch.count > 0 && next < index + ACK_BATCH; next++) {
      if (!channel.has(next & 0xffff)) continue;
      if (batch.add(next & 0xffff)) this.#send(batch);
    }
  }

  #acknowledge(now: number, number: number, index: number, gap: boolean): void {
    let batch = this.#batches[number];
    if (batch === undefined) {
      batch = new AckBatch(number);
      this.#batches[number] = batch;
    }
    if (batch.add(index)) this.#send(batch);
    else this.#ackAt = Math.min(this.#ackAt, now + (gap ? GAP_ACK_DELAY_MS : this.#options.ackDelayMs));
  }
}
