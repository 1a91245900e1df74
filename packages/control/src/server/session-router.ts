import { type Clock, errorMessage, type Log, type Random, RateLimit, type RateLimitOptions } from '@towpath/core';
import { fromBase64, type PartyId, type PartyState, type PeerId, toBase64 } from '@towpath/membership';
import type { ControlStore } from '../store/store.ts';
import {
  type ClientMessage,
  type FollowMessage,
  MAX_PARTIES_PER_NODE,
  type PresenceEntry,
  type ServerMessage,
} from '../wire/messages.ts';
import { Cluster } from './cluster.ts';
import type { ClusterMessage } from './cluster-messages.ts';
import { PAGE_STATEMENTS, type PartyDirectory } from './party-directory.ts';
import { PartyHub } from './party-hub.ts';
import { type Following, Session, type SessionSink } from './session.ts';
import { SignalRouter } from './signal-router.ts';

/** Following costs a read of the log and a list of everybody: all parties of a node, a few times over. */
const FOLLOW_LIMIT: RateLimitOptions = { perSecond: 2, burst: 4 * MAX_PARTIES_PER_NODE };
/** Every announcement goes to all members that are online; the newest of those over the limit is passed on later. */
const ANNOUNCE_LIMIT: RateLimitOptions = { perSecond: 1, burst: 20 };
/** What following costs of the budget of messages. */
const FOLLOW_COST = 8;
/** How long the other servers' presence is awaited, ms. */
const ASK_SERVERS_MS = 200;

interface OpenHub {
  readonly hub: PartyHub;
  /** Resolves when the party's channel is subscribed, with what ends the subscription. */
  readonly opened: Promise<() => void>;
  /** Who is about to enter it, or to read it. */
  users: number;
}

/** Numbers for metrics; a snapshot. */
export interface SessionCounts {
  sessions: number;
  followedParties: number;
  servers: number;
  /** Signals that their receivers have taken. */
  signals: number;
  /** Signals whose sender was told that they were not taken. */
  undelivered: number;
}

/** The connected nodes of one server: which parties they follow, what is pushed to them, signals between them. */
export class SessionRouter {
  readonly #store: ControlStore;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #directory: PartyDirectory;
  readonly #cluster: Cluster;
  readonly #limits: { perNode: RateLimit; perSource: RateLimit; follows: RateLimit; announcements: RateLimit };
  readonly #signals: SignalRouter;
  /** By node, the oldest first: a node may have a connection for each of its parties. */
  readonly #sessions = new Map<string, Set<Session>>();
  readonly #hubs = new Map<PartyId, OpenHub>();
  #closed = false;
  #stopWatching = () => {};

  constructor(
    components: { store: ControlStore; clock: Clock; random: Random; log: Log; directory: PartyDirectory },
    options: { messageLimit: RateLimitOptions; messageLimitPerAddress: RateLimitOptions },
  ) {
    this.#store = components.store;
    this.#clock = components.clock;
    this.#log = components.log;
    this.#directory = components.directory;
    this.#limits = {
      perNode: new RateLimit(components, options.messageLimit),
      perSource: new RateLimit(components, options.messageLimitPerAddress),
      follows: new RateLimit(components, FOLLOW_LIMIT),
      announcements: new RateLimit(components, ANNOUNCE_LIMIT),
    };
    this.#cluster = new Cluster(components, {
      onMessage: (message, party) => this.#heard(message, party),
      onServerSeen: () => {
        for (const party of this.#hubs.keys()) this.#askWhoIsThere(party);
      },
      onServerGone: (server) => {
        for (const { hub } of this.#hubs.values()) hub.forget(server);
        this.#signals.serverGone(server);
      },
    });
    this.#signals = new SignalRouter(
      { clock: this.#clock, cluster: this.#cluster },
      { hub: (party) => this.#hubs.get(party)?.hub },
    );
  }

  get serverId(): string {
    return this.#cluster.id;
  }

  get counts(): SessionCounts {
    return {
      sessions: [...this.#sessions.values()].reduce((sum, { size }) => sum + size, 0),
      followedParties: this.#hubs.size,
      servers: this.#cluster.size,
      ...this.#signals.counts,
    };
  }

  async open(): Promise<void> {
    await this.#cluster.open();
    this.#stopWatching = this.#store.onBusRestored(() => this.#catchUp());
  }

  /** Closes every session. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#stopWatching();
    for (const session of [...this.#sessions.values()].flatMap((sessions) => [...sessions])) {
      session.close('shutting-down');
      this.detach(session);
    }
    this.#signals.close();
    this.#cluster.close();
    for (const { opened } of this.#hubs.values()) (await opened)();
  }

  /** Registers the connection of a node. An older connection of the same node is closed, unless it follows a party: see `follow`. */
  attach(key: Uint8Array, source: string, sink: SessionSink): Session {
    const keyText = toBase64(key);
    const session = new Session(key, keyText, source, sink);
    const sessions = this.#sessions.get(keyText) ?? new Set();
    for (const older of [...sessions]) {
      if (older.parties.size > 0) continue;
      older.close('replaced');
      this.detach(older);
    }
    sessions.add(session);
    this.#sessions.set(keyText, sessions);
    session.send({ type: 'welcome', server: this.#cluster.id, timeMs: this.#clock.wallTime() });
    return session;
  }

  /** Removes a connection that has ended. Idempotent. */
  detach(session: Session): void {
    if (session.closed) return;
    session.closed = true;
    const sessions = this.#sessions.get(session.keyText);
    sessions?.delete(session);
    if (sessions?.size === 0) this.#sessions.delete(session.keyText);
    for (const party of [...session.parties.keys()]) this.#unfollow(session, party);
    this.#signals.drop(session);
  }

  /** Processes a message of a connected node. @returns false when the node sends too much and has to be dropped. */
  async receive(session: Session, message: ClientMessage): Promise<boolean> {
    // An acknowledgement that was asked for counts for the sender of the signal.
    if (message.type === 'received' && this.#signals.acknowledge(session, message.ack, message.taken)) return true;
    const cost = message.type === 'follow' ? FOLLOW_COST : 1;
    if (!this.#limits.perNode.take(session.keyText) || !this.#limits.perSource.take(session.source, cost)) {
      if (message.type !== 'signal') return false;
      session.send({ type: 'undelivered', id: message.id, reason: 'limit-exceeded' });
      return true;
    }
    switch (message.type) {
      case 'follow':
        await this.#follow(session, message);
        break;
      case 'unfollow':
        this.#unfollow(session, message.party);
        break;
      case 'announce':
        this.#announce(session, message.party, message.announcement);
        break;
      case 'signal':
        this.#signals.route(session, message);
        break;
      case 'received':
        // Too late: its sender was told that there was no answer.
        break;
      default:
        message satisfies never;
    }
    return true;
  }

  /** Informs every server of a new statement. */
  announceStatement(party: PartyId, sequence: number, bytes: Uint8Array): void {
    const statement = toBase64(bytes);
    this.#cluster.tellParty(party, { kind: 'statement', server: this.#cluster.id, sequence, statement });
  }

  /** Returns the presence of members on all servers. */
  async presence(party: PartyId, peers: readonly PeerId[]): Promise<PresenceEntry[]> {
    using open = this.#openHub(party);
    await open.opened;
    // No member is connected here: the other servers are asked; those that answer do so at once.
    if (open.hub.empty && this.#cluster.size > 1) await this.#clock.sleep(ASK_SERVERS_MS);
    return peers.map((peer) => open.hub.entry(peer));
  }

  broadcast(message: ServerMessage): void {
    const text = JSON.stringify(message);
    for (const sessions of this.#sessions.values()) for (const session of sessions) session.sendText(text);
  }

  async #follow(session: Session, message: FollowMessage): Promise<void> {
    const { party, next, announcement } = message;
    const refuse = (reason: 'not-a-member' | 'not-found' | 'limit-exceeded') =>
      session.send({ type: 'refused', party, reason });
    if (!this.#limits.follows.take(session.keyText)) return refuse('limit-exceeded');
    // Checked without a subscription first: nodes that are not members cause none.
    if (!(await this.#mayFollow(session, message, refuse))) return;
    using open = this.#openHub(party);
    await open.opened;
    // Read once the subscription is active: an earlier removal is in the log, a later one arrives as a message.
    const state = await this.#mayFollow(session, message, refuse);
    const member = state?.memberByKey(session.key);
    if (state === undefined || member === undefined || session.closed) return;
    if (session.parties.size >= MAX_PARTIES_PER_NODE && !session.parties.has(party)) return refuse('limit-exceeded');
    const following: Following = {
      peer: member.id,
      next,
      reading: undefined,
      readAgain: false,
      announcement: undefined,
    };
    // An older connection of this node for the same party is a dead one.
    for (const older of this.#sessions.get(session.keyText) ?? [])
      if (older !== session && older.parties.has(party)) older.close('replaced');
    session.parties.set(party, following);
    open.hub.enter(member.id, session, announcement);
    // Sent even when nothing is missing, so that a node notices when the server has fewer statements than it has.
    session.send({ type: 'statements', party, from: next, length: state.length, statements: [] });
    await this.#push(session, party, following);
  }

  #announce(session: Session, party: PartyId, announcement: string): void {
    const following = session.parties.get(party);
    if (following === undefined) return;
    const waiting = following.announcement !== undefined;
    following.announcement = announcement;
    if (waiting) return;
    const passOn = (): void => {
      if (session.parties.get(party) !== following || following.announcement === undefined) return;
      if (!this.#limits.announcements.take(session.keyText)) {
        this.#clock.timer(Math.max(1, this.#limits.announcements.waitMs(session.keyText)), passOn);
        return;
      }
      this.#hubs.get(party)?.hub.update(following.peer, following.announcement);
      following.announcement = undefined;
    };
    passOn();
  }

  /** The state of a party that counts this node among its members now; else refuses, with proof of a removal. */
  async #mayFollow(
    session: Session,
    { party, next }: FollowMessage,
    refuse: (reason: 'not-a-member' | 'not-found') => void,
  ): Promise<PartyState | undefined> {
    const state = await this.#directory.current(party);
    if (state === undefined) {
      refuse('not-found');
      return undefined;
    }
    if (state.memberByKey(session.key) !== undefined) return state;
    const end = state.endOfKey(session.key);
    if (end !== undefined) await this.#sendPages(session, party, { from: next, end: end + 1, wanted: () => true });
    refuse('not-a-member');
    return undefined;
  }

  #unfollow(session: Session, party: PartyId): void {
    const following = session.parties.get(party);
    const entry = this.#hubs.get(party);
    session.parties.delete(party);
    if (following === undefined || entry === undefined) return;
    entry.hub.leave(following.peer, session);
    this.#closeIfEmpty(party);
  }

  /** The hub of a party, subscribed once `opened` resolves; it stays open at least until this is disposed of. */
  #openHub(party: PartyId): Disposable & { hub: PartyHub; opened: Promise<unknown> } {
    const open = this.#hubs.get(party) ?? this.#createHub(party);
    open.users++;
    return {
      hub: open.hub,
      opened: open.opened,
      [Symbol.dispose]: () => {
        open.users--;
        this.#closeIfEmpty(party);
      },
    };
  }

  #createHub(party: PartyId): OpenHub {
    const hub = new PartyHub(party, {
      clock: this.#clock,
      publish: (_, entries, whole) =>
        this.#cluster.tellParty(party, { kind: 'presence', server: this.#cluster.id, entries, whole }),
    });
    const opened = this.#cluster.joinParty(party).then((stop) => {
      this.#askWhoIsThere(party);
      return stop;
    });
    const open: OpenHub = { hub, opened, users: 0 };
    this.#hubs.set(party, open);
    // After a store failure no hub may be left that receives nothing.
    opened.catch(() => this.#hubs.get(party) === open && this.#hubs.delete(party));
    return open;
  }

  #closeIfEmpty(party: PartyId): void {
    const open = this.#hubs.get(party);
    if (open === undefined || open.users > 0 || !open.hub.empty) return;
    this.#hubs.delete(party);
    open.hub.close();
    this.#inBackground(open.opened.then((stop) => stop()));
  }

  #heard(message: ClusterMessage, party: PartyId | undefined): void {
    const hub = party === undefined ? undefined : this.#hubs.get(party)?.hub;
    switch (message.kind) {
      case 'statement':
        if (party !== undefined) this.#inBackground(this.#statement(party, message.sequence, message.statement));
        break;
      case 'presence':
        hub?.hear(message.server, message.entries, message.whole);
        break;
      case 'who-is-there':
        hub?.publishAll();
        break;
      case 'signal':
        this.#signals.deliverFor(message);
        break;
      case 'signalled':
        this.#signals.settleElsewhere(message.id, message.outcome);
        break;
      case 'alive':
      case 'gone':
        // Handled by the cluster.
        break;
      default:
        message satisfies never;
    }
  }

  /** A statement was appended, here or elsewhere: followers of the party get it; removed nodes stop following. */
  async #statement(party: PartyId, sequence: number, text: string): Promise<void> {
    const hub = this.#hubs.get(party)?.hub;
    if (hub === undefined) return;
    const bytes = fromBase64(text);
    const known = bytes && this.#directory.take(party, sequence, bytes);
    const state = known ?? (await this.#directory.current(party));
    if (state === undefined) return;
    const message: ServerMessage = {
      type: 'statements',
      party,
      from: sequence,
      length: sequence + 1,
      statements: [text],
    };
    const push = JSON.stringify(message);
    for (const session of hub.sessions()) {
      const following = session.parties.get(party);
      if (following === undefined) continue;
      if (following.next === sequence && following.reading === undefined && bytes !== undefined) {
        following.next++;
        session.sendText(push);
      } else if (following.next <= sequence) {
        this.#inBackground(this.#push(session, party, following).then(() => this.#expel(session, party, state)));
        continue;
      }
      this.#expel(session, party, state);
    }
  }

  #expel(session: Session, party: PartyId, state: PartyState): void {
    if (!session.parties.has(party) || state.memberByKey(session.key) !== undefined) return;
    session.send({ type: 'refused', party, reason: 'not-a-member' });
    this.#unfollow(session, party);
  }

  /** Sends what a session lacks, from the store; resolves when nothing is missing, or it does not follow any more. */
  #push(session: Session, party: PartyId, following: Following): Promise<void> {
    following.readAgain = true;
    following.reading ??= this.#readFor(session, party, following).finally(() => {
      following.reading = undefined;
    });
    return following.reading;
  }

  async #readFor(session: Session, party: PartyId, following: Following): Promise<void> {
    const follows = () => session.parties.get(party) === following;
    while (following.readAgain && follows()) {
      following.readAgain = false;
      const state = await this.#directory.current(party);
      if (state === undefined) return;
      // A node that was removed meanwhile reads up to its removal.
      const removed = state.memberByKey(session.key) === undefined;
      const end = removed ? (state.endOfKey(session.key) ?? -1) + 1 : state.length;
      following.next = await this.#sendPages(session, party, { from: following.next, end, wanted: follows });
    }
  }

  /** @returns the number of the statement after the last one that was sent. */
  async #sendPages(
    session: Session,
    party: PartyId,
    { from, end, wanted }: { from: number; end: number; wanted(): boolean },
  ): Promise<number> {
    using _turn = await session.pages.acquire();
    for (let next = from; ; ) {
      await session.drained();
      const limit = Math.max(0, Math.min(PAGE_STATEMENTS, end - next));
      const page = limit === 0 ? [] : await this.#store.readLog(party, next, limit);
      if (session.closed || !wanted()) return next;
      if (page.length > 0) {
        const length = next + page.length;
        session.send({ type: 'statements', party, from: next, length, statements: page.map(toBase64) });
      }
      next += page.length;
      if (page.length < PAGE_STATEMENTS) return next;
    }
  }

  /** The bus may have lost messages: read every followed log again and request presence. */
  #catchUp(): void {
    for (const [party, { hub }] of this.#hubs) {
      this.#askWhoIsThere(party);
      hub.publishAll();
      this.#inBackground(this.#catchUpParty(party, hub));
    }
  }

  async #catchUpParty(party: PartyId, hub: PartyHub): Promise<void> {
    const state = await this.#directory.current(party);
    for (const session of hub.sessions()) {
      const following = session.parties.get(party);
      if (following !== undefined) await this.#push(session, party, following);
      if (state !== undefined) this.#expel(session, party, state);
    }
  }

  #askWhoIsThere(party: PartyId): void {
    this.#cluster.tellParty(party, { kind: 'who-is-there', server: this.#cluster.id });
  }

  #inBackground(work: Promise<unknown>): void {
    work.catch((error: unknown) => {
      if (!this.#closed) this.#log.error('Background task failed', { error: errorMessage(error) });
    });
  }
}
