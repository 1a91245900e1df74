import { type Clock, Monitor, type MonitorTimes } from '@towpath/core';

/**
 * A ping every 3 s, whatever else is sent, and dead after two that were not answered in time: a connection that carries
 * nothing any more is noticed within 10 s.
 */
const TIMES: Partial<MonitorTimes> = {
  startIntervalMs: 3_000,
  activeIntervalMs: 3_000,
  idleIntervalMs: 3_000,
  minProbeLimitMs: 2_500,
  maxProbeLimitMs: 2_500,
  suspectAfter: 1,
  deadAfter: 2,
};

/** Watches a connection by pings. */
export class ConnectionWatch implements Disposable {
  readonly #monitor: Monitor;
  readonly #sent = new Map<string, () => void>();
  #count = 0;

  /**
   * @param options.ping sends a ping with this payload.
   * @param options.onDead called once pings are not answered.
   */
  constructor({ clock }: { clock: Clock }, options: { ping(payload: string): void; onDead(): void }) {
    this.#monitor = new Monitor(
      { clock },
      {
        probe: (signal) => this.#probe(options.ping, signal),
        onHealth: (health) => {
          if (health === 'dead') options.onDead();
        },
        times: TIMES,
      },
    );
  }

  /** A pong has arrived. */
  answered(payload: string): void {
    this.#sent.get(payload)?.();
  }

  [Symbol.dispose](): void {
    this.#monitor.stop();
  }

  #probe(ping: (payload: string) => void, signal: AbortSignal): Promise<undefined> {
    const payload = `${++this.#count}`;
    return new Promise<undefined>((resolve, reject) => {
      this.#sent.set(payload, () => resolve(undefined));
      signal.addEventListener('abort', () => reject(signal.reason), { once: true });
      ping(payload);
    }).finally(() => this.#sent.delete(payload));
  }
}
