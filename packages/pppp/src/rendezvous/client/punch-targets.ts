import { backoff, type Random } from '@towpath/core';
import { type Endpoint, sameEndpoint } from '@towpath/net';

/** Intervals between the punches of one address: short at first. */
const FIRST_PAUSE_MS = 40;
const PAUSE_GROWTH = 1.6;
const LAST_PAUSE_MS = 250;

/**
 * How many rounds of punches guess neighbouring ports too (docs/protocol/pppp.md, "Connecting through a rendezvous");
 * each reaches further than the one before.
 */
const GUESS_ROUNDS = 3;

/** Largest port guess that may be asked for: three rounds of it at one address are 96 datagrams. */
const MAX_PORT_GUESS = 8;

export interface PunchTargetsOptions {
  /** Ports next to the given one that are punched as well, in each direction, 0…8; grows with the round. */
  portGuess: number;
  /** Addresses that are punched at a time. */
  limit: number;
  /** Punches of one address before it is given up. @default without end */
  rounds?: number;
  /** Whether port prediction makes sense: the peer may be behind a symmetric NAT, and this host is not. */
  guessable(to: Endpoint): boolean;
  punch(to: Endpoint): void;
}

interface Target {
  readonly to: Endpoint;
  readonly delays: Iterator<number, void>;
  round: number;
  nextAt: number;
}

/** Addresses that are punched, at once and then repeatedly. */
export class PunchTargets {
  readonly #random: Random;
  readonly #options: PunchTargetsOptions;
  #targets: Target[] = [];

  constructor({ random }: { random: Random }, options: PunchTargetsOptions) {
    this.#random = random;
    this.#options = options;
  }

  /** When {@link run} is due; Infinity when there is nothing to do. */
  get nextAt(): number {
    let next = Number.POSITIVE_INFINITY;
    for (const target of this.#targets) next = Math.min(next, target.nextAt);
    return next;
  }

  /** Addresses that are being punched. */
  get addresses(): Endpoint[] {
    return this.#targets.map(({ to }) => to);
  }

  /** Adds an address, due at once. False when it is there already or there are too many. */
  add(to: Endpoint, now: number): boolean {
    const { rounds, limit } = this.#options;
    if (this.#targets.length >= limit || this.#targets.some((target) => sameEndpoint(target.to, to))) return false;
    const delays = backoff({
      baseMs: FIRST_PAUSE_MS,
      factor: PAUSE_GROWTH,
      maxMs: LAST_PAUSE_MS,
      random: this.#random,
      count: rounds === undefined ? undefined : rounds - 1,
    });
    this.#targets.push({ to: { ...to }, delays, round: 0, nextAt: now });
    return true;
  }

  /** Punches what is due: first the addresses themselves, then the guesses. */
  run(now: number): void {
    const due = this.#targets.filter(({ nextAt }) => nextAt <= now);
    for (const { to } of due) this.#options.punch(to);
    for (const target of due) {
      target.round++;
      if (target.round <= GUESS_ROUNDS && this.#options.guessable(target.to)) this.#guess(target);
      const delay = target.delays.next();
      target.nextAt = delay.done === true ? Number.POSITIVE_INFINITY : now + delay.value;
    }
    this.#targets = this.#targets.filter(({ nextAt }) => nextAt !== Number.POSITIVE_INFINITY);
  }

  /** Removes all addresses. */
  clear(): void {
    this.#targets = [];
  }

  #guess({ to: { address, port }, round }: Target): void {
    const reach = Math.min(MAX_PORT_GUESS, this.#options.portGuess) * round;
    for (let step = 1; step <= reach; step++) {
      // Upwards first: ports that are given in sequence mostly grow.
      for (const guess of [port + step, port - step]) {
        if (guess > 0 && guess < 65_536) this.#options.punch({ address, port: guess });
      }
    }
  }
}
