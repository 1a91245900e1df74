import { initialMonitor, type MonitorEvent, type MonitorState, type MonitorTimes, stepMonitor } from '@towpath/core';
import { EARLY_MS } from './options.ts';

/** Next action of the keep-alive rule. */
export type KeepAliveStep = 'wait' | 'send-alive' | 'dead';

/**
 * The keep-alive rule of docs/protocol/pppp.md, "Keep-alive", on the suspicion machine of all paths: an ALIVE per
 * interval without a datagram; the session is dead after a number of unanswered ones. The session's timer drives it.
 */
export class KeepAlive {
  readonly #times: MonitorTimes;
  #state: MonitorState;
  #wakeAtMs: number = Number.POSITIVE_INFINITY;
  #probes = false;
  /** Clock time of the last datagram from the peer. */
  lastReceivedAt: number;

  constructor(now: number, times: MonitorTimes) {
    this.#times = times;
    this.#state = initialMonitor(now, 'current');
    this.lastReceivedAt = now;
    this.#dispatch({ type: 'heard', data: false, atMs: now });
  }

  /** Takes note of a datagram of the peer. The machine is told of it when its time has come, not for each datagram. */
  onReceived(now: number): void {
    this.lastReceivedAt = now;
  }

  get deadline(): number {
    return this.#isUntold ? this.lastReceivedAt + this.#times.activeIntervalMs : this.#wakeAtMs;
  }

  /** Call at {@link deadline}. */
  step(now: number): KeepAliveStep {
    const atMs = this.deadline;
    if (now + EARLY_MS < atMs) return 'wait';
    if (this.#isUntold) this.#dispatch({ type: 'heard', data: false, atMs: this.lastReceivedAt });
    this.#dispatch({ type: 'tick', atMs: Math.max(now, atMs) });
    if (this.#state.health === 'dead') return 'dead';
    return this.#probes ? 'send-alive' : 'wait';
  }

  get #isUntold(): boolean {
    return this.lastReceivedAt > this.#state.lastHeardAtMs;
  }

  #dispatch(event: MonitorEvent): void {
    const { state, effects } = stepMonitor(this.#state, event, this.#times);
    this.#state = state;
    this.#probes = false;
    for (const effect of effects) {
      if (effect.type === 'wake') this.#wakeAtMs = effect.atMs;
      else if (effect.type === 'probe') this.#probes = true;
    }
  }
}
