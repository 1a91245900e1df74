import { backoff, type Random } from '@towpath/core';
import type { Endpoint } from '@towpath/net';
import { PendingRequest, type PendingRequestOptions } from '../../rendezvous/client/rendezvous-servers.ts';

/** Unanswered requests after which a relay counts as dead; fewer for one that no server listed. */
const RELAY_TRIES = 10;
/** After this many the next relay is tried in parallel. */
const LATE_TRIES = 3;
const GUESS_TRIES = 2;

/**
 * RLY_PKT: four in quick succession, then one every 100 ms, as long as the reservation lives (docs/protocol/pppp.md,
 * "Connecting through a relay").
 */
const INTRODUCTION_MS = { baseMs: 20, factor: 1.5, maxMs: 100 } as const;

/** A session port that a relay has reserved. */
export interface Reservation {
  /** Base port of the relay. */
  readonly base: Endpoint;
  /** Session port for UDP. */
  readonly at: Endpoint;
  readonly magic: number;
  /** Round trip to the relay in ms. */
  readonly rttMs: number | undefined;
}

/**
 * - `idle`: known, not asked yet
 * - `asked`: for a session port
 * - `reserved`: it has given one; in use once `activeSince` is set
 * - `silent`, `refused`: not used any more
 */
export type RelayState = 'idle' | 'asked' | 'reserved' | 'silent' | 'refused';

/** A candidate relay. */
export class Relay extends PendingRequest {
  /** Not listed by any server. */
  guessed: boolean;
  state: RelayState = 'idle';
  reservation: Reservation | undefined;
  /** When its session port was made known to the device. */
  activeSince: number | undefined;
  /** When to send the next RLY_PKT. */
  introduceAt: number = Number.POSITIVE_INFINITY;
  readonly #random: Random;
  #introductions: Iterator<number> | undefined;

  constructor({ random }: { random: Random }, options: PendingRequestOptions & { guessed: boolean }) {
    super({ random }, options);
    this.#random = random;
    this.guessed = options.guessed;
  }

  /** Whether it may still be used. */
  get isHopeful(): boolean {
    return this.state === 'idle' || this.state === 'asked' || this.state === 'reserved';
  }

  /** It has not answered the limit of requests. */
  get isTired(): boolean {
    return this.state === 'asked' && this.transmissions >= (this.guessed ? GUESS_TRIES : RELAY_TRIES);
  }

  /** It has not answered soon. */
  get isLate(): boolean {
    return this.state === 'asked' && this.transmissions >= LATE_TRIES;
  }

  /** It has reserved a session port. */
  reserve(magic: number, port: number): void {
    const base = this.endpoint;
    this.state = 'reserved';
    this.reservation = { base, at: { address: base.address, port }, magic, rttMs: this.rtt.smoothedMs };
  }

  /** Its session port is announced to the device now. */
  activate(now: number): void {
    this.activeSince = now;
    this.introduceAt = now;
    this.#introductions = backoff({ ...INTRODUCTION_MS, random: this.#random });
  }

  introduced(now: number): void {
    this.introduceAt = now + (this.#introductions?.next().value as number);
  }

  drop(state: 'silent' | 'refused'): void {
    this.state = state;
    this.reservation = undefined;
    this.activeSince = undefined;
    this.introduceAt = Number.POSITIVE_INFINITY;
  }
}
