import type { Clock, Random } from '@towpath/core';
import { addressFamily, addressScope, canonicalAddress } from '../address/ip.ts';
import { formatEndpoint } from '../endpoint.ts';
import { SimulatedNames } from './names.ts';
import type { DropReason, Packet, PacketCounters, SimulatedPacket } from './packet.ts';

/** One thing that happened to a packet. */
export interface PacketEvent {
  /** Clock time (`Clock.now`) in ms. */
  readonly atMs: number;
  readonly event: 'sent' | 'delivered' | DropReason;
  /** Only valid during the call: copy what you keep. */
  readonly packet: SimulatedPacket;
}

/**
 * Sees every packet as it leaves its host, and decides: `next()` sends it on (several calls send copies,
 * also later), no call drops it.
 */
export type PacketHook = (packet: SimulatedPacket, next: () => void) => void;

/**
 * Boxes look at a packet up to this early instead of waiting for the last stretch of LAN on a timer of
 * its own, so that a packet between two homes costs one timer instead of three.
 */
const EARLY_MS = 1;

/** Texts of addresses seen; more than any simulation names, and a bound all the same. */
const MAX_CACHED_ADDRESSES = 100_000;

export interface KnownAddress {
  readonly text: string;
  readonly family: 4 | 6;
  readonly multicast: boolean;
}

/** What all parts of one simulated internet share: time, chance, counters, observers. */
export class Fabric {
  readonly clock: Clock;
  readonly random: Random;
  readonly icmpErrors: boolean;
  readonly names: SimulatedNames;
  readonly counters: PacketCounters = { sent: 0, copies: 0, delivered: 0, dropped: {} };
  readonly observers: Set<(event: PacketEvent) => void> = new Set();
  readonly hooks: Set<PacketHook> = new Set();
  openSockets = 0;
  #packets = 0;
  readonly #addresses = new Map<string, KnownAddress | undefined>();

  constructor(clock: Clock, random: Random, icmpErrors: boolean) {
    this.clock = clock;
    this.random = random;
    this.icmpErrors = icmpErrors;
    this.names = new SimulatedNames(clock);
  }

  nextPacketId(): number {
    return ++this.#packets;
  }

  /** Canonical text and family of an address, `undefined` when it is no IP literal. */
  address(text: string): KnownAddress | undefined {
    const known = this.#addresses.get(text);
    if (known !== undefined || this.#addresses.has(text)) return known;
    const family = addressFamily(text);
    const multicast = addressScope(text) === 'multicast';
    const found = family && { text: canonicalAddress(text)!, family, multicast };
    if (this.#addresses.size >= MAX_CACHED_ADDRESSES) this.#addresses.clear();
    this.#addresses.set(text, found);
    return found;
  }

  /** Counts a packet as sent and passes it through the hooks to `forward`. */
  emit(packet: Packet, forward: (packet: Packet) => void): void {
    this.counters.sent++;
    if (this.observers.size > 0) this.#observe('sent', packet);
    if (this.hooks.size === 0) forward(packet);
    else this.#hook([...this.hooks], packet, forward);
  }

  #hook(hooks: readonly PacketHook[], packet: Packet, forward: (packet: Packet) => void): void {
    const [hook, ...rest] = hooks;
    if (hook === undefined) {
      forward(packet);
      return;
    }
    let passedOn = false;
    let decided = false;
    hook(packet, () => {
      // A copy is forwarded: NATs rewrite it, and the hook may send the original again.
      if (passedOn || decided) this.counters.copies++;
      passedOn = true;
      const passed = packet.clone();
      passed.at = this.clock.now();
      this.#hook(rest, passed, forward);
    });
    decided = true;
    if (!passedOn) this.drop(packet, 'intercepted');
  }

  /** A copy that goes its own way from here. */
  copy(packet: Packet): Packet {
    this.counters.copies++;
    return packet.clone();
  }

  drop(packet: Packet, reason: DropReason): void {
    const { dropped } = this.counters;
    dropped[reason] = (dropped[reason] ?? 0) + 1;
    if (this.observers.size > 0) this.#observe(reason, packet);
    if (reason === 'no-route') this.#bounce(packet, 'unreachable');
    else if (reason === 'no-listener') this.#bounce(packet, 'connection-refused');
  }

  delivered(packet: Packet): void {
    this.counters.delivered++;
    if (this.observers.size > 0) this.#observe('delivered', packet);
  }

  /** Calls `arrive` when the packet arrives; at once where that makes no difference. */
  arrive(packet: Packet, atHost: boolean, arrive: (packet: Packet) => void): void {
    const waitMs = packet.at - this.clock.now();
    if (waitMs <= EARLY_MS && (packet.waited || !atHost)) {
      arrive(packet);
      return;
    }
    packet.waited = true;
    this.clock.timer(waitMs, () => arrive(packet));
  }

  /** The ICMP error takes as long back as the packet took there. It passes NATs as real ones pass it. */
  #bounce(packet: Packet, code: 'unreachable' | 'connection-refused'): void {
    const heard = packet.protocol === 'tcp' || this.icmpErrors || packet.origin.hearsErrors;
    if (packet.broadcast || !heard) return;
    const delayMs = 2 * packet.at - packet.sentAt - this.clock.now();
    this.clock.timer(delayMs, () => packet.origin.bounced(code, packet.target, packet.targetPort));
  }

  #observe(event: PacketEvent['event'], packet: Packet): void {
    const record: PacketEvent = { atMs: this.clock.now(), event, packet };
    for (const observer of this.observers) observer(record);
  }
}

/** One line per event, for traces that two runs are compared by. */
export function formatPacketEvent({ atMs, event, packet }: PacketEvent): string {
  const from = formatEndpoint({ address: packet.source, port: packet.sourcePort });
  const to = formatEndpoint({ address: packet.destination, port: packet.destinationPort });
  return `${atMs.toFixed(3)} ${event} #${packet.id} ${packet.protocol} ${from} > ${to} ${packet.payload.length}`;
}
