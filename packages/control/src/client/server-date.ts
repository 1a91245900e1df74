import type { Clock } from '@towpath/core';
import { MAX_CLOCK_SKEW_MS } from '@towpath/membership';
import type { ClockProblem } from '../control-plane.ts';
import { farDate } from './far-date.ts';

/** Remembers that a server's date is too far from this machine's clock, until a server gives one that is near. */
export class ServerDate {
  readonly #clock: Clock;
  #problem: ClockProblem | undefined;

  constructor(components: { clock: Clock }) {
    this.#clock = components.clock;
  }

  /** Undefined when the date that was given last is near, or none was given. */
  get problem(): ClockProblem | undefined {
    return this.#problem;
  }

  /** Takes the date of a server that is connected. @returns what is wrong with it, for people */
  take(server: string, serverTimeMs: number): string | undefined {
    const nowMs = this.#clock.wallTime();
    if (Math.abs(serverTimeMs - nowMs) <= MAX_CLOCK_SKEW_MS) this.#problem = undefined;
    else this.refuse(farDate(server, serverTimeMs, nowMs).message);
    return this.#problem?.message;
  }

  /** No server could be connected, because of a date. */
  refuse(message: string): void {
    this.#problem = { message, sinceMs: this.#problem?.sinceMs ?? this.#clock.wallTime() };
  }
}
