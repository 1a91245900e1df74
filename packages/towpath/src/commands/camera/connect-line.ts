import { type CameraClient, CameraState } from '@towpath/camera';
import { deadlineInterval, type Timer } from '@towpath/core';
import type { Runtime } from '../../cli/runtime.ts';
import { cut } from '../../cli/table.ts';

const TEXTS: Readonly<Record<CameraState, string>> = {
  [CameraState.DISCONNECTED]: 'not connected',
  [CameraState.DISCOVERING]: 'searching',
  [CameraState.DISCOVERED]: 'found',
  [CameraState.AUTHENTICATING]: 'logging in',
  [CameraState.CONNECTED]: 'connected',
  [CameraState.RECONNECTING]: 'searching again',
  [CameraState.CLOSED]: 'closed',
};

/** Returns what a state means for a person. */
export function stateText(state: CameraState): string {
  return TEXTS[state];
}

export interface ConnectLineOptions {
  host: string;
  /** Time limit for connecting, ms. */
  limitMs: number;
  /** Nothing is drawn. */
  quiet: boolean;
}

/** One line on a terminal: what the connect is doing, and the time left. */
export class ConnectLine implements Disposable {
  readonly #runtime: Runtime;
  readonly #camera: CameraClient;
  readonly #options: ConnectLineOptions;
  readonly #startedAtMs: number;
  readonly #stop: () => void;
  readonly #timer: Timer | undefined;
  #attempt = 1;
  #nextAtMs: number | undefined;

  constructor(runtime: Runtime, camera: CameraClient, options: ConnectLineOptions) {
    const { clock, io } = runtime;
    this.#runtime = runtime;
    this.#camera = camera;
    this.#options = { ...options, quiet: options.quiet || !io.interactive };
    this.#startedAtMs = clock.now();
    this.#stop = camera.events.on('tryFailed', ({ tries, nextMs }) => {
      this.#attempt = tries + 1;
      this.#nextAtMs = nextMs === undefined ? undefined : clock.now() + nextMs;
    });
    this.draw();
    if (!this.#options.quiet) {
      this.#timer = deadlineInterval({ clock, intervalMs: 1_000, onTick: () => this.draw() });
    }
  }

  /** Draws the line as it is now. */
  draw(): void {
    const { io } = this.#runtime;
    if (!this.#options.quiet) io.draw(io.style('dim', cut(this.#text(), Math.max(20, io.columns - 1))));
  }

  /** Removes the line, so that other output can follow; the next tick draws it again. */
  clear(): void {
    if (!this.#options.quiet) this.#runtime.io.draw('');
  }

  [Symbol.dispose](): void {
    this.#stop();
    this.#timer?.cancel();
    this.clear();
  }

  #text(): string {
    const { host, limitMs } = this.#options;
    const now = this.#runtime.clock.now();
    const left = Math.max(0, Math.ceil((limitMs - (now - this.#startedAtMs)) / 1_000));
    const waitMs = this.#nextAtMs === undefined ? 0 : this.#nextAtMs - now;
    const waits = this.#camera.state === CameraState.DISCONNECTED && waitMs > 0;
    // The state changes a moment after the attempt begins.
    const { state } = this.#camera;
    const doing = state === CameraState.DISCONNECTED ? CameraState.DISCOVERING : state;
    const what = waits ? `next attempt in ${Math.ceil(waitMs / 1_000)} s` : stateText(doing);
    return `Connecting to ${host}: attempt ${this.#attempt}, ${what}; ${left} s left`;
  }
}
