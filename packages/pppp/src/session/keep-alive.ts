import { EARLY_MS } from './options.ts';

/** What the keep-alive rule asks for at a moment. */
export type KeepAliveStep = 'wait' | 'send-alive' | 'dead';

/** The keep-alive rule of spec §7.5: an ALIVE per interval of silence, death after so many unanswered. */
export class KeepAlive {
  readonly #intervalMs: number;
  readonly #limit: number;
  #unanswered = 0;
  #from: number;
  /** Clock time of the last datagram from the peer. */
  lastReceivedAt: number;

  constructor(now: number, intervalMs: number, limit: number) {
    this.#intervalMs = intervalMs;
    this.#limit = limit;
    this.#from = now;
    this.lastReceivedAt = now;
  }

  /** Anything at all came from the peer. */
  onReceived(now: number): void {
    this.lastReceivedAt = now;
    this.#from = now;
    this.#unanswered = 0;
  }

  get deadline(): number {
    return this.#from + this.#intervalMs;
  }

  /** Call at {@link deadline}. */
  step(now: number): KeepAliveStep {
    if (now + EARLY_MS < this.deadline) return 'wait';
    if (this.#unanswered >= this.#limit) return 'dead';
    this.#unanswered++;
    this.#from = now;
    return 'send-alive';
  }
}
