import { type Clock, Monitor, type MonitorTimes, type PathHealth } from '@towpath/core';

/** A restart of the server or a dead connection is detected within 10 s while the allocation is used. */
const TIMES: Partial<MonitorTimes> = {
  startIntervalMs: 3_000,
  activeIntervalMs: 5_000,
  unansweredMs: 1_500,
  unansweredSpacingMs: 3_000,
  minProbeLimitMs: 500,
  trustMs: 20_000,
  suspectAfter: 2,
  deadAfter: 4,
};

/** Probes the server of an allocation, also after it was `dead`: over UDP the allocation may outlive an interruption. */
export class ServerWatch {
  readonly #clock: Clock;
  readonly #keepAliveMs: number;
  readonly #probe: (signal: AbortSignal) => Promise<void>;
  readonly #onHealth: (health: PathHealth) => void;
  #monitor: Monitor;
  #stopped = false;

  /**
   * @param options.keepAliveMs interval of the probes while the allocation is idle
   * @param options.onHealth may call {@link stop}
   */
  constructor(
    { clock }: { clock: Clock },
    options: { keepAliveMs: number; probe(signal: AbortSignal): Promise<void>; onHealth(health: PathHealth): void },
  ) {
    this.#clock = clock;
    this.#keepAliveMs = options.keepAliveMs;
    this.#probe = (signal) => options.probe(signal);
    this.#onHealth = (health) => options.onHealth(health);
    this.#monitor = this.#start({ afterDead: false });
  }

  /** Data was sent through the server. */
  sent(): void {
    this.#monitor.sent();
  }

  /** Data has come through the server. */
  heard(): void {
    this.#monitor.heard();
  }

  /** Probes the server now, and does not wait for what was asked long ago. */
  verify(): void {
    this.#monitor.wake();
  }

  stop(): void {
    this.#stopped = true;
    this.#monitor.stop();
  }

  #start({ afterDead }: { afterDead: boolean }): Monitor {
    let dead = afterDead;
    const monitor: Monitor = new Monitor(
      { clock: this.#clock },
      {
        // A server that did not answer is probed at the normal interval until it does.
        role: afterDead ? 'standby' : 'current',
        times: { ...TIMES, idleIntervalMs: this.#keepAliveMs, standbyIntervalMs: this.#keepAliveMs },
        probe: async (signal) => {
          await this.#probe(signal);
          return undefined;
        },
        onHealth: (health) => {
          if (!dead) this.#report(health);
          else if (health === 'dead') this.#restart();
        },
        onMeasured: () => {
          if (!dead) return;
          dead = false;
          monitor.setRole('current');
          this.#report('good');
        },
      },
    );
    return monitor;
  }

  #report(health: PathHealth): void {
    this.#onHealth(health);
    if (health === 'dead' && !this.#stopped) this.#restart();
  }

  #restart(): void {
    this.#monitor.stop();
    this.#monitor = this.#start({ afterDead: true });
  }
}
