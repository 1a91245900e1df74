import type { Clock } from '@towpath/core';
import type { PartyId, PeerId } from '@towpath/membership';
import type { SignalMessage, SignalOutcome } from '../wire/messages.ts';
import type { Cluster } from './cluster.ts';
import type { ClusterMessage } from './cluster-messages.ts';
import type { PartyHub } from './party-hub.ts';
import { PendingSignals } from './pending-signals.ts';
import type { Session } from './session.ts';

/** How long another server may take to say what became of a signal: it waits for the node itself. */
const BUS_LIMIT_MS = 3_000;

interface Signal {
  readonly party: PartyId;
  readonly from: PeerId;
  readonly to: PeerId;
  readonly payload: string;
}

interface Elsewhere {
  readonly server: string;
  settle(outcome: SignalOutcome): void;
}

/** Signals between nodes of one server or two. Every accepted signal ends with an answer to its sender. */
export class SignalRouter {
  readonly counts: { signals: number; undelivered: number } = { signals: 0, undelivered: 0 };
  readonly #clock: Clock;
  readonly #cluster: Cluster;
  readonly #hub: (party: PartyId) => PartyHub | undefined;
  readonly #pending: PendingSignals;
  /** Signals that another server is to deliver. */
  readonly #elsewhere = new Map<number, Elsewhere>();
  #nextElsewhere = 1;

  constructor(components: { clock: Clock; cluster: Cluster }, options: { hub(party: PartyId): PartyHub | undefined }) {
    this.#clock = components.clock;
    this.#cluster = components.cluster;
    this.#hub = options.hub;
    this.#pending = new PendingSignals(components);
  }

  /** Delivers a signal of a connected node, here or through another server, and tells the node what became of it. */
  route(session: Session, { id, party, to, payload }: SignalMessage): void {
    const from = session.parties.get(party)?.peer;
    const hub = this.#hub(party);
    if (from === undefined || hub === undefined) {
      session.send({ type: 'undelivered', id, reason: 'not-a-member' });
      return;
    }
    const settle = (outcome: SignalOutcome) => {
      this.counts[outcome === 'delivered' ? 'signals' : 'undelivered']++;
      session.send(outcome === 'delivered' ? { type: 'delivered', id } : { type: 'undelivered', id, reason: outcome });
    };
    const server = hub.session(to) === undefined ? hub.serverOf(to) : undefined;
    if (server === undefined) this.#deliver({ party, from, to, payload }, settle);
    else this.#askServer(server, { party, from, to, payload }, settle);
  }

  /** Delivers a signal that another server accepted, and tells that server what became of it. */
  deliverFor({ server, id, ...signal }: ClusterMessage & { kind: 'signal' }): void {
    this.#deliver(signal, (outcome) =>
      this.#cluster.tellServer(server, { kind: 'signalled', server: this.#cluster.id, id, outcome }),
    );
  }

  /** Another server says what became of a signal. */
  settleElsewhere(id: number, outcome: SignalOutcome): void {
    this.#elsewhere.get(id)?.settle(outcome);
  }

  /** @returns false when the node was not asked to acknowledge this. */
  acknowledge(session: Session, ack: number, taken: boolean): boolean {
    return this.#pending.acknowledge(session, ack, taken);
  }

  /** The connection of a node is gone. */
  drop(session: Session): void {
    this.#pending.drop(session);
  }

  serverGone(server: string): void {
    for (const signal of [...this.#elsewhere.values()]) if (signal.server === server) signal.settle('peer-offline');
  }

  close(): void {
    for (const signal of [...this.#elsewhere.values()]) signal.settle('peer-offline');
  }

  #deliver({ party, from, to, payload }: Signal, settle: (outcome: SignalOutcome) => void): void {
    const target = this.#hub(party)?.session(to);
    if (target === undefined || target.closed) {
      settle('peer-offline');
      return;
    }
    const ack = this.#pending.add(target, settle);
    if (ack === undefined) settle('limit-exceeded');
    else target.send({ type: 'signal', ack, party, from, payload });
  }

  /** Asks another server to deliver a signal; the wait is limited, because the bus may lose the question or its answer. */
  #askServer(server: string, signal: Signal, settle: (outcome: SignalOutcome) => void): void {
    const id = this.#nextElsewhere++;
    const timer = this.#clock.timer(BUS_LIMIT_MS, () => this.settleElsewhere(id, 'no-answer'));
    this.#elsewhere.set(id, {
      server,
      settle: (outcome) => {
        this.#elsewhere.delete(id);
        timer.cancel();
        settle(outcome);
      },
    });
    this.#cluster.tellServer(server, { kind: 'signal', server: this.#cluster.id, id, ...signal });
  }
}
