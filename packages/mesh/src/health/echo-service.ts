import { type Clock, Events, type Log, RateLimit, type Random, silentLog } from '@towpath/core';
import type { Network, UdpSocket } from '@towpath/net';
import { decodeEcho, encodeEcho, foreignEcho } from './echo-message.ts';

/** Port of every member's virtual address. */
export const ECHO_PORT = 7_766;
/** IPv4 and UDP headers of an echo inside the tunnel. */
const HEADERS_BYTES = 28;
const ANSWERS_PER_SECOND = 20;

export interface EchoServiceComponents {
  network: Network;
  clock: Clock;
  random: Random;
  log?: Log | undefined;
}

export interface EchoServiceOptions {
  /** Own virtual address. */
  address: string;
  /** @default {@link ECHO_PORT} */
  port?: number;
  /** True for virtual addresses of members; others are ignored. */
  isMember(address: string): boolean;
  /** What is told with each echo, at most 64 bytes. */
  note?: (() => Uint8Array) | undefined;
}

export interface EchoServiceEvents {
  /** A member said that it leaves. */
  goodbye: { address: string };
  /** A member's echo or answer arrived: it is reachable through the tunnel. */
  heard: { address: string; note: Uint8Array };
  /** A member's echo came in a version that is not read here. */
  foreign: { address: string; version: number };
}

export interface EchoOptions {
  signal?: AbortSignal | undefined;
  /** Size of the whole IP packet inside the tunnel, to test the path's MTU. */
  packetBytes?: number;
}

interface Pending {
  readonly address: string;
  readonly sentAtMs: number;
  resolve(rttMs: number): void;
}

/** More echoes than this are never awaited at once; the oldest is given up. */
const MAX_PENDING = 16_384;
const NO_NOTE = new Uint8Array(0);

/** Sends and answers echoes through the tunnel, on one socket for all members. */
export class EchoService implements AsyncDisposable {
  readonly events: Events<EchoServiceEvents> = new Events();
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #log: Log;
  readonly #options: EchoServiceOptions;
  readonly #pending = new Map<number, Pending>();
  readonly #answers: RateLimit;
  #foreign = 0;
  #socket!: UdpSocket;

  private constructor(components: EchoServiceComponents, options: EchoServiceOptions) {
    this.#clock = components.clock;
    this.#random = components.random;
    this.#log = components.log ?? silentLog;
    this.#options = options;
    this.#answers = new RateLimit(components, { perSecond: ANSWERS_PER_SECOND });
  }

  /** Binds the echo port of the virtual address. @throws NetError as {@link Network.bindUdp}. */
  static async open(components: EchoServiceComponents, options: EchoServiceOptions): Promise<EchoService> {
    const service = new EchoService(components, options);
    service.#socket = await components.network.bindUdp({
      address: options.address,
      port: options.port ?? ECHO_PORT,
      onMessage: (data, from) => service.#receive(data, from.address),
      onError: (error) => service.#log.debug('An echo could not be sent.', { error: error.message }),
    });
    return service;
  }

  /** Echoes of members that were ignored for their version. */
  get foreign(): number {
    return this.#foreign;
  }

  /** Echoes that are awaited; for leak checks. */
  get pending(): number {
    return this.#pending.size;
  }

  /**
   * Sends one echo and resolves with its round trip, ms, when it is answered. It never times out by itself.
   * @throws the signal's reason when it aborts.
   */
  ping(address: string, { signal, packetBytes = 0 }: EchoOptions = {}): Promise<number> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason);
        return;
      }
      const id = this.#random.integer(0, 0xffff_ffff);
      const onAbort = () => {
        this.#pending.delete(id);
        reject(signal?.reason);
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#keep(id, {
        address,
        sentAtMs: this.#clock.now(),
        resolve: (rttMs) => {
          signal?.removeEventListener('abort', onAbort);
          resolve(rttMs);
        },
      });
      this.#send('request', id, address, packetBytes - HEADERS_BYTES);
    });
  }

  /** Makes the tunnel carry something in both directions, and awaits nothing. */
  touch(address: string): void {
    this.#send('request', this.#random.integer(0, 0xffff_ffff), address);
  }

  /** Tells a member that this node leaves. */
  sayGoodbye(address: string): void {
    this.#send('goodbye', 0, address);
  }

  async close(): Promise<void> {
    this.#pending.clear();
    await this.#socket.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #ignore(data: Uint8Array, address: string): void {
    const version = foreignEcho(data);
    if (version === undefined) return;
    this.#foreign++;
    this.events.emit('foreign', { address, version });
  }

  #keep(id: number, pending: Pending): void {
    const [oldest] = this.#pending.keys();
    if (this.#pending.size >= MAX_PENDING && oldest !== undefined) this.#pending.delete(oldest);
    this.#pending.set(id, pending);
  }

  #send(type: 'request' | 'reply' | 'goodbye', id: number, address: string, sizeBytes = 0): void {
    const note = this.#options.note?.() ?? NO_NOTE;
    const to = { address, port: this.#options.port ?? ECHO_PORT };
    this.#socket.send(encodeEcho({ type, id, note }, sizeBytes), to);
  }

  #receive(data: Uint8Array, address: string): void {
    if (!this.#options.isMember(address)) return;
    const message = decodeEcho(data);
    if (message === undefined) {
      this.#ignore(data, address);
      return;
    }
    if (message.type === 'goodbye') {
      this.events.emit('goodbye', { address });
      return;
    }
    if (message.type === 'request') {
      if (this.#answers.take(address)) this.#send('reply', message.id, address);
    } else {
      const pending = this.#pending.get(message.id);
      if (pending?.address === address) {
        this.#pending.delete(message.id);
        pending.resolve(this.#clock.now() - pending.sentAtMs);
      }
    }
    this.events.emit('heard', { address, note: message.note });
  }
}
