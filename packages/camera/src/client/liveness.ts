import type { Clock, Timer } from '@towpath/core';

/**
 * A healthy camera sends something at least every second (keep-alives, acknowledgements, data), so this much silence
 * while it owes us data is suspicious.
 */
const SUSPICIOUS_MS = 1000;
const SUSPICIOUS_ROUND_TRIPS = 4;

/** A suspect is given up after this many times the silence that made it one. */
const PATIENCE = 1.5;

/** After how much silence a camera that owes us something is suspicious, ms. @param rttMs smoothed round trip */
export function suspiciousAfterMs(rttMs: number | undefined): number {
  return Math.max(SUSPICIOUS_MS, SUSPICIOUS_ROUND_TRIPS * (rttMs ?? 0));
}

export interface LivenessOptions {
  clock: Clock;
  /** `Clock.now` of the last datagram from the camera. */
  lastHeardAt(): number;
  rttMs(): number | undefined;
  /** The camera has been silent for so long that it is gone. */
  onDead(silentMs: number): void;
}

/** Notices a dead camera sooner than the transport does, but only while something is awaited from it. */
export class Liveness {
  readonly #options: LivenessOptions;
  #waiting = 0;
  #since = 0;
  #timer: Timer | undefined;
  #stopped = false;

  constructor(options: LivenessOptions) {
    this.#options = options;
  }

  /** Something is awaited from now on, until the result is disposed of. */
  expect(): Disposable {
    if (this.#waiting++ === 0 && !this.#stopped) {
      this.#since = this.#options.clock.now();
      this.#check();
    }
    let done = false;
    return {
      [Symbol.dispose]: () => {
        if (done) return;
        done = true;
        if (--this.#waiting === 0) this.#timer?.cancel();
      },
    };
  }

  /** How long the camera has been silent, ms. */
  get silentMs(): number {
    return this.#options.clock.now() - this.#options.lastHeardAt();
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  #check(): void {
    const { clock, lastHeardAt, rttMs, onDead } = this.#options;
    const silentMs = clock.now() - Math.max(lastHeardAt(), this.#since);
    const leftMs = PATIENCE * suspiciousAfterMs(rttMs()) - silentMs;
    if (leftMs <= 0) onDead(silentMs);
    else this.#timer = clock.timer(leftMs, () => this.#check());
  }
}
