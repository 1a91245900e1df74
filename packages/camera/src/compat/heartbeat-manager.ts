import type { TowpathError } from '@towpath/core';
import type { CameraClient } from '../client/camera-client.ts';
import type { HeartbeatReport } from '../client/heartbeat.ts';
import { type CameraHandle, engineOf } from './camera-handle.ts';
import { HEARTBEAT_INTERVAL_SEC } from './config.ts';

export interface HeartbeatManagerOptions {
  /** Called when the connection is lost, for example after five heartbeats without acknowledgement. */
  onFailure?: ((error: TowpathError) => void) | undefined;
}

/** Lateness kept for {@link HeartbeatManager.jitter}. */
const MAX_SAMPLES = 1_000;

/**
 * The heartbeat of a camera client: command 525 every 3.0 s. The client starts it with the login and continues it after
 * each reconnect; this class shows it, and stops it when that is wanted.
 *
 * @example
 * const heartbeat = new HeartbeatManager(client);
 * await heartbeat.start();
 */
export class HeartbeatManager implements AsyncDisposable {
  /** Time between two heartbeats, s. */
  readonly interval: number = HEARTBEAT_INTERVAL_SEC;
  readonly #client: CameraClient;
  readonly #late: number[] = [];
  readonly #stops: (() => void)[];
  #running = true;
  #sent = 0;
  #last: HeartbeatReport | undefined;

  constructor(camera: CameraHandle, { onFailure }: HeartbeatManagerOptions = {}) {
    this.#client = engineOf(camera);
    this.#stops = [
      this.#client.events.on('heartbeat', (report) => this.#take(report)),
      this.#client.events.on('lost', (error) => onFailure?.(error)),
    ];
  }

  /** Heartbeats are sent while the camera is connected. */
  get running(): boolean {
    return this.#running;
  }

  /** Heartbeats sent so far. */
  get sent(): number {
    return this.#sent;
  }

  /** Heartbeats in a row that were not acknowledged; the client reconnects at 5. */
  get failures(): number {
    return this.#last?.failures ?? 0;
  }

  /** Sequence number of the last heartbeat, from 65537; undefined before the first. */
  get sequence(): number | undefined {
    return this.#last?.seq;
  }

  /** The latest that one of the last 1000 heartbeats was after its planned time, s. */
  get jitter(): number {
    return Math.max(0, ...this.#late) / 1_000;
  }

  /** Starts the heartbeat. Does nothing when it runs. */
  async start(): Promise<void> {
    this.#running = true;
    this.#client.setHeartbeat(true);
  }

  /** Stops the heartbeat, until the next start. The session stays open. */
  async stop(): Promise<void> {
    this.#running = false;
    this.#client.setHeartbeat(false);
  }

  /** Stops listening; the client's heartbeat is not changed. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const stop of this.#stops) stop();
  }

  #take(report: HeartbeatReport): void {
    this.#last = report;
    this.#sent++;
    this.#late.push(report.lateMs);
    if (this.#late.length > MAX_SAMPLES) this.#late.shift();
  }
}
