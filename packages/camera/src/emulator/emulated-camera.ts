import type { Clock } from '@towpath/core';
import type { Card } from './card.ts';
import type { EmulatorFaults } from './faults.ts';
import type { PictureSource } from './media/picture-source.ts';

/** How a camera treats commands without its token, or with another one. */
export type TokenPolicy =
  /** says nothing */
  | 'silent'
  /** answers with `result` -1 */
  | 'refuse'
  /** does not look */
  | 'ignore';

/** What a camera does with a second 772 or 1285 while one is running. */
export type SecondTransferPolicy =
  /** serves it when the first is done */
  | 'queue'
  /** breaks the first off, in the middle of a frame, and begins anew */
  | 'restart';

/** What all sessions of one emulated camera share. */
export interface EmulatedCamera {
  readonly seed: number;
  readonly name: string;
  readonly deviceId: string;
  readonly card: Card;
  readonly pictures: PictureSource;
  readonly clock: CameraClock;
  readonly batteryPercent: number;
  readonly temperature: number;
  readonly tokenPolicy: TokenPolicy;
  readonly secondTransfer: SecondTransferPolicy;
  readonly mergeRatio: number;
  readonly audio: boolean;
  readonly responseDelayMs: number;
  readonly faults: Pick<EmulatorFaults, 'stuck' | 'wrongToken' | 'closeAfterMs'>;
  readonly counters: EmulatorCounters;
}

/** What an emulated camera counts. */
export interface EmulatorCounters {
  sessions: number;
  logins: number;
  commands: number;
  heartbeats: number;
  /** Requests that could not be deciphered or read. */
  undecodable: number;
  /** Requests that were passed over in silence: unknown command, missing or wrong token. */
  ignored: number;
}

export function emptyCounters(): EmulatorCounters {
  return { sessions: 0, logins: 0, commands: 0, heartbeats: 0, undecodable: 0, ignored: 0 };
}

/** The camera's own clock, in seconds of local wall time counted as if they were UTC; every login sets it (spec artemis §6). */
export class CameraClock {
  readonly #clock: Clock;
  #offsetMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Seconds, with fractions. */
  get seconds(): number {
    return (this.#clock.wallTime() + this.#offsetMs) / 1000;
  }

  set(seconds: number): void {
    this.#offsetMs = seconds * 1000 - this.#clock.wallTime();
  }
}
