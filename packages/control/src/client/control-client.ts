import { type Clock, errorMessage, Events, isAbort, type Log, type Random, silentLog } from '@towpath/core';
import {
  authorAppointment,
  type Invite,
  type InvitedRole,
  type LogHead,
  type PartyId,
  type PeerId,
  type SignatureVerifier,
  signingKeyFromSeed,
  verifySignatureInPool,
} from '@towpath/membership';
import { ControlError } from '../control-error.ts';
import type {
  ClockProblem,
  ControlPlane,
  ControlPlaneEvents,
  InviteOptions,
  PartyView,
  Relay,
  TurnCredentials,
} from '../control-plane.ts';
import type { NodeIdentity } from '../identity/node-identity.ts';
import type { ServerMessage } from '../wire/messages.ts';
import { type ClientStorage, MemoryStorage } from './client-storage.ts';
import { foundParty, joinParty, recoverParty } from './enter-party.ts';
import { Invites } from './invites.ts';
import { OwnKeys } from './own-keys.ts';
import { PartySessions } from './party-sessions.ts';
import { RelayCredentials } from './relay-credentials.ts';
import { RelayList } from './relay-list.ts';
import { usableRelays } from './usable-relays.ts';
import { ServerDate } from './server-date.ts';
import { ServerLink } from './server-link.ts';
import type { ControlTransport } from './transport.ts';

interface WithSignal {
  signal?: AbortSignal | undefined;
}

/** Components of a {@link ControlClient}. */
export interface ControlClientComponents {
  readonly transport: ControlTransport;
  readonly identity: NodeIdentity;
  readonly clock: Clock;
  /** Must be unpredictable: source of keys and nonces. */
  readonly random: Random;
  readonly log?: Log | undefined;
  /** @default memory only */
  readonly storage?: ClientStorage;
  /** Checks signatures. @default on the threads of Node's pool */
  readonly verify?: SignatureVerifier;
  /**
   * Keep a connection, over which servers push and which makes this node present. False for a program that runs one
   * operation and calls `refresh`: it does not replace the connection of a program of the same node that stays
   * connected. @default true
   */
  readonly live?: boolean;
}

/**
 * The node's end of the control plane. It verifies every party itself, keeps one connection to a server, and
 * uses its stored data while none can be reached.
 */
export class ControlClient implements ControlPlane {
  readonly events: Events<ControlPlaneEvents>;
  readonly #components: {
    readonly transport: ControlTransport;
    readonly clock: Clock;
    readonly random: Random;
    readonly log: Log;
    readonly storage: ClientStorage;
    readonly verify: SignatureVerifier;
    readonly keys: OwnKeys;
  };
  readonly #link: ServerLink;
  readonly #sessions: PartySessions;
  readonly #invites: Invites;
  readonly #relays: RelayList;
  readonly #credentials: RelayCredentials;
  readonly #serverDate: ServerDate;
  #inbox: Promise<void> = Promise.resolve();
  /** Heads of members that are waiting to be compared. */
  readonly #claims = new Set<string>();
  #signalsFromMs: number | undefined;
  #closed = false;

  private constructor(components: ControlClientComponents) {
    const { clock, log = silentLog, storage = new MemoryStorage(), verify = verifySignatureInPool } = components;
    const keys = new OwnKeys(components, { identity: components.identity });
    const { transport, random } = components;
    this.#components = { transport, clock, random, log, storage, verify, keys };
    this.events = new Events(log);
    this.#invites = new Invites(components);
    this.#relays = new RelayList(components, { onChanged: (relays) => this.events.emit('relays', relays) });
    this.#credentials = new RelayCredentials(components);
    this.#serverDate = new ServerDate(components);
    this.#link = new ServerLink(this.#components, {
      key: () => keys.current.signing,
      onMessage: (message, server) => this.#enqueue(() => this.#receive(message, server)),
      onUp: ({ address }) => {
        this.#sessions.follow();
        this.events.emit('server', { connected: true, address });
      },
      onDown: () => this.events.emit('server', { connected: false, address: undefined }),
      onClockSkew: ({ message }) => {
        this.#serverDate.refuse(message);
        this.#sessions.suspectClock(message);
      },
    });
    this.#sessions = new PartySessions(
      { ...this.#components, link: this.#link, events: this.events },
      { signalsFromMs: () => this.#signalsFromMs ?? Number.POSITIVE_INFINITY },
    );
  }

  /**
   * Loads and verifies the stored parties, and starts to connect; does not wait for a server.
   * @throws ControlError `invalid-identity` when the storage is damaged.
   */
  static async open(components: ControlClientComponents): Promise<ControlClient> {
    const client = new ControlClient(components);
    await client.#sessions.restore();
    if (components.live ?? true) client.#link.start();
    return client;
  }

  get connected(): boolean {
    return this.#link.connection !== undefined;
  }

  /** What is wrong with the date that the server gave last; undefined when nothing is. */
  get clockProblem(): ClockProblem | undefined {
    return this.#serverDate.problem;
  }

  /** Connects again at once: the network has changed, and the previous connection may be dead without an error. */
  reconnect(): void {
    if (!this.#closed && this.#link.started) this.#link.renew();
  }

  /** Resolves once a server is connected. @throws the signal's reason when it aborts. */
  ready(signal?: AbortSignal): Promise<void> {
    return this.#link.ready(signal);
  }

  parties(): PartyView[] {
    return [...this.#sessions.all.values()].flatMap((session) => session.view() ?? []);
  }

  party(id: PartyId): PartyView | undefined {
    return this.#sessions.all.get(id)?.view();
  }

  /**
   * Requests once what is new in a party and who is online; needs no connection. Verification failures are
   * emitted as `suspicion` before this resolves.
   * @throws ControlError `server-unavailable`; `not-a-member` when this node was removed.
   */
  async refresh(party: PartyId, options: WithSignal = {}): Promise<PartyView> {
    const session = this.#sessions.require(party);
    await session.refresh(options.signal);
    const view = session.view();
    if (view !== undefined) return view;
    const message = `This node was removed from ${session.replica.state.name}. Next: ask for a new invite.`;
    throw new ControlError('not-a-member', message, { target: party });
  }

  async createParty(
    options: WithSignal & { name: string; memberName: string; setupCode?: string },
  ): Promise<PartyView> {
    const { keys } = this.#components;
    const founded = await foundParty(this.#components, {
      ...options,
      keys: keys.node,
      request: keys.request(options.signal),
    });
    return this.#sessions.add(this.#sessions.newSession(founded));
  }

  async join(invite: Invite, options: WithSignal & { memberName: string }): Promise<PartyView> {
    const replica = this.#sessions.newReplica(invite.partyKey);
    const present = this.party(replica.id);
    if (present !== undefined) return present;
    const session = this.#sessions.newSession(replica);
    const { memberName, signal } = options;
    await joinParty(this.#components, session, { invite, memberName, signal });
    return this.#sessions.add(session);
  }

  /**
   * Makes this node the founder of a party with the party's key: after its members were removed by somebody who had the
   * founder's node.
   * @param partySecret the content of the party's key file.
   * @throws ControlError `forbidden` when the servers do not know the key's party.
   */
  async recoverParty(partySecret: Uint8Array, options: WithSignal & { memberName: string }): Promise<PartyView> {
    const partyKey = signingKeyFromSeed(partySecret);
    const replica = this.#sessions.newReplica(partyKey.publicKey);
    const known = this.#sessions.all.get(replica.id);
    const session = known ?? this.#sessions.newSession(replica);
    const { memberName, signal } = options;
    await recoverParty(this.#components, session, { partyKey, memberName, signal });
    return known === undefined ? this.#sessions.add(session) : session.view()!;
  }

  async leave(party: PartyId, options: WithSignal = {}): Promise<void> {
    const session = this.#sessions.require(party);
    const self = session.self!.id;
    session.leaving = true;
    try {
      await session.appendAsMember({ type: 'remove', member: self }, options.signal);
    } catch (error) {
      session.leaving = false;
      throw error;
    }
  }

  async invite(party: PartyId, options: InviteOptions = {}): Promise<Invite> {
    return this.#invites.create(this.#sessions.require(party), options);
  }

  async shareInvite(party: PartyId, invite: Invite, options: WithSignal = {}): Promise<string> {
    return this.#invites.share(party, invite, this.#components.keys.request(options.signal));
  }

  async openInvite(linkOrCode: string, options: WithSignal = {}): Promise<Invite> {
    return this.#invites.open(linkOrCode, this.#components.keys.request(options.signal));
  }

  async revokeInvite(party: PartyId, inviteKey: Uint8Array, options: WithSignal = {}): Promise<void> {
    await this.#sessions.require(party).appendAsMember({ type: 'revoke-invite', inviteKey }, options.signal);
  }

  async remove(party: PartyId, peer: PeerId, options: WithSignal = {}): Promise<void> {
    await this.#sessions.require(party).appendAsMember({ type: 'remove', member: peer }, options.signal);
  }

  async setRole(party: PartyId, peer: PeerId, role: InvitedRole, options: WithSignal = {}): Promise<void> {
    await this.#sessions.require(party).appendAsMember({ type: 'set-role', member: peer, role }, options.signal);
  }

  /**
   * Makes `peer` the founder, with the key of the party that this node keeps since it created the party.
   * @throws ControlError `forbidden` when the key is not here.
   */
  async appoint(party: PartyId, peer: PeerId, options: WithSignal = {}): Promise<void> {
    const seed = await this.#components.storage.loadPartySecret(party);
    if (seed === undefined) {
      throw new ControlError(
        'forbidden',
        'The key of this party is not on this machine. Next: run this where the party was created.',
      );
    }
    const partyKey = signingKeyFromSeed(seed);
    const timeMs = this.#components.clock.wallTime();
    await this.#sessions
      .require(party)
      .appendStatement((state) => authorAppointment(state, { partyKey, member: peer, timeMs }), options.signal);
  }

  /**
   * Replaces this node's keys in every party; its ids and addresses stay. Store `next` before, and call again with the
   * same keys when it fails half way.
   */
  rotateKeys(next: NodeIdentity, options: WithSignal = {}): Promise<void> {
    return this.#components.keys.rotate(next, {
      sessions: () => this.#sessions.all.values(),
      onRotated: () => this.#link.renew(),
      signal: options.signal,
    });
  }

  announce(party: PartyId, data: Uint8Array): void {
    this.#sessions.require(party).announce(data);
  }

  async signal(party: PartyId, peer: PeerId, data: Uint8Array, options: WithSignal = {}): Promise<void> {
    await this.#sessions.require(party).signal(peer, data, options.signal);
  }

  relays(): readonly Relay[] {
    return this.#relays.current;
  }

  turnCredentials(options: WithSignal = {}): Promise<TurnCredentials> {
    return this.#credentials.get(this.#sessions.all, this.#components.keys.request(options.signal));
  }

  observeHead(party: PartyId, from: PeerId, head: LogHead): void {
    const session = this.#sessions.all.get(party);
    const claim = `${party} ${from}`;
    // The member sends its head again with its next echo.
    if (session === undefined || session.replica.compare(head) === 'known' || this.#claims.has(claim)) return;
    this.#claims.add(claim);
    void this.#enqueue(() => session.observeHead(from, head).finally(() => this.#claims.delete(claim)));
  }

  /** Closes the connection and stores everything. Idempotent. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#relays[Symbol.dispose]();
    this.#sessions.close();
    await this.#link.close();
    await this.#inbox;
    await this.#sessions.stored();
    await this.#components.transport.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #receive(message: ServerMessage, server: string): Promise<void> {
    if (message.type === 'welcome') {
      this.#signalsFromMs ??= Math.min(message.timeMs, Math.floor(this.#components.transport.serverTime()));
      const text = this.#serverDate.take(server, message.timeMs);
      if (text !== undefined) this.#sessions.suspectClock(text);
    } else if (message.type === 'relays') {
      this.#relays.offer(usableRelays(message.relays, this.#link.connection?.address));
    } else if ('party' in message) {
      await this.#sessions.receive(message);
    }
  }

  /** Messages are processed in order: a signal of a member comes after the statement that admits it. */
  #enqueue(work: () => Promise<void>): Promise<void> {
    this.#inbox = this.#inbox.then(work).catch((error: unknown) => {
      if (!this.#closed && !isAbort(error))
        this.#components.log.warn('A message could not be processed', { error: errorMessage(error) });
    });
    return this.#inbox;
  }
}
