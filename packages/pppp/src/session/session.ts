import type { Clock, Log, Timer, PathKind } from '@towpath/core';
import { silentLog } from '@towpath/core';
import { type Endpoint, formatEndpoint, sameEndpoint } from '@towpath/net';
import type { StreamCipher } from '../cipher/stream-cipher.ts';
import { peekType } from '../codec/header.ts';
import { encodeMessage } from '../codec/message.ts';
import { MessageType } from '../codec/message-type.ts';
import { CHANNELS } from '../codec/session-messages.ts';
import { PpppError } from '../pppp-error.ts';
import type { CloseReason, PpppSession, SessionHandlers, SessionRole, SessionStats } from '../session-types.ts';
import { ReadyHandshake } from './ready-handshake.ts';
import type { SessionCarrier } from './carrier.ts';
import { KeepAlive } from './keep-alive.ts';
import { EARLY_MS, type ResolvedSessionOptions, resolveSessionOptions, type SessionOptions } from './options.ts';
import { Receiver, type ReceiverHost } from './receiver.ts';
import { Sender, type SenderHost } from './sender.ts';

const ALIVE: Uint8Array = encodeMessage({ type: 'ALIVE' });
const ALIVE_ACK: Uint8Array = encodeMessage({ type: 'ALIVE_ACK' });
const CLOSE: Uint8Array = encodeMessage({ type: 'CLOSE' });

/** Time between two copies of CLOSE (docs/protocol/pppp.md, "Closing"). */
const CLOSE_SPACING_MS = 10;

/** What a session is made of. */
export interface SessionComponents {
  carrier: SessionCarrier;
  clock: Clock;
  log?: Log | undefined;
}

/** Whose session it is. */
export interface SessionInit {
  role: SessionRole;
  /** Text form of the device's UID. */
  uid: string;
  cipher?: StreamCipher | undefined;
  options?: SessionOptions | undefined;
  /** Called once, before the user's `onClose`. */
  onClosed?: ((reason: CloseReason) => void) | undefined;
}

/** A session over any carrier, from the moment that both sides are ready (docs/protocol/pppp.md, "Data packets"). */
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
  readonly #readyHandshake: ReadyHandshake;
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

  constructor({ carrier, clock, log = silentLog }: SessionComponents, init: SessionInit) {
    this.role = init.role;
    this.uid = init.uid;
    this.#carrier = carrier;
    this.#clock = clock;
    this.#log = log;
    this.#cipher = init.cipher;
    this.#options = resolveSessionOptions(init.options ?? {});
    this.#onClosed = init.onClosed;
    const now = this.#clock.now();
    this.#keepAlive = new KeepAlive(now, this.#options.keepAlive);
    this.#readyHandshake = new ReadyHandshake(init.role, init.uid);
    const host: SenderHost & ReceiverHost = {
      transmit: (datagram) => this.#transmit(datagram),
      deliver: (channel, data) => this.#deliver(channel, data),
      onRepeat: () => this.#onRepeat(),
      onDrain: (channel) => this.#handlers?.onDrain?.(channel),
    };
    this.#sender = new Sender(host, this.#options);
    this.#receiver = new Receiver(host, this.#options);
    this.#schedule(now);
  }

  get pathKind(): PathKind {
    return this.#carrier.pathKind;
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
    return this.#readyHandshake.heard;
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
    if (sayClose) this.#transmit(CLOSE);
    this.#end(reason, this.#carrier.close());
  }

  /** Takes a datagram as it came from the carrier; it is deciphered in place. */
  receive(datagram: Uint8Array, from: Endpoint): void {
    if (this.#closed !== undefined) return;
    if (!sameEndpoint(from, this.#carrier.peer)) {
      this.#rejected++;
      return;
    }
    const clear = this.#cipher === undefined ? datagram : this.#cipher.decipher(datagram, datagram);
    this.receiveClear(peekType(clear), clear);
  }

  /**
   * Takes a deciphered datagram that is known to come from the peer.
   * @param type what {@link peekType} says of it
   */
  receiveClear(type: number, datagram: Uint8Array): void {
    if (this.#closed !== undefined) return;
    if (type < 0) {
      this.#rejected++;
      return;
    }
    const isData = type === MessageType.DRW || type === MessageType.DRW_ACK;
    if (!isData && this.#carrier.intercepts?.(type) === true) return;
    const now = this.#clock.now();
    this.#packetsReceived++;
    this.#bytesReceived += datagram.length;
    this.#keepAlive.onReceived(now);
    if (type === MessageType.DRW) {
      this.#readyHandshake.heard = true;
      if (!this.#receiver.onData(now, datagram)) this.#rejected++;
    } else if (type === MessageType.DRW_ACK) {
      this.#readyHandshake.heard = true;
      this.#onAck(now, datagram);
    } else {
      this.#onControl(now, type);
    }
    if (this.#closed === undefined) this.#schedule(now);
  }

  /**
   * Says that both sides are ready: the device's P2P_RDY, the client's ALIVE (docs/protocol/pppp.md, "Punch and
   * ready").
   */
  announce(): void {
    if (this.#closed === undefined) this.#transmit(this.#readyHandshake.next(this.#clock.now()));
  }

  #transmit(datagram: Uint8Array): void {
    this.#packetsSent++;
    this.#bytesSent += datagram.length;
    this.#carrier.send(this.#cipher === undefined ? datagram : this.#cipher.encipher(datagram));
  }

  #deliver(channel: number, data: Uint8Array): void {
    if (this.#closed === undefined) this.#handlers?.onData(channel, data);
  }

  /**
   * Until the client speaks, a device repeats P2P_RDY with every packet that it repeats (docs/protocol/pppp.md, "Punch and
   * ready").
   */
  #onRepeat(): void {
    if (this.role === 'device' && !this.#readyHandshake.heard) this.announce();
  }

  #onAck(now: number, datagram: Uint8Array): void {
    const outcome = this.#sender.onAck(now, datagram);
    if (outcome !== 'ok') {
      this.#rejected++;
      if (outcome !== 'malformed' && this.#options.closeOnBadAck) {
        this.#log.info('closing: the peer acknowledged what was never sent', this.#about());
        this.abandon('closed-locally', true);
        return;
      }
    }
    this.#sender.flush(now);
  }

  #onControl(now: number, type: number): void {
    switch (type) {
      case MessageType.ALIVE:
        this.#readyHandshake.heard = true;
        this.#transmit(ALIVE_ACK);
        if (this.role === 'device') this.#measure(now);
        break;
      case MessageType.ALIVE_ACK:
        this.#readyHandshake.heard = true;
        if (this.role === 'client') this.#measure(now);
        break;
      case MessageType.PUNCH_PKT:
        if (this.role === 'device' && this.#readyHandshake.answersPunch(now)) this.announce();
        break;
      case MessageType.P2P_RDY:
        if (this.role === 'client' || this.#readyHandshake.answersPunch(now)) this.announce();
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
    const rttMs = this.#readyHandshake.roundTripMs(now);
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
    if (step === 'send-alive') this.#transmit(ALIVE);
    if (step === 'dead') {
      this.#log.info('the peer is silent: session given up', this.#about());
      this.abandon('timed-out', true);
      return;
    }
    this.#schedule(now);
  };

  async #sayClose(): Promise<void> {
    try {
      for (let copy = 1; copy <= this.#options.closeCopies; copy++) {
        if (copy > 1) await this.#clock.sleep(CLOSE_SPACING_MS);
        this.#transmit(CLOSE);
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
