import { perChannel } from '../channel/per-channel.ts';
import { type Recovery, SendChannel } from '../channel/send-channel.ts';
import { CHANNELS, drwAckCount, drwAckIndex, drwChannel, isImpossibleDrwAck } from '../codec/session-messages.ts';
import { Congestion } from './congestion.ts';
import { EARLY_MS, type ResolvedSessionOptions } from './options.ts';
import { RetransmissionTimer } from './retransmission-timer.ts';

const ADAPTIVE: Recovery = { newerAcks: 3, timeoutOf: 'earliest-sent' };
const AS_DEVICE: Recovery = { newerAcks: 0, timeoutOf: 'lowest-index' };

/** Packets of a channel that a first time-out repeats, and further ones without any acknowledgement in between. */
const FIRST_TIMEOUT_PACKETS = 16;
const LATER_TIMEOUT_PACKETS = 4;

/** On a path with much loss, a packet that was lost this often is sent twice, because all later ones wait for it. */
const TWICE_FROM_SENDS = 3;
const ALIVE_PATH_MS = 100;

/**
 * The cameras' first interval between repeats, and the smallest seen in captures (docs/protocol/pppp.md, "Sending").
 */
const DEVICE_FIRST_INTERVAL_MS = 40;
const DEVICE_MIN_INTERVAL_MS = 10;

/** What the sender asks of its session. */
export interface SenderHost {
  transmit(datagram: Uint8Array): void;
  /** Before a packet is sent again. */
  onRepeat(): void;
  onDrain(channel: number): void;
}

/** What became of an acknowledgement packet. */
export type AckOutcome = 'ok' | 'malformed' | 'unknown-index' | 'impossible';

/** The sending half of a session: its channels share one round-trip estimate, one window and one timer. */
export class Sender {
  readonly #options: ResolvedSessionOptions;
  readonly #host: SenderHost;
  readonly #recovery: Recovery;
  readonly #channels: (SendChannel | undefined)[] = perChannel();
  readonly #waitingForDrain: boolean[] = [];
  readonly #timer = new RetransmissionTimer();
  readonly #congestion: Congestion | undefined;
  #order = 0;
  #turn = 0;
  #inFlight = 0;
  /** Smallest round trip that an acknowledgement has shown, ms: the cameras do not count the handshake's. */
  #minAckMs: number | undefined;
  #progressAt = Number.NEGATIVE_INFINITY;
  /** Clock time before which nothing may leave; 0 when no packet waits for it. */
  #pausedUntil = 0;
  retransmissions = 0;

  constructor(host: SenderHost, options: ResolvedSessionOptions) {
    this.#options = options;
    this.#host = host;
    this.#recovery = options.sending === 'adaptive' ? ADAPTIVE : AS_DEVICE;
    this.#congestion = options.sending === 'adaptive' ? new Congestion(options.maxWindow) : undefined;
  }

  get rttMs(): number | undefined {
    return this.#timer.smoothedMs;
  }

  get minRttMs(): number | undefined {
    return this.#timer.minMs;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  /** Takes a round trip measured elsewhere (a keep-alive, the handshake). */
  sampleRoundTrip(now: number, rttMs: number): void {
    this.#timer.sample(rttMs);
    this.#congestion?.onRoundTrip(now, rttMs, this.#timer.smoothedMs!);
  }

  write(channel: number, data: Uint8Array): void {
    let sending = this.#channels[channel];
    if (sending === undefined) {
      sending = new SendChannel(channel, this.#recovery);
      this.#channels[channel] = sending;
    }
    sending.enqueue(data);
  }

  /** False when the channel's buffer is full; the host is notified when there is room again. */
  hasRoom(channel: number): boolean {
    const full = (this.#channels[channel]?.waitingBytes ?? 0) > this.#options.highWaterBytes;
    if (full) this.#waitingForDrain[channel] = true;
    return !full;
  }

  bufferedBytes(channel: number): number {
    return this.#channels[channel]?.bufferedBytes ?? 0;
  }

  /**
   * Takes a DRW_ACK datagram with any number of indices that fits it: some clients list all that they ever got
   * (docs/protocol/pppp.md, "Acknowledgement").
   */
  onAck(now: number, datagram: Uint8Array): AckOutcome {
    const count = drwAckCount(datagram);
    if (count <= 0) return isImpossibleDrwAck(datagram) ? 'impossible' : 'malformed';
    const channel = this.#channels[drwChannel(datagram)];
    if (channel === undefined) return 'unknown-index';
    const minRttMs = this.#timer.minMs ?? 0;
    const maxRttMs = this.#timer.timeoutMs;
    const before = channel.inFlight;
    let acknowledged = 0;
    let unknown = false;
    let repeated = false;
    let rttMs = -1;
    let slowMs = -1;
    let order = 0;
    for (let entry = 0; entry < count; entry++) {
      const outcome = channel.acknowledge(drwAckIndex(datagram, entry), now, minRttMs, maxRttMs);
      if (outcome === 'unknown') unknown = true;
      else if (outcome === 'repeated') repeated = true;
      if (outcome !== 'new') continue;
      const segment = channel.lastAcknowledged!;
      acknowledged++;
      if (segment.order > order) order = segment.order;
      // Karn's rule, but for the first measure: a path slower than the first time-out would never give one.
      if (segment.sends === 1) rttMs = now - segment.sentAt;
      else if (this.#timer.smoothedMs === undefined) slowMs = now - segment.firstSentAt;
    }
    if ((acknowledged > 0 || repeated) && this.#timer.onAck(acknowledged > 0)) this.#congestion?.onNeedlessRepeats();
    if (acknowledged > 0) this.#onProgress(now, channel, acknowledged, order, rttMs >= 0 ? rttMs : slowMs);
    this.#inFlight += channel.inFlight - before;
    return unknown ? 'unknown-index' : 'ok';
  }

  #onProgress(now: number, channel: SendChannel, acknowledged: number, order: number, rttMs: number): void {
    this.#progressAt = now;
    if (rttMs >= 0) {
      this.#minAckMs = Math.min(this.#minAckMs ?? rttMs, rttMs);
      this.sampleRoundTrip(now, rttMs);
    }
    const lost = channel.findLost();
    this.#congestion?.onLost(lost);
    this.#congestion?.onAcknowledged(now, acknowledged, order, this.#order);
  }

  /** Sends what window and pace allow, the channels taking turns. */
  flush(now: number): void {
    const congestion = this.#congestion;
    const window = congestion === undefined ? Number.POSITIVE_INFINITY : congestion.window;
    let allowed = window - this.#inFlight;
    let paced = false;
    if (congestion !== undefined && allowed > 0) {
      const burst = congestion.burst(now);
      paced = burst < allowed;
      if (paced) allowed = burst;
    }
    let sent = 0;
    let idle = 0;
    while (sent < allowed && idle < CHANNELS) {
      const channel = this.#channels[this.#turn];
      const number = this.#turn;
      this.#turn = (this.#turn + 1) % CHANNELS;
      if (channel === undefined || !channel.ready(this.#options.maxWindow)) {
        idle++;
        continue;
      }
      idle = 0;
      this.#send(channel, now);
      sent++;
      this.#drain(number, channel);
    }
    congestion?.onSent(sent);
    const more = idle < CHANNELS && paced;
    this.#pausedUntil = more ? now + congestion!.pauseMs : 0;
    if (idle >= CHANNELS) congestion?.onStarved();
  }

  /** When {@link onTime} is to be called, Infinity when nothing is under way. */
  get deadline(): number {
    let deadline = this.#pausedUntil === 0 ? Number.POSITIVE_INFINITY : this.#pausedUntil;
    if (this.#inFlight === 0) return deadline;
    const timeoutMs = this.#timeoutMs;
    for (const channel of this.#channels) {
      if (channel !== undefined) deadline = Math.min(deadline, channel.dueAt(timeoutMs));
    }
    return deadline;
  }

  /** Repeats what is overdue and sends what was held back. */
  onTime(now: number): void {
    if (this.#inFlight > 0) this.#timeOut(now);
    this.flush(now);
  }

  #timeOut(now: number): void {
    const timeoutMs = this.#timeoutMs - EARLY_MS;
    const limit = this.#timeoutPackets;
    let lost = 0;
    for (const channel of this.#channels) {
      if (channel !== undefined) lost += channel.timeOut(now, timeoutMs, limit);
    }
    if (lost === 0) return;
    this.#inFlight -= lost;
    this.#timer.onTimeout();
  }

  /** How many packets of a channel a time-out repeats; but one as long as nothing is known of the path. */
  get #timeoutPackets(): number {
    if (this.#congestion === undefined || this.#timer.smoothedMs === undefined) return 1;
    return this.#timer.timeouts === 0 ? FIRST_TIMEOUT_PACKETS : LATER_TIMEOUT_PACKETS;
  }

  get #timeoutMs(): number {
    if (this.#congestion !== undefined) return this.#timer.timeoutMs;
    const minMs = this.#minAckMs;
    return minMs === undefined ? DEVICE_FIRST_INTERVAL_MS : Math.max(DEVICE_MIN_INTERVAL_MS, minMs + 1);
  }

  #send(channel: SendChannel, now: number): void {
    const segment = channel.take(now, ++this.#order);
    this.#inFlight++;
    if (segment.sends > 1) {
      this.retransmissions++;
      this.#host.onRepeat();
    }
    this.#host.transmit(segment.datagram);
    if (segment.sends < TWICE_FROM_SENDS || this.#congestion === undefined) return;
    if (now - this.#progressAt < ALIVE_PATH_MS) this.#host.transmit(segment.datagram);
  }

  #drain(number: number, channel: SendChannel): void {
    if (!this.#waitingForDrain[number] || channel.waitingBytes > this.#options.highWaterBytes / 4) return;
    this.#waitingForDrain[number] = false;
    this.#host.onDrain(number);
  }
}
