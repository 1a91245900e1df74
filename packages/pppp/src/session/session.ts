import type { Clock, Log, Timer } from '@towpath/core';
import { silentLog } from '@towpath/core';
import { type Endpoint, formatEndpoint, sameEndpoint } from '@towpath/net';
import type { StreamCipher } from '../cipher/stream-cipher.ts';
import { peekType } from '../codec/header.ts';
import { encodeMessage } from '../codec/message.ts';
import { MessageType } from '../codec/message-type.ts';
import { CHANNELS } from '../codec/session-messages.ts';
import { PpppError } from '../pppp-error.ts';
import type {
  CloseReason,
  PpppSession,
  SessionHandlers,
  SessionMode,
  SessionRole,
  SessionStats,
} from '../session-types.ts';
import { Announcement } from './announcement.ts';
import type { SessionCarrier } from './carrier.ts';
import { KeepAlive } from './keep-alive.ts';
import { EARLY_MS, type ResolvedSessionOptions, resolveSessionOptions, type SessionOptions } from './options.ts';
import { Receiver } from './receiver.ts';
import { Sender } from './sender.ts';

const ALIVE: Uint8Array = encodeMessage({ type: 'ALIVE' });
const ALIVE_ACK: Uint8Array = encodeMessage({ type: 'ALIVE_ACK' });
const CLOSE: Uint8Array = encodeMessage({ type: 'CLOSE' });

/** Copies of CLOSE and the time between them (spec §7.6). */
const CLOSE_COPIES = 3;
const CLOSE_SPACING_MS = 10;

/** What a session is made of. */
export interface SessionInit {
  role: SessionRole;
  /** Text form of the device's UID. */
  uid: string;
  carrier: SessionCarrier;
  clock: Clock;
  log?: Log;
  cipher?: StreamCipher;
  options?: SessionOptions;
  /** Called once, before the user's `onClose`. */
  onClosed?: (reason: CloseReason) => void;
}

/** A session over any carrier, from the moment that both sides are ready (spec §7). */
export class Session implements PpppSession {
  readonly role: SessionRole;
  readonly uid: string;
  readonly #carrier: SessionCarrier;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #cipher: StreamCipher | undefined;
  readonly #options: ResolvedSessionOptions;
  readonly #onClosed: ((reason: CloseReason) => void) | undefined;
  readonly #keepAlive: KeepAlive;
  readonly #announcement: Announcement;
  readonly #sender: Sender;
  readonly #receiver: Receiver;
  #handlers: SessionHandlers | undefined;
  #closed: CloseReason | undefined;
  #closing: Promise<void> | undefined;
  #timer: Timer | undefined;
  #timerAt: number = Number.POSITIVE_INFINITY;
  #bytesSent = 0;
  #bytesReceived = 0;
  #packetsSent = 0;
  #packetsReceived = 0;
  #rejected = 0;

  constructor(init: SessionInit) {
    this.role = init.role;
    this.uid = init.uid;
    this.#carrier = init.carrier;
    this.#clock = init.clock;
    this.#log = init.log ?? silentLog;
    this.#cipher = init.cipher;
    this.#options = resolveSessionOptions(init.options ?? {});
    this.#onClosed = init.onClosed;
    const now = this.#clock.now();
    this.#keepAlive = new KeepAlive(now, this.#options.aliveIntervalMs, this.#options.aliveLimit);
    this.#announcement = new Announcement(init.role, init.uid);
    this.#sender = new Sender(this.#options, this);
    this.#receiver = new Receiver(this.#options, this);
    this.#schedule(now);
  }

  get mode(): SessionMode {
    return this.#carrier.mode;
  }

  get local(): Endpoint {
    return this.#carrier.local;
  }

  get peer(): Endpoint {
    return this.#carrier.peer;
  }

  get closed(): CloseReason | undefined {
    return this.#closed;
  }

  get stats(): SessionStats {
    return {
      rttMs: this.#sender.rttMs,
      minRttMs: this.#sender.minRttMs,
      bytesSent: this.#bytesSent,
      bytesReceived: this.#bytesReceived,
      packetsSent: this.#packetsSent,
      packetsReceived: this.#packetsReceived,
      retransmissions: this.#sender.retransmissions,
      duplicatesReceived: this.#receiver.duplicates,
      inFlight: this.#sender.inFlight,
      rejected: this.#rejected,
      lastReceivedAt: this.#keepAlive.lastReceivedAt,
    };
  }

  /** True once the peer has sent anything that belongs to a session. */
  get peerSpoke(): boolean {
    return this.#announcement.heard;
  }

  /** Clock time of the last datagram from the peer. */
  get lastReceivedAt(): number {
    return this.#keepAlive.lastReceivedAt;
  }

  attach(handlers: SessionHandlers): void {
    this.#handlers = handlers;
    if (this.#closed === undefined) this.#receiver.attach();
    else handlers.onClose?.(this.#closed);
  }

  write(channel: number, data: Uint8Array): boolean {
    checkChannel(channel);
    if (this.#closed !== undefined) return false;
    if (data.length === 0) return this.#sender.hasRoom(channel);
    const now = this.#clock.now();
    this.#sender.write(channel, data);
    this.#sender.flush(now);
    this.#schedule(now);
    return this.#sender.hasRoom(channel);
  }

  bufferedBytes(channel: number): number {
    checkChannel(channel);
    return this.#closed === undefined ? this.#sender.bufferedBytes(channel) : 0;
  }

  setPaused(channel: number, paused: boolean): void {
    checkChannel(channel);
    if (this.#closed === undefined) this.#receiver.setPaused(channel, paused);
  }

  close(): Promise<void> {
    if (this.#closed === undefined) {
      this.#end('closed-locally', this.#sayClose());
    }
    return this.#closing!;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Ends the session without three copies of CLOSE: one at most, and the carrier is let go at once. */
  abandon(reason: CloseReason, sayClose: boolean): void {
    if (this.#closed !== undefined) return;
    if (sayClose) this.transmit(CLOSE);
    this.#end(reason, this.#carrier.close());
  }

  /** Takes a datagram as it came from the carrier; it may be changed (deciphered in place). */
  receive(datagram: Uint8Array, from: Endpoint): void {
    if (this.#closed !== undefined) return;
    if (!sameEndpoint(from, this.#carrier.peer)) {
      this.#rejected++;
      return;
    }
    this.receiveClear(this.#cipher === undefined ? datagram : this.#cipher.decipher(datagram, datagram));
  }

  /** Takes a deciphered datagram that is known to come from the peer. */
  receiveClear(datagram: Uint8Array): void {
    if (this.#closed !== undefined) return;
    const type = peekType(datagram);
    if (type < 0) {
      this.#rejected++;
      return;
    }
    const now = this.#clock.now();
    this.#packetsReceived++;
    this.#bytesReceived += datagram.length;
    this.#keepAlive.onReceived(now);
    if (type === MessageType.DRW) {
      this.#announcement.heard = true;
      if (!this.#receiver.onData(now, datagram)) this.#rejected++;
    } else if (type === MessageType.DRW_ACK) {
      this.#announcement.heard = true;
      this.#onAck(now, datagram);
    } else {
      this.#onControl(now, type);
    }
    if (this.#closed === undefined) this.#schedule(now);
  }

  /** Says that both sides are ready: the device's P2P_RDY, the client's ALIVE (spec §5.3). */
  announce(): void {
    if (this.#closed === undefined) this.transmit(this.#announcement.next(this.#clock.now()));
  }

  /** @internal for the halves of the session */
  transmit(datagram: Uint8Array): void {
    this.#packetsSent++;
    this.#bytesSent += datagram.length;
    this.#carrier.send(this.#cipher === undefined ? datagram : this.#cipher.encipher(datagram));
  }

  /** @internal */
  deliver(channel: number, data: Uint8Array): void {
    if (this.#closed === undefined) this.#handlers?.onData(channel, data);
  }

  /** @internal Until the client speaks, a device repeats P2P_RDY with every packet that it repeats (spec §5.3). */
  onRepeat(): void {
    if (this.role === 'device' && !this.#announcement.heard) this.announce();
  }

  /** @internal */
  onDrain(channel: number): void {
    this.#handlers?.onDrain?.(channel);
  }

  #onAck(now: number, datagram: Uint8Array): void {
    const outcome = this.#sender.onAck(now, datagram);
    if (outcome !== 'ok') {
      this.#rejected++;
      if (outcome === 'unknown-index' && this.#options.closeOnBadAck) {
        this.#log.info('closing: the peer acknowledged a packet that was never sent', this.#about());
        this.abandon('closed-locally', true);
        return;
      }
    }
    this.#sender.flush(now);
  }

  #onControl(now: number, type: number): void {
    switch (type) {
      case MessageType.ALIVE:
        this.#announcement.heard = true;
        this.transmit(ALIVE_ACK);
        if (this.role === 'device') this.#measure(now);
        break;
      case MessageType.ALIVE_ACK:
        this.#announcement.heard = true;
        if (this.role === 'client') this.#measure(now);
        break;
      case MessageType.PUNCH_PKT:
        if (this.role === 'device' && this.#announcement.answersKnock(now)) this.announce();
        break;
      case MessageType.P2P_RDY:
        if (this.role === 'client' || this.#announcement.answersKnock(now)) this.announce();
        break;
      case MessageType.P2P_RDY_ACK:
      case MessageType.CLOSE_ACK:
        break;
      case MessageType.CLOSE:
        this.#end('closed-by-peer', this.#carrier.close());
        break;
      default:
        this.#rejected++;
    }
  }

  /** The answer to {@link announce} is the first measure of the round trip. */
  #measure(now: number): void {
    if (this.#sender.rttMs !== undefined) return;
    const rttMs = this.#announcement.roundTripMs(now);
    if (rttMs !== undefined) this.#sender.sampleRoundTrip(now, rttMs);
  }

  #schedule(now: number): void {
    const deadline = Math.min(this.#keepAlive.deadline, this.#receiver.ackAt, this.#sender.deadline);
    if (this.#timerAt <= deadline + EARLY_MS) return;
    this.#timer?.cancel();
    this.#timerAt = deadline;
    this.#timer = this.#clock.timer(Math.max(0, deadline - now), this.#onTimer);
  }

  readonly #onTimer = (): void => {
    this.#timer = undefined;
    this.#timerAt = Number.POSITIVE_INFINITY;
    const now = this.#clock.now();
    const due = now + EARLY_MS;
    if (this.#receiver.ackAt <= due) this.#receiver.flush();
    if (this.#sender.deadline <= due) this.#sender.onTime(now);
    if (this.#closed !== undefined) return;
    const step = this.#keepAlive.step(now);
    if (step === 'send-alive') this.transmit(ALIVE);
    if (step === 'dead') {
      this.#log.info('the peer is silent: session given up', this.#about());
      this.abandon('timed-out', true);
      return;
    }
    this.#schedule(now);
  };

  async #sayClose(): Promise<void> {
    try {
      for (let copy = 1; copy <= CLOSE_COPIES; copy++) {
        if (copy > 1) await this.#clock.sleep(CLOSE_SPACING_MS);
        this.transmit(CLOSE);
      }
    } finally {
      await this.#carrier.close();
    }
  }

  #end(reason: CloseReason, closing: Promise<void>): void {
    this.#closed = reason;
    this.#closing = closing;
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#log.debug('session over', { ...this.#about(), reason });
    this.#onClosed?.(reason);
    this.#handlers?.onClose?.(reason);
  }

  #about(): Record<string, unknown> {
    return { uid: this.uid, peer: formatEndpoint(this.#carrier.peer), role: this.role };
  }
}

function checkChannel(channel: number): void {
  if (Number.isInteger(channel) && channel >= 0 && channel < CHANNELS) return;
  throw new PpppError(
    'bad-argument',
    `There is no channel ${channel}: a session has the channels 0 to ${CHANNELS - 1}.`,
  );
}
