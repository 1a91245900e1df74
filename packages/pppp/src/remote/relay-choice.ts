import { backoff, type Random } from '@towpath/core';
import type { Endpoint } from '@towpath/net';
import { Asked } from './server-panel.ts';

/** Unanswered requests after which a relay counts as dead; a guess has less claim to patience. */
const RELAY_TRIES = 10;
/** After so many it no longer keeps the next relay from being asked. */
const DOUBTFUL_TRIES = 3;
const GUESS_TRIES = 2;

/** RLY_PKT: four in quick succession, then one every 100 ms, as long as the reservation lives (spec §6.4). */
const INTRODUCTION_MS = { baseMs: 20, factor: 1.5, maxMs: 100 } as const;

/** A session port that a relay holds ready for us. */
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
 * - `silent`, `refused`: given up
 */
export type RelayState = 'idle' | 'asked' | 'reserved' | 'silent' | 'refused';

/** A relay that may serve. */
export class Relay extends Asked {
  /** Nobody has named it so far. */
  guessed: boolean;
  state: RelayState = 'idle';
  reservation: Reservation | undefined;
  /** When its session port was made known to the device. */
  activeSince: number | undefined;
  /** When to introduce ourselves (again). */
  introduceAt: number = Number.POSITIVE_INFINITY;
  readonly #random: Random;
  #introductions: Iterator<number> | undefined;

  constructor(endpoint: Endpoint, random: Random, now: number, guessed: boolean) {
    super(endpoint, random, now);
    this.#random = random;
    this.guessed = guessed;
  }

  /** Whether it may still bring us there. */
  get isHopeful(): boolean {
    return this.state === 'idle' || this.state === 'asked' || this.state === 'reserved';
  }

  /** It was asked often enough without an answer. */
  get isTired(): boolean {
    return this.state === 'asked' && this.tries >= (this.guessed ? GUESS_TRIES : RELAY_TRIES);
  }

  /** It was asked and has not answered soon. */
  get isDoubtful(): boolean {
    return this.state === 'asked' && this.tries >= DOUBTFUL_TRIES;
  }

  /** It gives a session port. */
  reserve(magic: number, port: number): void {
    const base = this.endpoint;
    this.state = 'reserved';
    this.reservation = { base, at: { address: base.address, port }, magic, rttMs: this.rtt.smoothedMs };
  }

  /** Its session port is made known to the device now. */
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
