import type { Clock, Timer } from '@towpath/core';
import type { Endpoint, Network, UdpSocket } from '@towpath/net';
import type { PeerPath, SendDatagram } from '../peer-path.ts';

/** Counters of one hop since it was opened. */
export interface HopCounters {
  /** Datagrams from WireGuard that were sent on a path. */
  readonly sentPackets: number;
  readonly sentBytes: number;
  /** Datagrams from a path that were handed to WireGuard. */
  readonly receivedPackets: number;
  readonly receivedBytes: number;
  /** Datagrams from WireGuard that waited for a path for too long, or were too many. */
  readonly droppedPackets: number;
}

export interface HopOptions {
  /** Where WireGuard listens on this machine: 127.0.0.1 and its port. */
  wireGuard: Endpoint;
  /**
   * True on one of the two ends of each pair: its handshake initiations leave a moment later, and not at all when one of the
   * peer arrives meanwhile. Two initiations that cross cancel each other out, and WireGuard repeats them after 5 s only.
   * @default false
   */
  yieldsHandshake?: boolean | undefined;
}

/** Bursts of a fast transfer arrive in one turn of the event loop. */
const SOCKET_BUFFER_BYTES = 4 * 1024 * 1024;
/** Datagrams that are kept while there is no path: a handshake, and what a program sends meanwhile. */
const MAX_WAITING = 16;
/** WireGuard repeats a handshake after 5 s; what is older is not worth sending. */
const MAX_WAIT_MS = 5_000;
/** Pairs without a path that one initiation is sent on: the peer names as many as it likes. */
const MAX_UNVERIFIED = 4;
/** Longer than one end's path is usually verified before the other's. */
const YIELD_MS = 300;

interface Waiting {
  readonly data: Uint8Array;
  readonly untilMs: number;
  /** How often it was sent on a pair that was not verified. */
  sent: number;
}

/**
 * The data plane that works everywhere: WireGuard sends a peer's datagrams to a loopback port, and this copies them
 * between that port and the peer's path.
 */
export class Hop implements AsyncDisposable {
  readonly #clock: Clock;
  readonly #options: HopOptions;
  #waiting: Waiting[] = [];
  #socket!: UdpSocket;
  #path: PeerPath | undefined;
  #second: PeerPath | undefined;
  /** Sends the response to the peer's initiation, which came before there was a path. */
  #answer: SendDatagram | undefined;
  /** Sends the initiation that is held back. */
  #yielding: Timer | undefined;
  #sentPackets = 0;
  #sentBytes = 0;
  #receivedPackets = 0;
  #receivedBytes = 0;
  #droppedPackets = 0;

  private constructor(components: { clock: Clock }, options: HopOptions) {
    this.#clock = components.clock;
    this.#options = options;
  }

  /** Opens the loopback port of one peer. @throws NetError as {@link Network.bindUdp}. */
  static async open(components: { network: Network; clock: Clock }, options: HopOptions): Promise<Hop> {
    const hop = new Hop(components, options);
    hop.#socket = await components.network.bindUdp({
      address: options.wireGuard.address,
      // A connected socket and no handler of errors: both save time for each datagram. WireGuard that restarts refuses
      // datagrams for a moment; the peer repeats what matters.
      remote: options.wireGuard,
      receiveBufferBytes: SOCKET_BUFFER_BYTES,
      sendBufferBytes: SOCKET_BUFFER_BYTES,
      onMessage: (data, from) => hop.#fromWireGuard(data, from),
    });
    return hop;
  }

  /** Where WireGuard sends the peer's datagrams while the hop carries them. */
  get endpoint(): Endpoint {
    return this.#socket.local;
  }

  get counters(): HopCounters {
    return {
      sentPackets: this.#sentPackets,
      sentBytes: this.#sentBytes,
      receivedPackets: this.#receivedPackets,
      receivedBytes: this.#receivedBytes,
      droppedPackets: this.#droppedPackets,
    };
  }

  /**
   * Sets the path, and what else every datagram is sent on; WireGuard drops the copy that comes second. What waits for
   * a path is sent at once.
   */
  setPaths(path: PeerPath | undefined, second?: PeerPath): void {
    this.#path = path;
    this.#second = second;
    if (path === undefined) return;
    this.#answer = undefined;
    const nowMs = this.#clock.now();
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const { data, untilMs } of waiting) {
      if (nowMs < untilMs) this.#offer(data, path);
      else this.#droppedPackets++;
    }
  }

  /**
   * Hands a datagram that arrived from the peer to WireGuard, which checks that it is the peer's.
   * @param answer where the response to an initiation is sent while there is no path: one response for one initiation
   */
  deliver(data: Uint8Array, answer?: SendDatagram): void {
    this.#receivedPackets++;
    this.#receivedBytes += data.length;
    if (isInitiation(data)) {
      this.#yielding?.cancel();
      if (this.#options.yieldsHandshake === true) this.#forgetInitiation();
      this.#answer = this.#path === undefined ? answer : undefined;
    } else if (isResponse(data)) this.#forgetInitiation();
    this.#socket.send(data, this.#options.wireGuard);
  }

  /**
   * Sends the initiation that waits for a path on a pair that is still being verified. It goes on waiting: WireGuard ignores
   * the second copy of an initiation, and the first may be lost.
   */
  initiate(send: SendDatagram): void {
    if (this.#path !== undefined || this.#options.yieldsHandshake === true) return;
    const initiation = this.#waiting.find(({ data }) => isInitiation(data));
    if (initiation === undefined || initiation.sent >= MAX_UNVERIFIED) return;
    if (this.#clock.now() >= initiation.untilMs) return;
    initiation.sent++;
    this.#count(initiation.data);
    send(initiation.data);
  }

  async close(): Promise<void> {
    this.#path = undefined;
    this.#second = undefined;
    this.#answer = undefined;
    this.#yielding?.cancel();
    this.#waiting = [];
    await this.#socket.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #fromWireGuard(data: Uint8Array, from: Endpoint): void {
    const { wireGuard } = this.#options;
    // Another program of this machine must not send to the peer through us, before the socket is connected either.
    if (from.port !== wireGuard.port || from.address !== wireGuard.address) return;
    if (this.#path !== undefined) {
      this.#offer(data, this.#path);
      return;
    }
    this.#wait(data);
    const answer = isResponse(data) ? this.#answer : undefined;
    if (answer === undefined) return;
    this.#answer = undefined;
    this.#count(data);
    answer(data);
  }

  #offer(data: Uint8Array, path: PeerPath): void {
    if (this.#options.yieldsHandshake !== true || !isInitiation(data)) {
      this.#send(data, path);
      return;
    }
    this.#yielding?.cancel();
    this.#yielding = this.#clock.timer(YIELD_MS, () => {
      if (this.#path !== undefined) this.#send(data, this.#path);
    });
  }

  #send(data: Uint8Array, path: PeerPath): void {
    this.#count(data);
    path.send(data);
    this.#second?.send(data);
  }

  #count(data: Uint8Array): void {
    this.#sentPackets++;
    this.#sentBytes += data.length;
  }

  #wait(data: Uint8Array): void {
    // Only the last initiation can be answered, and a peer ignores one that follows another at once.
    if (isInitiation(data)) this.#forgetInitiation();
    if (this.#waiting.length >= MAX_WAITING) {
      this.#waiting.shift();
      this.#droppedPackets++;
    }
    this.#waiting.push({ data, untilMs: this.#clock.now() + MAX_WAIT_MS, sent: 0 });
  }

  #forgetInitiation(): void {
    this.#waiting = this.#waiting.filter(({ data }) => !isInitiation(data));
  }
}

/** WireGuard's message type 1. */
function isInitiation(data: Uint8Array): boolean {
  return data[0] === 1;
}

/** WireGuard's message type 2. */
function isResponse(data: Uint8Array): boolean {
  return data[0] === 2;
}
