import { type Clock, errorMessage, type Log, type Random } from '@towpath/core';
import { fromBase64, toBase64 } from '../encoding/bytes.ts';
import type { PartyId, PeerId } from '../identity/keys.ts';
import type { PartyState } from '../membership/party-state.ts';
import type { ControlStore } from '../store/store.ts';
import {
  type ClientMessage,
  type FollowMessage,
  MAX_PARTIES_PER_NODE,
  type PresenceEntry,
  type ServerMessage,
  type SignalMessage,
} from '../wire/messages.ts';
import { Cluster } from './cluster.ts';
import type { ClusterMessage } from './cluster-messages.ts';
import { PAGE_STATEMENTS, type PartyDirectory } from './party-directory.ts';
import { PartyHub } from './party-hub.ts';
import { type RateLimit, RateLimiter } from './rate-limit.ts';
import { type Following, Session, type SessionSink } from './session.ts';

/** Following costs a read of the log and a list of everybody: all parties of a node, a few times over. */
const FOLLOW_LIMIT: RateLimit = { perSecond: 2, burst: 4 * MAX_PARTIES_PER_NODE };
/** How long the other servers are given to say who is there. */
const ASK_SERVERS_MS = 200;

/** Numbers for metrics; a snapshot. */
export interface SwitchboardCounts {
  sessions: number;
  followedParties: number;
  servers: number;
  /** Signals passed on. */
  signals: number;
  /** Signals that reached nobody. */
  undelivered: number;
}

/** The connected nodes of one server: who follows which party, what is pushed to whom, signals between them. */
export class Switchboard {
  readonly #store: ControlStore;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #directory: PartyDirectory;
  readonly #cluster: Cluster;
  readonly #limiter: RateLimiter;
  readonly #follows: RateLimiter;
  readonly #sessions = new Map<string, Session>();
  readonly #hubs = new Map<PartyId, { hub: PartyHub; opened: Promise<() => void> }>();
  readonly #counts = { signals: 0, undelivered: 0 };
  #closed = false;
  #stopWatching = () => {};

  constructor(
    components: { store: ControlStore; clock: Clock; random: Random; log: Log; directory: PartyDirectory },
    init: { messageLimit: RateLimit },
  ) {
    this.#store = components.store;
    this.#clock = components.clock;
    this.#log = components.log;
    this.#directory = components.directory;
    this.#limiter = new RateLimiter(this.#clock, init.messageLimit);
    this.#follows = new RateLimiter(this.#clock, FOLLOW_LIMIT);
    this.#cluster = new Cluster(components, {
      onMessage: (message, party) => this.#heard(message, party),
      onServerSeen: () => {
        for (const party of this.#hubs.keys()) this.#askWhoIsThere(party);
      },
      onServerGone: (server) => {
        for (const { hub } of this.#hubs.values()) hub.forget(server);
      },
    });
  }

  get serverId(): string {
    return this.#cluster.id;
  }

  get counts(): SwitchboardCounts {
    return {
      sessions: this.#sessions.size,
      followedParties: this.#hubs.size,
      servers: this.#cluster.size,
      ...this.#counts,
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
    for (const session of [...this.#sessions.values()]) {
      session.close('shutting-down');
      this.detach(session);
    }
    this.#cluster.close();
    for (const { opened } of this.#hubs.values()) (await opened)();
  }

  /** A node has connected; an older connection of the same node is closed. */
  attach(key: Uint8Array, sink: SessionSink): Session {
    const keyText = toBase64(key);
    const session = new Session(key, keyText, sink);
    this.#sessions.get(keyText)?.close('replaced');
    this.#sessions.set(keyText, session);
    session.send({ type: 'welcome', server: this.#cluster.id, timeMs: this.#clock.wallTime() });
    return session;
  }

  /** The node's connection is gone. Idempotent. */
  detach(session: Session): void {
    if (session.closed) return;
    session.closed = true;
    if (this.#sessions.get(session.keyText) === session) this.#sessions.delete(session.keyText);
    for (const party of [...session.parties.keys()]) this.#unfollow(session, party);
  }

  /** A message of a connected node. @returns false when the node sends too much and has to be dropped. */
  async receive(session: Session, message: ClientMessage): Promise<boolean> {
    if (this.#limiter.take(session.keyText) > 0) {
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
      case 'announce': {
        const following = session.parties.get(message.party);
        if (following) this.#hubs.get(message.party)?.hub.update(following.peer, message.announcement);
        break;
      }
      case 'signal':
        this.#signal(session, message);
        break;
      default:
        message satisfies never;
    }
    return true;
  }

  /** Tells every server that a statement was appended. */
  announceStatement(party: PartyId, sequence: number, bytes: Uint8Array): void {
    const statement = toBase64(bytes);
    this.#cluster.tellParty(party, { kind: 'statement', server: this.#cluster.id, sequence, statement });
  }

  /** Who is there, on any server. */
  async presence(party: PartyId, peers: readonly PeerId[]): Promise<PresenceEntry[]> {
    const hub = await this.#hub(party);
    // Nobody of the party is here: the other servers are being asked, and answer in no time if they do.
    if (hub.empty && this.#cluster.size > 1) await this.#clock.sleep(ASK_SERVERS_MS);
    const entries = peers.map((peer) => hub.entry(peer));
    this.#closeIfEmpty(party);
    return entries;
  }

  broadcast(message: ServerMessage): void {
    const text = JSON.stringify(message);
    for (const session of this.#sessions.values()) session.sendText(text);
  }

  async #follow(session: Session, message: FollowMessage): Promise<void> {
    const { party, next, announcement } = message;
    const refuse = (reason: 'not-a-member' | 'not-found' | 'limit-exceeded') =>
      session.send({ type: 'refused', party, reason });
    if (this.#follows.take(session.keyText) > 0) return refuse('limit-exceeded');
    if (session.parties.size >= MAX_PARTIES_PER_NODE && !session.parties.has(party)) return refuse('limit-exceeded');
    const state = await this.#directory.current(party);
    if (state === undefined) return refuse('not-found');
    const member = state.memberByKey(session.key);
    if (member === undefined) {
      const end = state.endOfKey(session.key);
      // Whoever was removed while away gets the proof of it.
      if (end !== undefined) await this.#sendPages(session, party, next, end + 1);
      return refuse('not-a-member');
    }
    const hub = await this.#hub(party);
    if (session.closed) return this.#closeIfEmpty(party);
    const following: Following = { peer: member.id, next, reading: false, readAgain: false };
    session.parties.set(party, following);
    hub.enter(member.id, session, announcement);
    // Said even when nothing is missing, so that a node notices when the server has less than it.
    session.send({ type: 'statements', party, from: next, length: state.length, statements: [] });
    await this.#push(session, party, following);
  }

  #unfollow(session: Session, party: PartyId): void {
    const following = session.parties.get(party);
    const entry = this.#hubs.get(party);
    session.parties.delete(party);
    if (following === undefined || entry === undefined) return;
    entry.hub.leave(following.peer, session);
    this.#closeIfEmpty(party);
  }

  async #hub(party: PartyId): Promise<PartyHub> {
    let entry = this.#hubs.get(party);
    if (entry === undefined) {
      const hub = new PartyHub(party, {
        clock: this.#clock,
        publish: (_, entries, whole) =>
          this.#cluster.tellParty(party, { kind: 'presence', server: this.#cluster.id, entries, whole }),
      });
      entry = { hub, opened: this.#cluster.joinParty(party) };
      this.#hubs.set(party, entry);
      await entry.opened;
      this.#askWhoIsThere(party);
    }
    await entry.opened;
    return entry.hub;
  }

  #closeIfEmpty(party: PartyId): void {
    const entry = this.#hubs.get(party);
    if (entry === undefined || !entry.hub.empty) return;
    this.#hubs.delete(party);
    entry.hub.close();
    this.#inBackground(entry.opened.then((stop) => stop()));
  }

  #signal(session: Session, { id, party, to, payload }: SignalMessage): void {
    const from = session.parties.get(party)?.peer;
    const hub = this.#hubs.get(party)?.hub;
    if (from === undefined || hub === undefined) {
      session.send({ type: 'undelivered', id, reason: 'not-a-member' });
      return;
    }
    const target = hub.session(to);
    const server = target === undefined ? hub.serverOf(to) : undefined;
    if (target !== undefined) {
      this.#counts.signals++;
      target.send({ type: 'signal', party, from, payload });
      session.send({ type: 'delivered', id });
    } else if (server !== undefined) {
      const sender = session.keyText;
      this.#cluster.tellServer(server, {
        kind: 'signal',
        server: this.#cluster.id,
        sender,
        id,
        party,
        from,
        to,
        payload,
      });
    } else {
      this.#counts.undelivered++;
      session.send({ type: 'undelivered', id, reason: 'peer-offline' });
    }
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
        this.#signalFromServer(message);
        break;
      case 'signalled': {
        const { id, delivered } = message;
        this.#counts[delivered ? 'signals' : 'undelivered']++;
        this.#sessions
          .get(message.sender)
          ?.send(delivered ? { type: 'delivered', id } : { type: 'undelivered', id, reason: 'peer-offline' });
        break;
      }
      case 'alive':
      case 'gone':
        // The cluster's own affair.
        break;
      default:
        message satisfies never;
    }
  }

  #signalFromServer({ server, sender, id, party, from, to, payload }: ClusterMessage & { kind: 'signal' }): void {
    const target = this.#hubs.get(party)?.hub.session(to);
    target?.send({ type: 'signal', party, from, payload });
    const delivered = target !== undefined;
    this.#cluster.tellServer(server, { kind: 'signalled', server: this.#cluster.id, sender, id, delivered });
  }

  /** A statement was appended, here or elsewhere: everybody who follows gets it; who is out, is out. */
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
      if (following.next === sequence && !following.reading && bytes !== undefined) {
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

  /** Sends what a session lacks, from the store. */
  async #push(session: Session, party: PartyId, following: Following): Promise<void> {
    following.readAgain = true;
    if (following.reading) return;
    following.reading = true;
    try {
      while (following.readAgain && session.parties.get(party) === following) {
        following.readAgain = false;
        following.next = await this.#sendPages(session, party, following.next, Number.POSITIVE_INFINITY);
      }
    } finally {
      following.reading = false;
    }
  }

  async #sendPages(session: Session, party: PartyId, from: number, end: number): Promise<number> {
    for (let next = from; ; ) {
      const limit = Math.max(0, Math.min(PAGE_STATEMENTS, end - next));
      const page = await this.#store.readLog(party, next, limit);
      if (page.length > 0) {
        const length = next + page.length;
        session.send({ type: 'statements', party, from: next, length, statements: page.map(toBase64) });
      }
      next += page.length;
      if (page.length < PAGE_STATEMENTS || session.closed) return next;
    }
  }

  /** The bus may have lost messages: read every followed log again and ask everybody who is there. */
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
      if (!this.#closed) this.#log.error('background work failed', { error: errorMessage(error) });
    });
  }
}
