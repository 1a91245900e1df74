import { type Clock, deadlineInterval, type Log, type Random, type Timer } from '@towpath/core';
import { type PartyId, toHex } from '@towpath/membership';
import type { ControlStore } from '../store/store.ts';
import { type ClusterMessage, decodeClusterMessage, encodeClusterMessage } from './cluster-messages.ts';

const ALIVE_EVERY_MS = 2_000;
/** Three missed messages. */
const SILENT_AFTER_MS = 6_500;

/** Callbacks of the cluster. */
export interface ClusterHandlers {
  /** On a party's channel, or on this server's own when `party` is undefined. */
  onMessage(message: ClusterMessage, party: PartyId | undefined): void;
  /** A server was heard for the first time, or again after it was removed. */
  onServerSeen(): void;
  /** A server stopped, or has been silent for 6.5 s. */
  onServerGone(server: string): void;
}

/** The servers with one store; all are equal and announce themselves at intervals. */
export class Cluster {
  /** Id of this server. */
  readonly id: string;
  readonly #store: ControlStore;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #handlers: ClusterHandlers;
  readonly #heardAt = new Map<string, number>();
  readonly #stops: (() => void)[] = [];
  #timer: Timer | undefined;

  constructor(components: { store: ControlStore; clock: Clock; random: Random; log: Log }, handlers: ClusterHandlers) {
    this.id = toHex(components.random.bytes(8));
    this.#store = components.store;
    this.#clock = components.clock;
    this.#log = components.log;
    this.#handlers = handlers;
  }

  /** Number of servers, including this one. */
  get size(): number {
    return this.#heardAt.size + 1;
  }

  async open(): Promise<void> {
    const own = (data: Uint8Array) => this.#heard(data, undefined);
    this.#stops.push(await this.#store.subscribe('servers', own));
    this.#stops.push(await this.#store.subscribe(`server.${this.id}`, own));
    const alive = () => this.tellServers({ kind: 'alive', server: this.id });
    alive();
    this.#timer = deadlineInterval({
      clock: this.#clock,
      intervalMs: ALIVE_EVERY_MS,
      onTick: () => {
        alive();
        this.#dropSilent();
      },
    });
  }

  close(): void {
    this.tellServers({ kind: 'gone', server: this.id });
    this.#timer?.cancel();
    for (const stop of this.#stops) stop();
  }

  /** Subscribes to a party until the returned function is called. */
  joinParty(party: PartyId): Promise<() => void> {
    return this.#store.subscribe(`party.${party}`, (data) => this.#heard(data, party));
  }

  tellServers(message: ClusterMessage): void {
    this.#store.publish('servers', encodeClusterMessage(message));
  }

  tellServer(server: string, message: ClusterMessage): void {
    this.#store.publish(`server.${server}`, encodeClusterMessage(message));
  }

  tellParty(party: PartyId, message: ClusterMessage): void {
    this.#store.publish(`party.${party}`, encodeClusterMessage(message));
  }

  #heard(data: Uint8Array, party: PartyId | undefined): void {
    const message = decodeClusterMessage(data);
    if (message === undefined) {
      this.#log.warn('Unknown message on the bus', { bytes: data.length });
      return;
    }
    const own = message.server === this.id;
    // Own statements take the same path as those of others, so that they are pushed in one order.
    if (own && message.kind !== 'statement') return;
    if (message.kind === 'gone') {
      this.#drop(message.server);
      return;
    }
    if (!own) {
      const seen = this.#heardAt.has(message.server);
      this.#heardAt.set(message.server, this.#clock.now());
      if (!seen) this.#handlers.onServerSeen();
    }
    if (message.kind !== 'alive') this.#handlers.onMessage(message, party);
  }

  #dropSilent(): void {
    const now = this.#clock.now();
    for (const [server, at] of this.#heardAt) if (now - at > SILENT_AFTER_MS) this.#drop(server);
  }

  #drop(server: string): void {
    if (!this.#heardAt.delete(server)) return;
    this.#log.info('Another control server is gone', { server });
    this.#handlers.onServerGone(server);
  }
}
