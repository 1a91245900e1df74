import { type Clock, type Log, silentLog, type Timer } from '@towpath/core';
import type { Endpoint, Network, UdpSocket } from '@towpath/net';
import type { PeerPath } from '../peer-path.ts';

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
  /** Called for each datagram of WireGuard that arrives while there is no path. */
  onWaiting?(): void;
}

/** Bursts of a fast transfer arrive in one turn of the event loop. */
const SOCKET_BUFFER_BYTES = 4 * 1024 * 1024;
/** Datagrams that are kept while there is no path: a handshake, and what a program sends meanwhile. */
const MAX_WAITING = 16;
/** WireGuard repeats a handshake after 5 s; what is older is not worth sending. */
const MAX_WAIT_MS = 5_000;
/** Longer than one end's path is usually verified before the other's. */
const YIELD_MS = 300;

/**
 * The data plane that works everywhere: WireGuard sends a peer's datagrams to a loopback port, and this copies them
 * between that port and the peer's path.
 */
export class Hop implements AsyncDisposable {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #options: HopOptions;
  readonly #waiting: { data: Uint8Array; untilMs: number }[] = [];
  #socket!: UdpSocket;
  #path: PeerPath | undefined;
  #second: PeerPath | undefined;
  /** Sends the initiation that is held back. */
  #yielding: Timer | undefined;
  #sentPackets = 0;
  #sentBytes = 0;
  #receivedPackets = 0;
  #receivedBytes = 0;
  #droppedPackets = 0;

  private constructor(components: { clock: Clock; log?: Log | undefined }, options: HopOptions) {
    this.#clock = components.clock;
    this.#log = components.log ?? silentLog;
    this.#options = options;
  }

  /** Opens the loopback port of one peer. @throws NetError as {@link Network.bindUdp}. */
  static async open(
    components: { network: Network; clock: Clock; log?: Log | undefined },
    options: HopOptions,
  ): Promise<Hop> {
    const hop = new Hop(components, options);
    hop.#socket = await components.network.bindUdp({
      address: options.wireGuard.address,
      receiveBufferBytes: SOCKET_BUFFER_BYTES,
      sendBufferBytes: SOCKET_BUFFER_BYTES,
      onMessage: (data, from) => hop.#fromWireGuard(data, from),
      // WireGuard that restarts refuses datagrams for a moment; the peer repeats what matters.
      onError: (error) => hop.#log.debug('The hop could not hand a datagram on.', { error: error.message }),
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
    const nowMs = this.#clock.now();
    for (const { data, untilMs } of this.#waiting.splice(0)) {
      if (nowMs < untilMs) this.#offer(data, path);
      else this.#droppedPackets++;
    }
  }

  /** Hands a datagram that arrived on any path of the peer to WireGuard, which checks that it is the peer's. */
  deliver(data: Uint8Array): void {
    this.#receivedPackets++;
    this.#receivedBytes += data.length;
    if (isInitiation(data)) this.#yielding?.cancel();
    this.#socket.send(data, this.#options.wireGuard);
  }

  async close(): Promise<void> {
    this.#path = undefined;
    this.#second = undefined;
    this.#yielding?.cancel();
    this.#waiting.length = 0;
    await this.#socket.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #fromWireGuard(data: Uint8Array, from: Endpoint): void {
    const { wireGuard } = this.#options;
    // Another program of this machine must not send to the peer through us.
    if (from.port !== wireGuard.port || from.address !== wireGuard.address) return;
    if (this.#path !== undefined) this.#offer(data, this.#path);
    else this.#wait(data);
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
    this.#sentPackets++;
    this.#sentBytes += data.length;
    path.send(data);
    this.#second?.send(data);
  }

  #wait(data: Uint8Array): void {
    // Only the last initiation can be answered, and a peer ignores one that follows another at once.
    const before = isInitiation(data) ? this.#waiting.findIndex((waiting) => isInitiation(waiting.data)) : -1;
    if (before >= 0) this.#waiting.splice(before, 1);
    if (this.#waiting.length >= MAX_WAITING) {
      this.#waiting.shift();
      this.#droppedPackets++;
    }
    this.#waiting.push({ data, untilMs: this.#clock.now() + MAX_WAIT_MS });
    this.#options.onWaiting?.();
  }
}

/** WireGuard's message type 1. */
function isInitiation(data: Uint8Array): boolean {
  return data[0] === 1;
}
