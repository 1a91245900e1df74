import type { Timer } from '@towpath/core';
import type { NetError, NetErrorCode } from '../net-error.ts';
import type { Endpoint } from '../endpoint.ts';
import type { TcpConnection, TcpHandlers } from '../network.ts';
import type { Fabric } from './fabric.ts';
import { Packet, type PacketOrigin, type TcpSegment } from './packet.ts';
import { TcpSender } from './tcp-sender.ts';
import { type HostAddressing, netError } from './udp-stack.ts';

/** `write` returns false from here on: the size of Node's own stream buffers. */
const HIGH_WATER_BYTES = 64 * 1024;
/** Retransmissions before a connection counts as dead: about 100 s from Linux's least timeout. */
const MAX_RETRIES = 8;
/** Repetitions of the first packet: 63 s in all. */
const MAX_HANDSHAKE_RETRIES = 5;
const HANDSHAKE_TIMEOUT_MS = 1_000;
/** How long a closed side waits for the other to close too: Linux's FIN timeout. */
const CLOSE_WAIT_MS = 60_000;

const NOTHING = new Uint8Array(0);

/** What a connection asks of the stack that holds it. */
export interface ConnectionOwner {
  /** The connection is gone: its ports are free. */
  released(connection: SimulatedTcpConnection): void;
  /** The handshake is complete. */
  opened(connection: SimulatedTcpConnection): void;
  /** The handshake came to nothing. */
  failed(connection: SimulatedTcpConnection, error: NetError): void;
}

/** One end of a simulated TCP connection. */
export class SimulatedTcpConnection implements TcpConnection, PacketOrigin {
  readonly local: Endpoint;
  readonly remote: Endpoint;
  readonly #fabric: Fabric;
  readonly #host: HostAddressing;
  readonly #owner: ConnectionOwner;
  readonly #greeting: 'syn' | 'syn-ack';
  readonly #tls: boolean;
  readonly #sender: TcpSender;
  readonly #early = new Map<number, { payload: Uint8Array; end: boolean }>();
  readonly #closed: Promise<void>;
  #resolveClosed: () => void = () => {};
  #handlers: TcpHandlers | undefined;
  #state: 'greeting' | 'open' | 'closed' = 'greeting';
  #expected = 0;
  #peerEnded = false;
  /** We closed it: nothing more is reported but the end. */
  #closing = false;
  #drainOwed = false;
  #paused = false;
  /** Arrived in order while paused. */
  readonly #held: Uint8Array[] = [];
  #retries = 0;
  #timer: Timer | undefined;
  #deadline = 0;

  constructor(
    fabric: Fabric,
    host: HostAddressing,
    owner: ConnectionOwner,
    ends: { local: Endpoint; remote: Endpoint },
    greeting: 'syn' | 'syn-ack',
    tls: boolean,
  ) {
    this.#fabric = fabric;
    this.#host = host;
    this.#owner = owner;
    this.local = ends.local;
    this.remote = ends.remote;
    this.#greeting = greeting;
    this.#tls = tls;
    this.#sender = new TcpSender((sequence, payload, end) => this.#transmit('data', sequence, payload, end));
    this.#closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
  }

  /** Sends the first packet. */
  greet(): void {
    this.#transmit(this.#greeting, 0, NOTHING, false);
    this.#wait(HANDSHAKE_TIMEOUT_MS * 2 ** this.#retries);
  }

  attach(handlers: TcpHandlers): void {
    this.#handlers = handlers;
  }

  get bufferedBytes(): number {
    return this.#sender.queuedBytes;
  }

  write(data: Uint8Array): boolean {
    if (this.#state !== 'open' || this.#sender.ended) return false;
    this.#sender.queue(data);
    this.#pump();
    if (this.#sender.queuedBytes < HIGH_WATER_BYTES) return true;
    this.#drainOwed = true;
    return false;
  }

  /** The network takes what comes while paused; simulated senders are not slowed down by it. */
  setPaused(paused: boolean): void {
    this.#paused = paused;
    while (!this.#paused && this.#held.length > 0) this.#deliver(this.#held.shift()!);
  }

  close(): Promise<void> {
    if (this.#state !== 'closed' && !this.#closing) {
      this.#closing = true;
      this.#sender.end();
      this.#pump();
    }
    return this.#closed;
  }

  destroy(): void {
    if (this.#state === 'closed') return;
    this.#transmit('reset', this.#sender.next, NOTHING, false);
    this.#finish();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  bounced(code: 'unreachable' | 'connection-refused'): void {
    // On an open connection this is a passing error (RFC 1122 §4.2.3.9): retransmission decides.
    if (this.#state === 'greeting') this.#fail(code);
  }

  receive(segment: TcpSegment, payload: Uint8Array): void {
    if (this.#state === 'closed') return;
    if (segment.kind === 'reset') this.#reset(segment);
    else if (this.#state === 'greeting') this.#greeted(segment, payload);
    else if (segment.kind === 'data') this.#data(segment, payload);
    // A repeated greeting: the other side has not heard our answer.
    else this.#acknowledge();
  }

  #greeted(segment: TcpSegment, payload: Uint8Array): void {
    if (this.#greeting === 'syn' && segment.kind === 'data') {
      // The other side still holds an older connection of this port: make it forget.
      this.#transmit('reset', segment.acknowledged, NOTHING, false);
      return;
    }
    if (this.#greeting === 'syn-ack' && segment.kind === 'syn') {
      this.#transmit('syn-ack', 0, NOTHING, false);
      return;
    }
    this.#state = 'open';
    this.#retries = 0;
    this.#stopTimer();
    if (this.#greeting === 'syn') this.#acknowledge();
    this.#owner.opened(this);
    if (segment.kind === 'data') this.receive(segment, payload);
  }

  #data(segment: TcpSegment, payload: Uint8Array): void {
    const now = this.#fabric.clock.now();
    const carries = payload.length > 0 || segment.end;
    if (this.#sender.acknowledge(segment.acknowledged, now, !carries)) {
      this.#retries = 0;
      this.#deadline = now + this.#sender.timeoutMs;
    }
    if (carries) {
      if (segment.sequence >= this.#expected) this.#early.set(segment.sequence, { payload, end: segment.end });
      this.#takeInOrder();
    }
    if (!this.#isOpen()) return;
    if (this.#peerEnded) this.#sender.end();
    const sentBefore = this.#sender.next;
    this.#pump();
    // What was sent now carries the acknowledgement.
    if (carries && this.#sender.next === sentBefore) this.#acknowledge();
    this.#settleEnd();
  }

  #takeInOrder(): void {
    for (let next = this.#early.get(this.#expected); next; next = this.#early.get(this.#expected)) {
      this.#early.delete(this.#expected);
      this.#expected += next.payload.length + (next.end ? 1 : 0);
      this.#peerEnded ||= next.end;
      if (next.payload.length > 0) {
        if (this.#paused) this.#held.push(next.payload);
        else this.#deliver(next.payload);
      }
      if (!this.#isOpen()) return;
    }
  }

  #deliver(payload: Uint8Array): void {
    if (!this.#closing) this.#handlers?.onData(payload);
  }

  /** A handler may have closed it meanwhile. */
  #isOpen(): boolean {
    return this.#state === 'open';
  }

  #settleEnd(): void {
    if (!this.#sender.finished) return;
    if (this.#peerEnded) this.#finish();
    else this.#wait(CLOSE_WAIT_MS);
  }

  #pump(): void {
    if (this.#state !== 'open') return;
    this.#sender.flush(this.#fabric.clock.now());
    if (this.#sender.waiting && !this.#timer) this.#wait(this.#sender.timeoutMs);
    if (!this.#drainOwed || this.#sender.queuedBytes > 0) return;
    this.#drainOwed = false;
    queueMicrotask(() => {
      if (!this.#closing && this.#isOpen()) this.#handlers?.onDrain?.();
    });
  }

  #acknowledge(): void {
    this.#transmit('data', this.#sender.next, NOTHING, false);
  }

  #transmit(kind: TcpSegment['kind'], sequence: number, payload: Uint8Array, end: boolean): void {
    const segment = { kind, sequence, acknowledged: this.#expected, end, tls: this.#tls };
    const id = this.#fabric.nextPacketId();
    this.#host.send(new Packet(id, this.local, this.remote, payload, this, this.#fabric.clock.now(), segment));
  }

  /** One timer for everything; a deadline that moves on leaves it running. */
  #wait(delayMs: number): void {
    this.#stopTimer();
    this.#deadline = this.#fabric.clock.now() + delayMs;
    this.#timer = this.#fabric.clock.timer(delayMs, this.#due);
  }

  readonly #due = (): void => {
    const leftMs = this.#deadline - this.#fabric.clock.now();
    this.#timer = undefined;
    if (leftMs > 0) {
      this.#timer = this.#fabric.clock.timer(leftMs, this.#due);
    } else if (this.#state === 'greeting') {
      if (this.#retries++ < MAX_HANDSHAKE_RETRIES) this.greet();
      else this.#fail('timed-out');
    } else if (this.#sender.waiting) {
      if (this.#retries++ < MAX_RETRIES) this.#resend();
      else this.#fail('timed-out');
    } else if (this.#sender.finished) {
      this.#finish();
    }
  };

  #resend(): void {
    this.#sender.timedOut(this.#fabric.clock.now());
    this.#wait(this.#sender.timeoutMs);
  }

  #stopTimer(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #reset(segment: TcpSegment): void {
    // The other side has closed, and only our last packet came too late.
    if (this.#peerEnded && this.#sender.endSent) this.#finish();
    else if (this.#state === 'open') this.#fail('connection-reset');
    else this.#fail(segment.tls ? 'tls-failed' : 'connection-refused');
  }

  #fail(code: NetErrorCode): void {
    const error = netError(code, this.#state === 'open' ? 'keep open TCP' : 'connect to TCP', this.remote);
    if (this.#state === 'greeting') this.#owner.failed(this, error);
    this.#finish(error);
  }

  #finish(error?: NetError): void {
    if (this.#state === 'closed') return;
    const wasOpen = this.#state === 'open';
    const reported = this.#closing ? undefined : error;
    this.#state = 'closed';
    this.#stopTimer();
    this.#early.clear();
    this.#owner.released(this);
    queueMicrotask(() => {
      // What came before the end is handed out before it.
      if (reported === undefined) this.setPaused(false);
      if (wasOpen) this.#handlers?.onClose?.(reported);
      this.#resolveClosed();
    });
  }
}
