import type { Clock, Timer } from '@towpath/core';
import type { SignalOutcome } from '../wire/messages.ts';
import type { Session } from './session.ts';

/** How long a node may take to say that it has taken a signal, ms. */
const ACKNOWLEDGE_LIMIT_MS = 2_000;
/** Signals that one node may leave unacknowledged. */
const MAX_PENDING_PER_SESSION = 1_024;

interface Pending {
  readonly session: Session;
  readonly timer: Timer;
  settle(outcome: SignalOutcome): void;
}

/** Signals that were handed to connections and are not acknowledged yet. Each ends with exactly one outcome. */
export class PendingSignals {
  readonly #clock: Clock;
  readonly #pending = new Map<number, Pending>();
  readonly #bySession = new Map<Session, Set<number>>();
  #next = 1;

  constructor(components: { clock: Clock }) {
    this.#clock = components.clock;
  }

  get size(): number {
    return this.#pending.size;
  }

  /**
   * @param settle is called once: when the node acknowledges, its connection ends, or the time is up.
   * @returns the number by which the node acknowledges; undefined when it has too many unacknowledged signals.
   */
  add(session: Session, settle: (outcome: SignalOutcome) => void): number | undefined {
    const ofSession = this.#bySession.get(session) ?? new Set();
    if (ofSession.size >= MAX_PENDING_PER_SESSION) return undefined;
    const ack = this.#next++;
    const timer = this.#clock.timer(ACKNOWLEDGE_LIMIT_MS, () => this.#settle(ack, 'no-answer'));
    this.#pending.set(ack, { session, timer, settle });
    this.#bySession.set(session, ofSession.add(ack));
    return ack;
  }

  /** @returns false when the node was not asked to acknowledge this. */
  acknowledge(session: Session, ack: number, taken: boolean): boolean {
    if (this.#pending.get(ack)?.session !== session) return false;
    this.#settle(ack, taken ? 'delivered' : 'refused');
    return true;
  }

  /** The connection of a node is gone, and what it has not acknowledged may be lost. */
  drop(session: Session): void {
    for (const ack of [...(this.#bySession.get(session) ?? [])]) this.#settle(ack, 'peer-offline');
  }

  #settle(ack: number, outcome: SignalOutcome): void {
    const pending = this.#pending.get(ack);
    if (pending === undefined) return;
    this.#pending.delete(ack);
    const ofSession = this.#bySession.get(pending.session);
    ofSession?.delete(ack);
    if (ofSession?.size === 0) this.#bySession.delete(pending.session);
    pending.timer.cancel();
    pending.settle(outcome);
  }
}
