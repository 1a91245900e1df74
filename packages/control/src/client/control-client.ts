import {
  type Clock,
  Events,
  errorMessage,
  isAbort,
  type Log,
  type Random,
  RateLimit,
  silentLog,
  type Timer,
} from '@towpath/core';
import { ControlError } from '../control-error.ts';
import type {
  ControlPlane,
  ControlPlaneEvents,
  InviteOptions,
  PartyView,
  Relay,
  TurnCredentials,
} from '../control-plane.ts';
import {
  authorAppointment,
  authorByMember,
  authorFounderReplacement,
  authorJoin,
  authorRotation,
  generateInviteCode,
  generateSigningKey,
  type Invite,
  type InvitedRole,
  isInviteCode,
  type LogHead,
  MAX_CLOCK_SKEW_MS,
  type MemberContent,
  openInviteCode,
  parseInviteLink,
  type PartyId,
  type PeerId,
  sealInvite,
  type SignatureVerifier,
  type SigningKey,
  signingKeyFromSeed,
  unsealInvite,
  verifySignatureInPool,
} from '@towpath/membership';
import type { NodeIdentity } from '../identity/node-identity.ts';
import type { ServerMessage } from '../wire/messages.ts';
import { type ClientStorage, MemoryStorage, type SavedParty } from './client-storage.ts';
import { PartySaver } from './party-saver.ts';
import { foundParty, readInvited } from './enter-party.ts';
import { farDate } from './far-date.ts';
import { PartyReplica } from './party-replica.ts';
import { PartySession } from './party-session.ts';
import { RelayCredentials } from './relay-credentials.ts';
import { ServerLink } from './server-link.ts';
import type { ControlTransport } from './transport.ts';

/** Default validity of an invite: one day. */
const DEFAULT_INVITE_MS = 24 * 3_600_000;
/** Each list of relays may make this node send to addresses that the server has chosen; the newest of more is taken later. */
const RELAY_LISTS = { perSecond: 0.2, burst: 5 };
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
  readonly events: Events<ControlPlaneEvents> = new Events();
  readonly #transport: ControlTransport;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #log: Log;
  readonly #storage: ClientStorage;
  readonly #verify: SignatureVerifier;
  readonly #link: ServerLink;
  readonly #sessions = new Map<PartyId, PartySession>();
  #identity: NodeIdentity;
  /** The next keys during a rotation: some parties have them already. */
  #nextIdentity: NodeIdentity | undefined;
  #rotating: Promise<unknown> = Promise.resolve();
  readonly #saver: PartySaver;
  readonly #credentials: RelayCredentials;
  #inbox: Promise<void> = Promise.resolve();
  #relays: readonly Relay[] = [];
  #newestRelays: readonly Relay[] = [];
  #relaysTimer: Timer | undefined;
  readonly #relayLists: RateLimit;
  /** Heads of members that are waiting to be compared. */
  readonly #claims = new Set<string>();
  #signalsFromMs: number | undefined;
  #closed = false;

  private constructor(components: ControlClientComponents) {
    const { transport, clock, random, log = silentLog } = components;
    this.#transport = transport;
    this.#clock = clock;
    this.#random = random;
    this.#log = log;
    this.#storage = components.storage ?? new MemoryStorage();
    this.#saver = new PartySaver({ storage: this.#storage, log }, (party) => this.#sessions.get(party)?.saved());
    this.#credentials = new RelayCredentials({ transport, clock });
    this.#relayLists = new RateLimit({ clock }, RELAY_LISTS);
    this.#verify = components.verify ?? verifySignatureInPool;
    this.#identity = components.identity;
    this.#link = new ServerLink(
      { transport, clock, random, log },
      {
        key: () => this.#identity.signing,
        onMessage: (message) => this.#enqueue(() => this.#receive(message)),
        onUp: ({ address }) => {
          for (const session of this.#sessions.values()) session.follow();
          this.#emit('server', { connected: true, address });
        },
        onDown: () => this.#emit('server', { connected: false, address: undefined }),
        onClockSkew: ({ message }) => this.#suspectClock(message),
      },
    );
  }

  /**
   * Loads and verifies the stored parties, and starts to connect; does not wait for a server.
   * @throws ControlError `invalid-identity` when the storage is damaged.
   */
  static async open(components: ControlClientComponents): Promise<ControlClient> {
    const client = new ControlClient(components);
    for (const saved of await client.#storage.loadAll()) await client.#restore(saved);
    if (components.live ?? true) client.#link.start();
    return client;
  }

  get connected(): boolean {
    return this.#link.connection !== undefined;
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
    return [...this.#sessions.values()].flatMap((session) => session.view() ?? []);
  }

  party(id: PartyId): PartyView | undefined {
    return this.#sessions.get(id)?.view();
  }

  /**
   * Requests once what is new in a party and who is online; needs no connection. Verification failures are
   * emitted as `suspicion` before this resolves.
   * @throws ControlError `server-unavailable`; `not-a-member` when this node was removed.
   */
  async refresh(party: PartyId, options: WithSignal = {}): Promise<PartyView> {
    const session = this.#require(party);
    await session.refresh(options.signal);
    const view = session.view();
    if (view !== undefined) return view;
    const message = `This node was removed from ${session.replica.state.name}. Next: ask for a new invite.`;
    throw new ControlError('not-a-member', message, { target: party });
  }

  async createParty(
    options: WithSignal & { name: string; memberName: string; setupCode?: string },
  ): Promise<PartyView> {
    const founded = await foundParty(
      {
        transport: this.#transport,
        clock: this.#clock,
        random: this.#random,
        storage: this.#storage,
        verify: this.#verify,
      },
      { ...options, keys: this.#keys(), request: this.#request(options.signal) },
    );
    return this.#follow(this.#session(founded));
  }

  async join(invite: Invite, options: WithSignal & { memberName: string }): Promise<PartyView> {
    const inviteKey = signingKeyFromSeed(invite.secret);
    const replica = this.#replica(invite.partyKey);
    const present = this.party(replica.id);
    if (present !== undefined) return present;
    const session = this.#session(replica);
    await readInvited(this.#transport, replica, invite.head, {
      invited: { key: inviteKey, signal: options.signal },
      own: this.#request(options.signal),
    });
    if (session.self === undefined) {
      await session.appendStatement(
        (state) =>
          authorJoin(state, {
            invite: inviteKey,
            node: this.#keys(),
            name: options.memberName,
            timeMs: this.#clock.wallTime(),
          }),
        options.signal,
        inviteKey,
      );
    }
    return this.#follow(session);
  }

  /**
   * Makes this node the founder of a party with the party's key: after its members were removed by somebody who had the
   * founder's node.
   * @param partySecret the content of the party's key file.
   * @throws ControlError `forbidden` when the servers do not know the key's party.
   */
  async recoverParty(partySecret: Uint8Array, options: WithSignal & { memberName: string }): Promise<PartyView> {
    const partyKey = signingKeyFromSeed(partySecret);
    const replica = this.#replica(partyKey.publicKey);
    const known = this.#sessions.get(replica.id);
    const session = known ?? this.#session(replica);
    await session.sync(options.signal, partyKey);
    const timeMs = this.#clock.wallTime();
    await session.appendStatement(
      (state) => {
        const member = state.memberByKey(this.#identity.signing.publicKey);
        if (member?.role === 'founder') return undefined;
        if (member !== undefined) return authorAppointment(state, { partyKey, member: member.id, timeMs });
        return authorFounderReplacement(state, { partyKey, node: this.#keys(), name: options.memberName, timeMs });
      },
      options.signal,
      partyKey,
    );
    return known === undefined ? this.#follow(session) : session.view()!;
  }

  async leave(party: PartyId, options: WithSignal = {}): Promise<void> {
    const session = this.#require(party);
    const self = session.self!.id;
    session.leaving = true;
    try {
      await this.#appendStatement(party, () => ({ type: 'remove', member: self }), options.signal);
    } catch (error) {
      session.leaving = false;
      throw error;
    }
  }

  async invite(party: PartyId, options: InviteOptions = {}): Promise<Invite> {
    const key = generateSigningKey(this.#random);
    const { role = 'member', maxUses = 1, validForMs = DEFAULT_INVITE_MS, signal } = options;
    const expiresAtMs = Math.floor(this.#clock.wallTime() + validForMs);
    const content: MemberContent = { type: 'invite', inviteKey: key.publicKey, role, maxUses, expiresAtMs };
    await this.#appendStatement(party, () => content, signal);
    const { partyKey, state } = this.#require(party).replica;
    return { partyKey, secret: key.seed, head: state.head!, servers: this.#transport.servers };
  }

  async shareInvite(party: PartyId, invite: Invite, options: WithSignal = {}): Promise<string> {
    const code = generateInviteCode(this.#random);
    const opened = await openInviteCode(code);
    const sealed = sealInvite(invite, opened, this.#random);
    const inviteKey = signingKeyFromSeed(invite.secret).publicKey;
    await this.#transport.keepInvite(
      party,
      { lookup: opened.lookup, inviteKey, sealed },
      this.#request(options.signal),
    );
    return code;
  }

  async openInvite(linkOrCode: string, options: WithSignal = {}): Promise<Invite> {
    if (!isInviteCode(linkOrCode)) return parseInviteLink(linkOrCode);
    const opened = await openInviteCode(linkOrCode);
    return unsealInvite(await this.#transport.findInvite(opened.lookup, this.#request(options.signal)), opened);
  }

  async revokeInvite(party: PartyId, inviteKey: Uint8Array, options: WithSignal = {}): Promise<void> {
    await this.#appendStatement(party, () => ({ type: 'revoke-invite', inviteKey }), options.signal);
  }

  async remove(party: PartyId, peer: PeerId, options: WithSignal = {}): Promise<void> {
    await this.#appendStatement(party, () => ({ type: 'remove', member: peer }), options.signal);
  }

  async setRole(party: PartyId, peer: PeerId, role: InvitedRole, options: WithSignal = {}): Promise<void> {
    await this.#appendStatement(party, () => ({ type: 'set-role', member: peer, role }), options.signal);
  }

  /**
   * Makes `peer` the founder, with the key of the party that this node keeps since it created the party.
   * @throws ControlError `forbidden` when the key is not here.
   */
  async appoint(party: PartyId, peer: PeerId, options: WithSignal = {}): Promise<void> {
    const seed = await this.#storage.loadPartySecret(party);
    if (seed === undefined) {
      throw new ControlError(
        'forbidden',
        'The key of this party is not on this machine. Next: run this where the party was created.',
      );
    }
    const partyKey = signingKeyFromSeed(seed);
    const timeMs = this.#clock.wallTime();
    await this.#require(party).appendStatement(
      (state) => authorAppointment(state, { partyKey, member: peer, timeMs }),
      options.signal,
    );
  }

  /**
   * Replaces this node's keys in every party; its ids and addresses stay. Store `next` before, and call again with the
   * same keys when it fails half way.
   */
  rotateKeys(next: NodeIdentity, options: WithSignal = {}): Promise<void> {
    // One after the other: each rotation starts from the keys of the previous one.
    const turn = this.#rotating.then(() => this.#rotate(next, options.signal));
    this.#rotating = turn.catch(() => undefined);
    return turn;
  }

  announce(party: PartyId, data: Uint8Array): void {
    this.#require(party).announce(data);
  }

  async signal(party: PartyId, peer: PeerId, data: Uint8Array, options: WithSignal = {}): Promise<void> {
    await this.#require(party).signal(peer, data, options.signal);
  }

  relays(): readonly Relay[] {
    return this.#relays;
  }

  turnCredentials(options: WithSignal = {}): Promise<TurnCredentials> {
    return this.#credentials.get(this.#sessions, this.#request(options.signal));
  }

  observeHead(party: PartyId, from: PeerId, head: LogHead): void {
    const session = this.#sessions.get(party);
    const claim = `${party} ${from}`;
    // The member says it again with its next echo.
    if (session === undefined || session.replica.compare(head) === 'known' || this.#claims.has(claim)) return;
    this.#claims.add(claim);
    void this.#enqueue(() => session.observeHead(from, head).finally(() => this.#claims.delete(claim)));
  }

  /** Closes the connection and stores everything. Idempotent. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#relaysTimer?.cancel();
    for (const session of this.#sessions.values()) session.close();
    await this.#link.close();
    await this.#inbox;
    await this.#saver.idle();
    await this.#transport.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #rotate(next: NodeIdentity, signal: AbortSignal | undefined): Promise<void> {
    this.#nextIdentity = next;
    const from = this.#identity.signing;
    const to = { signing: next.signing, wireGuardPublicKey: next.wireGuard.publicKey };
    for (const session of this.#sessions.values()) {
      await session.appendStatement(
        (state) =>
          state.memberByKey(next.signing.publicKey) === undefined
            ? authorRotation(state, { from, to, timeMs: this.#clock.wallTime() })
            : undefined,
        signal,
      );
    }
    this.#identity = next;
    this.#nextIdentity = undefined;
    this.#link.renew();
  }

  #appendStatement(party: PartyId, content: () => MemberContent, signal: AbortSignal | undefined): Promise<void> {
    const session = this.#require(party);
    const { signing } = this.#identityIn(session.replica);
    return session.appendStatement(
      (state) => authorByMember(state, signing, content(), this.#clock.wallTime()),
      signal,
    );
  }

  #follow(session: PartySession): PartyView {
    this.#sessions.set(session.id, session);
    this.#saver.changed(session.id);
    if (this.connected) session.follow();
    const view = session.view()!;
    this.#emit('party', view);
    return view;
  }

  async #restore(saved: SavedParty): Promise<void> {
    const replica = this.#replica(saved.partyKey);
    const { failure } = await replica.restore(saved.statements);
    const session = this.#session(replica);
    if (failure !== undefined || session.self === undefined) {
      this.#log.error('A stored party does not belong to this node or was changed; ignored', {
        party: replica.id,
        reason: failure?.message ?? 'this node is no member',
      });
      return;
    }
    this.#sessions.set(replica.id, session);
    await session.restore(saved.announcements);
  }

  #replica(partyKey: Uint8Array): PartyReplica {
    return new PartyReplica({ clock: this.#clock, verify: this.#verify }, { partyKey });
  }

  #session(replica: PartyReplica): PartySession {
    const party = replica.id;
    return new PartySession(
      {
        replica,
        transport: this.#transport,
        clock: this.#clock,
        random: this.#random,
        log: this.#log,
        link: this.#link,
        identity: () => this.#identityIn(replica),
        signalsFromMs: () => this.#signalsFromMs ?? Number.POSITIVE_INFINITY,
        verify: this.#verify,
      },
      {
        onParty: (view) => this.#sessions.has(party) && this.#emit('party', view),
        onPresence: (peer) => this.#emit('presence', { party, peer }),
        onSignal: (from, data) => this.#emit('signal', { party, from, data }),
        onSuspicion: (suspicion) => this.#emit('suspicion', suspicion),
        onChanged: () => this.#saver.changed(party),
        onLeft: (reason) => {
          this.#sessions.delete(party);
          this.#saver.changed(party);
          this.#emit('left', { party, reason });
        },
      },
    );
  }

  async #receive(message: ServerMessage): Promise<void> {
    if (message.type === 'welcome') {
      const now = this.#clock.wallTime();
      this.#signalsFromMs ??= Math.min(message.timeMs, Math.floor(this.#transport.serverTime()));
      if (Math.abs(message.timeMs - now) <= MAX_CLOCK_SKEW_MS) return;
      this.#suspectClock(farDate(this.#link.connection?.address ?? '', message.timeMs, now).message);
    } else if (message.type === 'relays') {
      this.#newestRelays = message.relays;
      if (this.#relaysTimer === undefined) this.#takeRelays();
    } else if ('party' in message) {
      const session = this.#sessions.get(message.party);
      if (session !== undefined) await session.receive(message);
      else if (message.type === 'signal') this.#link.send({ type: 'received', ack: message.ack, taken: false });
    }
  }

  #takeRelays(): void {
    this.#relaysTimer = undefined;
    if (this.#closed) return;
    if (!this.#relayLists.take()) {
      this.#relaysTimer = this.#clock.timer(Math.max(1, this.#relayLists.waitMs()), () => this.#takeRelays());
      return;
    }
    this.#relays = this.#newestRelays;
    this.#emit('relays', this.#relays);
  }

  #suspectClock(message: string): void {
    for (const session of this.#sessions.values()) session.suspectClock(message);
  }

  /** Messages are processed in order: a signal of a member comes after the statement that admits it. */
  #enqueue(work: () => Promise<void>): Promise<void> {
    this.#inbox = this.#inbox.then(work).catch((error: unknown) => {
      if (!this.#closed && !isAbort(error))
        this.#log.warn('A message could not be processed', { error: errorMessage(error) });
    });
    return this.#inbox;
  }

  #emit<Name extends keyof ControlPlaneEvents>(name: Name, value: ControlPlaneEvents[Name]): void {
    try {
      this.events.emit(name, value);
    } catch (error) {
      this.#log.error('a listener failed', { event: name, error: errorMessage(error) });
    }
  }

  #require(party: PartyId): PartySession {
    const session = this.#sessions.get(party);
    if (session !== undefined) return session;
    throw new ControlError('not-a-member', `This node is not in a party ${party}. Next: join it.`, { target: party });
  }

  #identityIn(replica: PartyReplica): NodeIdentity {
    const next = this.#nextIdentity;
    return next !== undefined && replica.state.memberByKey(next.signing.publicKey) !== undefined
      ? next
      : this.#identity;
  }

  #keys(): { signing: SigningKey; wireGuardPublicKey: Uint8Array } {
    return { signing: this.#identity.signing, wireGuardPublicKey: this.#identity.wireGuard.publicKey };
  }

  #request(signal: AbortSignal | undefined): { key: SigningKey; signal: AbortSignal | undefined } {
    return { key: this.#identity.signing, signal };
  }
}
