import type { Clock } from '@towpath/core';
import type { Card } from './card.ts';
import type { EmulatorFaults } from './faults.ts';
import type { PictureSource } from './media/picture-source.ts';

/** Treatment of commands without a token or with a wrong one. */
export type TokenPolicy =
  /** no response */
  | 'silent'
  /** a response with `result` -1 */
  | 'refuse'
  /** not checked */
  | 'ignore';

/** Treatment of a second 772 or 1285 while one is running. */
export type SecondTransferPolicy =
  /** it begins after the first */
  | 'queue'
  /** it interrupts the first, also in the middle of a frame, and begins */
  | 'restart';

/** Treatment of 513, whose payload is inferred. */
export type SettingsPolicy =
  /** fields that the device information has are changed */
  | 'accept'
  /** success, and no change */
  | 'ignore'
  /** no response */
  | 'silent';

/** State shared by all sessions of one emulated camera. */
export interface EmulatedCamera {
  readonly seed: number;
  readonly name: string;
  readonly deviceId: string;
  readonly card: Card;
  /** Without one the device information tells a size of 0, and the media list is null. */
  readonly hasCard: boolean;
  readonly pictures: PictureSource;
  readonly clock: CameraClock;
  readonly batteryPercent: number;
  readonly temperature: number;
  readonly tokenPolicy: TokenPolicy;
  readonly secondTransfer: SecondTransferPolicy;
  readonly mergeRatio: number;
  readonly audio: boolean;
  /** Live pictures show the machine's time in milliseconds as black and white cells. */
  readonly timeCode: boolean;
  readonly responseDelayMs: number;
  /** Fields of the device information that clients have set (513). */
  readonly settings: Map<string, string | number | boolean>;
  /** What it does with 513: no real answer was ever recorded. */
  readonly settingsPolicy: SettingsPolicy;
  readonly faults: Pick<EmulatorFaults, 'stuck' | 'wrongToken' | 'closeAfterMs' | 'hostileText' | 'damagedFrameEvery'>;
  readonly counters: EmulatorCounters;
}

/** Counters of an emulated camera. */
export interface EmulatorCounters {
  sessions: number;
  logins: number;
  commands: number;
  heartbeats: number;
  /** Requests that could not be deciphered or parsed. */
  undecodable: number;
  /** Requests without a response: unknown command, missing or wrong token. */
  ignored: number;
}

export function emptyCounters(): EmulatorCounters {
  return { sessions: 0, logins: 0, commands: 0, heartbeats: 0, undecodable: 0, ignored: 0 };
}

/**
 * The camera's own clock, in seconds of local wall time counted as if they were UTC; every login sets it
 * (docs/protocol/artemis.md, "Login").
 */
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
