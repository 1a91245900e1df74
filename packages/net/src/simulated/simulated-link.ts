import type { Fabric } from './fabric.ts';
import type { DropReason, Packet } from './packet.ts';

/** What a link does to packets in one direction. Everything absent is perfect. */
export interface SimulatedLinkConditions {
  /** One-way delay. @default 10 on the internet, 0.25 in a LAN */
  delayMs?: number;
  /** Up to this much more delay, evenly distributed; keeps the order of packets. */
  jitterMs?: number;
  /** Share of packets that vanish, 0…1. */
  lossRatio?: number;
  /** Share of packets that arrive twice, 0…1. */
  duplicateRatio?: number;
  /** Share of packets that are overtaken by those after them, 0…1. */
  reorderRatio?: number;
  /** How much later an overtaken packet comes. @default 10 */
  reorderMs?: number;
  /** Rate of the link; packets wait in a queue. */
  bytesPerSecond?: number | undefined;
  /** What the queue holds before packets are dropped. @default 64 KiB */
  queueBytes?: number | undefined;
  /** Larger IP packets vanish without a word. */
  mtuBytes?: number | undefined;
}

/** Conditions of both directions; `up` (towards the network) and `down` (towards its owner) override. */
export interface SimulatedLinkOptions extends SimulatedLinkConditions {
  up?: SimulatedLinkConditions;
  down?: SimulatedLinkConditions;
}

const DEFAULT_QUEUE_BYTES = 64 * 1024;
const DEFAULT_REORDER_MS = 10;

/** One direction of a link: conditions, and when its wire is free again. */
class Direction {
  conditions: SimulatedLinkConditions;
  readonly #fabric: Fabric;
  #freeAt = 0;
  #lastIn = 0;
  #lastOut = 0;

  constructor(fabric: Fabric, conditions: SimulatedLinkConditions) {
    this.#fabric = fabric;
    this.conditions = conditions;
  }

  /** Moves the packet's time on and hands it to `next`, or drops it, or hands on two. */
  cross(packet: Packet, next: (packet: Packet) => void): void {
    // Packets of several senders share a slow wire in the order in which they come to it.
    if (this.conditions.bytesPerSecond === undefined) this.#cross(packet, next);
    else this.#fabric.arrive(packet, false, (arrived) => this.#cross(arrived, next));
  }

  #cross(packet: Packet, next: (packet: Packet) => void): void {
    const { random } = this.#fabric;
    const refusal = this.#refusal(packet);
    if (refusal) {
      this.#fabric.drop(packet, refusal);
      return;
    }
    const { duplicateRatio = 0, delayMs = 0, jitterMs = 0, reorderRatio = 0 } = this.conditions;
    const cameAt = packet.at;
    packet.at += delayMs + (jitterMs > 0 ? random.next() * jitterMs : 0);
    if (reorderRatio > 0 && random.next() < reorderRatio) {
      packet.at += this.conditions.reorderMs ?? DEFAULT_REORDER_MS;
    } else if (cameAt >= this.#lastIn) {
      packet.at = Math.max(packet.at, this.#lastOut);
      this.#lastIn = cameAt;
      this.#lastOut = packet.at;
    }
    const copy = duplicateRatio > 0 && random.next() < duplicateRatio ? this.#fabric.copy(packet) : undefined;
    next(packet);
    if (copy) next(copy);
  }

  #refusal(packet: Packet): DropReason | undefined {
    const { lossRatio = 0, mtuBytes } = this.conditions;
    if (mtuBytes !== undefined && packet.bytes > mtuBytes) return 'too-big';
    if (lossRatio > 0 && this.#fabric.random.next() < lossRatio) return 'lost';
    return this.#queue(packet) ? undefined : 'queue-full';
  }

  /** Waits for the wire; false when the queue is full. */
  #queue(packet: Packet): boolean {
    const { bytesPerSecond, queueBytes = DEFAULT_QUEUE_BYTES } = this.conditions;
    if (bytesPerSecond === undefined) return true;
    const start = Math.max(packet.at, this.#freeAt);
    const waitingBytes = ((start - packet.at) / 1000) * bytesPerSecond;
    if (waitingBytes + packet.bytes > queueBytes) return false;
    this.#freeAt = start + (packet.bytes / bytesPerSecond) * 1000;
    packet.at = this.#freeAt;
    return true;
  }
}

/** What a link leads to on its network's side. */
export interface SimulatedLinkNetwork {
  route(packet: Packet, from: SimulatedLink): void;
}

/** What a link leads to on its own side: a host or a NAT's outside. */
export interface LinkOwner {
  /** Hosts hand packets to programs, so these never come before time has passed. */
  readonly isHost: boolean;
  receive(packet: Packet, link: SimulatedLink): void;
  /** A wire was pulled or plugged in. */
  linkChanged?(): void;
}

/** The wire between one host (or NAT) and its network. */
export class SimulatedLink {
  readonly network: SimulatedLinkNetwork;
  readonly #fabric: Fabric;
  readonly #owner: LinkOwner;
  readonly #up: Direction;
  readonly #down: Direction;
  #plugged = true;

  constructor(fabric: Fabric, network: SimulatedLinkNetwork, owner: LinkOwner, options: SimulatedLinkOptions) {
    this.#fabric = fabric;
    this.network = network;
    this.#owner = owner;
    const { up, down, ...both } = options;
    this.#up = new Direction(fabric, { ...both, ...up });
    this.#down = new Direction(fabric, { ...both, ...down });
  }

  get plugged(): boolean {
    return this.#plugged;
  }

  /** Pulls the wire: nothing passes, and what is under way to the owner is lost. */
  unplug(): void {
    this.#plugged = false;
    this.#owner.linkChanged?.();
  }

  replug(): void {
    this.#plugged = true;
    this.#owner.linkChanged?.();
  }

  /** Changes conditions from now on; what is not named stays. */
  change(options: SimulatedLinkOptions): void {
    const { up, down, ...both } = options;
    this.#up.conditions = { ...this.#up.conditions, ...both, ...up };
    this.#down.conditions = { ...this.#down.conditions, ...both, ...down };
  }

  /** From the owner into the network. */
  send(packet: Packet): void {
    if (this.#plugged) this.#up.cross(packet, this.#toNetwork);
    else this.#fabric.drop(packet, 'unplugged');
  }

  /** From the network to the owner. */
  deliver(packet: Packet): void {
    this.#down.cross(packet, this.#toOwner);
  }

  readonly #toNetwork = (packet: Packet): void => this.network.route(packet, this);

  readonly #toOwner = (packet: Packet): void => this.#fabric.arrive(packet, this.#owner.isHost, this.#arrived);

  readonly #arrived = (packet: Packet): void => {
    if (this.#plugged) this.#owner.receive(packet, this);
    else this.#fabric.drop(packet, 'unplugged');
  };
}
