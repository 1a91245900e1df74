import type { Clock } from '@towpath/core';

/** Datagrams that are remembered at a time; a power of two. */
const SLOTS = 8_192;
const WINDOW_MS = 10_000;
/** A datagram that circles comes again after each round trip; WireGuard never sends the same twice. */
const MAX_SAME = 16;
/** Of a WireGuard datagram, they hold its type, receiver and counter. */
const HASHED_BYTES = 32;

/**
 * Finds datagrams that pass the same port again and again: two relays whose plain ports have each other's relayed ports
 * as clients would pass them on without end. The kernel's forwarding lowers the TTL; sockets do not.
 */
export class LoopGuard {
  readonly #clock: Clock;
  readonly #hashes = new Uint32Array(SLOTS);
  readonly #counts = new Uint8Array(SLOTS);
  readonly #beganMs = new Float64Array(SLOTS).fill(Number.NEGATIVE_INFINITY);

  constructor({ clock }: { clock: Clock }) {
    this.#clock = clock;
  }

  /** Counts a datagram. @returns false when it has passed the port 16 times within 10 s */
  passes(port: number, data: Uint8Array): boolean {
    const hash = hashOf(port, data);
    const slot = hash & (SLOTS - 1);
    const nowMs = this.#clock.now();
    // Whoever sends many others cannot make it forget one: a place is free again after its time only.
    if (nowMs - this.#beganMs[slot]! >= WINDOW_MS) {
      this.#hashes[slot] = hash;
      this.#counts[slot] = 1;
      this.#beganMs[slot] = nowMs;
      return true;
    }
    if (this.#hashes[slot] !== hash) return true;
    if (this.#counts[slot]! >= MAX_SAME) return false;
    this.#counts[slot]!++;
    return true;
  }
}

/** FNV-1a of the port, the length and the first bytes. */
function hashOf(port: number, data: Uint8Array): number {
  let hash = Math.imul(0x811c9dc5 ^ port, 0x01000193);
  hash = Math.imul(hash ^ data.length, 0x01000193);
  const end = Math.min(data.length, HASHED_BYTES);
  for (let at = 0; at < end; at++) hash = Math.imul(hash ^ data[at]!, 0x01000193);
  return (hash ^ (hash >>> 15)) >>> 0;
}
