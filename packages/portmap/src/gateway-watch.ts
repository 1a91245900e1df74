import { type Clock, deadlineInterval, errorMessage, type Log, type Timer, TowpathError } from '@towpath/core';
import type { Network, UdpSocket } from '@towpath/net';
import type { GrantedMapping, MappingProtocolName } from './mapping.ts';
import { decodeNatPmp } from './nat-pmp.ts';
import { decodePcpAnnounce } from './pcp.ts';
import { readGatewayNotice, SSDP_GROUP, SSDP_PORT } from './ssdp.ts';

/** Multicast endpoint of announcements after a restart or address change: RFC 6886 §3.2.1, RFC 6887 §14.1.1. */
const ANNOUNCE_GROUP = '224.0.0.1';
const ANNOUNCE_PORT = 5350;

/** Interval of epoch requests, which replace lost announcements: a mapping is restored within 30 s. */
const ASK_EVERY_MS = 20_000;
/** Routers send `ssdp:alive` in bursts and every few minutes: at most one renewal in this time. */
const ALIVE_EVERY_MS = 15_000;

/**
 * Forged announcements can show a restart with each datagram: at most one renewal in this time. A restart within it is
 * followed by a renewal at the next epoch request.
 */
const RESTART_EVERY_MS = 10_000;

/** One reading of a gateway's epoch time. */
export interface EpochReading {
  /** Seconds since the gateway started. */
  readonly epochS: number;
  /** `Clock.now` of the reading, ms. */
  readonly atMs: number;
}

/**
 * Returns whether two readings of the epoch time show that the gateway lost its state in between (RFC 6887 §8.5, which
 * allows for clocks that differ by a sixteenth).
 */
export function lostState(before: EpochReading, after: EpochReading): boolean {
  const serverS = after.epochS - before.epochS;
  const clientS = (after.atMs - before.atMs) / 1_000;
  if (serverS < -1) return true;
  return clientS + 2 < serverS - serverS / 16 || serverS + 2 < clientS - clientS / 16;
}

export interface GatewayWatchComponents {
  network: Network;
  clock: Clock;
  log: Log;
  /** Watches of other mappings, which are told of the epoch times that this one hears. */
  watches: Set<GatewayWatch>;
}

export interface GatewayWatchOptions {
  gateway: string;
  /** The mapping as it was granted last. */
  granted: GrantedMapping;
  /** Requests the epoch time; undefined where the protocol has none. */
  ask: ((signal: AbortSignal) => Promise<number | undefined>) | undefined;
  /** The gateway may have lost the mapping. */
  onRestart(reason: string): void;
}

/** Detects restarts of a gateway by its epoch time, its announcements and `ssdp:alive`. */
export class GatewayWatch implements AsyncDisposable {
  readonly #components: GatewayWatchComponents;
  readonly #options: GatewayWatchOptions;
  readonly #sockets: Promise<UdpSocket | undefined>[];
  readonly #asking: Timer | undefined;
  #epoch: EpochReading | undefined;
  #via: MappingProtocolName | undefined;
  /** The epoch time went back, and no renewal has followed yet. */
  #stateLost = false;
  #restartAtMs = Number.NEGATIVE_INFINITY;
  #bootId: string | undefined;
  #aliveAtMs = Number.NEGATIVE_INFINITY;
  readonly #closing = new AbortController();
  #asked: Promise<void> = Promise.resolve();

  constructor(components: GatewayWatchComponents, options: GatewayWatchOptions) {
    const { clock } = components;
    this.#components = components;
    this.#options = options;
    components.watches.add(this);
    this.granted(options.granted);
    this.#sockets = [
      this.#listen(ANNOUNCE_GROUP, ANNOUNCE_PORT, (data) => this.#announced(data)),
      this.#listen(SSDP_GROUP, SSDP_PORT, (data) => this.#notified(data)),
    ];
    const { ask } = options;
    this.#asking = ask && deadlineInterval({ clock, intervalMs: ASK_EVERY_MS, onTick: () => this.#start(ask) });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#components.watches.delete(this);
    this.#closing.abort(new TowpathError('aborted', 'The gateway is no longer watched.'));
    this.#asking?.cancel();
    await this.#asked;
    for (const socket of this.#sockets) await (await socket)?.close();
  }

  /**
   * Records the epoch time of the granted mapping. Where it shows a restart, this mapping was made again with the answer;
   * the others are renewed (RFC 6887 §8.5).
   */
  granted({ epochS, via }: GrantedMapping): void {
    this.#via = via;
    if (epochS === undefined) return;
    this.#epoch = { epochS, atMs: this.#components.clock.now() };
    for (const other of this.#components.watches) {
      if (other !== this && other.#options.gateway === this.#options.gateway && other.#via === via) other.#read(epochS);
    }
  }

  async #listen(group: string, port: number, onData: (data: Uint8Array) => void): Promise<UdpSocket | undefined> {
    try {
      return await this.#components.network.bindUdp({
        port,
        reuseAddress: true,
        multicastGroups: [group],
        onMessage: (data, from) => {
          if (from.address === this.#options.gateway && !this.#closing.signal.aborted) onData(data);
        },
      });
    } catch (error) {
      // Another program uses the port exclusively: only the epoch requests remain.
      this.#components.log.debug(`Cannot receive announcements on port ${port}: ${errorMessage(error)}`);
      return undefined;
    }
  }

  #start(ask: (signal: AbortSignal) => Promise<number | undefined>): void {
    this.#reportLoss();
    this.#asked = this.#ask(ask, this.#closing.signal);
  }

  async #ask(ask: (signal: AbortSignal) => Promise<number | undefined>, signal: AbortSignal): Promise<void> {
    try {
      const epochS = await ask(signal);
      if (epochS !== undefined && !signal.aborted) this.#read(epochS);
    } catch (error) {
      // A gateway that restarts does not answer for a while; the next answer shows it.
      this.#components.log.debug(`The gateway did not report its epoch time: ${errorMessage(error)}`);
    }
  }

  #announced(data: Uint8Array): void {
    const pcp = decodePcpAnnounce(data);
    if (pcp !== undefined) {
      this.#read(pcp.epochS);
      return;
    }
    const natPmp = decodeNatPmp(data);
    if (!('failure' in natPmp) && natPmp.type === 'external-address') this.#read(natPmp.epochS);
  }

  #read(epochS: number): void {
    const before = this.#epoch;
    this.#epoch = { epochS, atMs: this.#components.clock.now() };
    if (before !== undefined && lostState(before, this.#epoch)) this.#stateLost = true;
    this.#reportLoss();
  }

  #reportLoss(): void {
    const now = this.#components.clock.now();
    if (!this.#stateLost || now - this.#restartAtMs < RESTART_EVERY_MS) return;
    this.#stateLost = false;
    this.#restartAtMs = now;
    this.#options.onRestart('its epoch time went back');
  }

  #notified(data: Uint8Array): void {
    const notice = readGatewayNotice(data);
    if (notice === undefined || notice.kind === 'byebye') return;
    const { bootId } = notice;
    if (bootId !== undefined) {
      const known = this.#bootId;
      this.#bootId = bootId;
      if (known === bootId) return;
    }
    const now = this.#components.clock.now();
    if (now - this.#aliveAtMs < ALIVE_EVERY_MS) return;
    this.#aliveAtMs = now;
    this.#options.onRestart('ssdp:alive');
  }
}
