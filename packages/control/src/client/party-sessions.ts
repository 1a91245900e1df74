import type { Clock, Events, Log, Random } from '@towpath/core';
import type { PartyId, SignatureVerifier } from '@towpath/membership';
import { ControlError } from '../control-error.ts';
import type { ControlPlaneEvents, PartyView } from '../control-plane.ts';
import type { ServerMessage } from '../wire/messages.ts';
import type { ClientStorage, SavedParty } from './client-storage.ts';
import type { OwnKeys } from './own-keys.ts';
import { PartyReplica } from './party-replica.ts';
import { PartySaver } from './party-saver.ts';
import { PartySession } from './party-session.ts';
import type { ServerLink } from './server-link.ts';
import type { ControlTransport } from './transport.ts';

/** Components of {@link PartySessions}. */
export interface PartySessionsComponents {
  readonly transport: ControlTransport;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly storage: ClientStorage;
  readonly verify: SignatureVerifier;
  readonly link: ServerLink;
  readonly keys: OwnKeys;
  readonly events: Events<ControlPlaneEvents>;
}

/** The parties of this node: each is followed at the server, reported as events, and stored when it changes. */
export class PartySessions {
  readonly #components: PartySessionsComponents;
  readonly #signalsFromMs: () => number;
  readonly #saver: PartySaver;
  readonly #sessions = new Map<PartyId, PartySession>();

  /** @param options.signalsFromMs as {@link PartySession} takes it */
  constructor(components: PartySessionsComponents, options: { signalsFromMs(): number }) {
    this.#components = components;
    this.#signalsFromMs = () => options.signalsFromMs();
    this.#saver = new PartySaver(components, (party) => this.#sessions.get(party)?.saved());
  }

  /** The followed parties by id. */
  get all(): ReadonlyMap<PartyId, PartySession> {
    return this.#sessions;
  }

  /** Returns the session of a party that this node is in. @throws ControlError `not-a-member` for another party */
  require(party: PartyId): PartySession {
    const session = this.#sessions.get(party);
    if (session !== undefined) return session;
    throw new ControlError('not-a-member', `This node is not in a party ${party}. Next: join it.`, { target: party });
  }

  /** Loads and verifies the stored parties. @throws ControlError `invalid-identity` when the storage is damaged */
  async restore(): Promise<void> {
    for (const saved of await this.#components.storage.loadAll()) await this.#restoreParty(saved);
  }

  /** Returns an empty copy of a party's log. */
  newReplica(partyKey: Uint8Array): PartyReplica {
    return new PartyReplica(this.#components, { partyKey });
  }

  /** Returns the session of a party that is not followed yet: this node may still have to join it. */
  newSession(replica: PartyReplica): PartySession {
    const party = replica.id;
    const { events, keys } = this.#components;
    return new PartySession(
      {
        ...this.#components,
        replica,
        identity: () => keys.inParty(replica.state),
        signalsFromMs: this.#signalsFromMs,
      },
      {
        onParty: (view) => {
          if (this.#sessions.has(party)) events.emit('party', view);
        },
        onPresence: (peer) => events.emit('presence', { party, peer }),
        onSignal: (from, data) => events.emit('signal', { party, from, data }),
        onSuspicion: (suspicion) => events.emit('suspicion', suspicion),
        onChanged: () => this.#saver.changed(party),
        onLeft: (reason) => {
          this.#sessions.delete(party);
          this.#saver.changed(party);
          events.emit('left', { party, reason });
        },
      },
    );
  }

  /** Stores and follows a party that this node has entered. */
  add(session: PartySession): PartyView {
    this.#sessions.set(session.id, session);
    this.#saver.changed(session.id);
    if (this.#components.link.connection !== undefined) session.follow();
    const view = session.view()!;
    this.#components.events.emit('party', view);
    return view;
  }

  /** Requests what has happened in every party since the last connection. */
  follow(): void {
    for (const session of this.#sessions.values()) session.follow();
  }

  /** A server's date is too far from this machine's clock: reported in every party. */
  suspectClock(message: string): void {
    for (const session of this.#sessions.values()) session.suspectClock(message);
  }

  /** Processes a message about one party. */
  async receive(message: Extract<ServerMessage, { party: string }>): Promise<void> {
    const session = this.#sessions.get(message.party);
    if (session !== undefined) await session.receive(message);
    else if (message.type === 'signal') {
      this.#components.link.send({ type: 'received', ack: message.ack, taken: false });
    }
  }

  close(): void {
    for (const session of this.#sessions.values()) session.close();
  }

  /** Resolves when every change is stored. */
  async stored(): Promise<void> {
    await this.#saver.idle();
  }

  async #restoreParty(saved: SavedParty): Promise<void> {
    const replica = this.newReplica(saved.partyKey);
    const { failure } = await replica.restore(saved.statements);
    const session = this.newSession(replica);
    if (failure !== undefined || session.self === undefined) {
      this.#components.log.error('A stored party does not belong to this node or was changed; ignored', {
        party: replica.id,
        reason: failure?.message ?? 'this node is no member',
      });
      return;
    }
    this.#sessions.set(replica.id, session);
    await session.restore(saved.announcements);
  }
}
