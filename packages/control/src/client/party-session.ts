import { type Clock, errorMessage, isAbort, type Log, type Random, type Timer } from '@towpath/core';
import { ControlError } from '../control-error.ts';
import type { PartyView, PeerView, Suspicion } from '../control-plane.ts';
import { fromBase64, toBase64 } from '../encoding/bytes.ts';
import type { PartyId, PeerId, SignatureVerifier, SigningKey } from '../identity/keys.ts';
import type { NodeIdentity } from '../identity/node-identity.ts';
import { authorByMember } from '../membership/author.ts';
import { MAX_ANNOUNCEMENT_DATA_BYTES, signAnnouncement } from '../membership/announcement.ts';
import type { LogHead, Member, PartyState } from '../membership/party-state.ts';
import { examineStatement } from '../membership/rules.ts';
import { MAX_SIGNAL_DATA_BYTES, SignalChannel } from '../membership/signal-seal.ts';
import type { SignedStatement } from '../membership/statement.ts';
import type { PresenceEntry, ServerMessage } from '../wire/messages.ts';
import type { SavedParty } from './client-storage.ts';
import { checkSize } from './check-size.ts';
import type { Doubt, Offer, PartyReplica } from './party-replica.ts';
import { PeerBook } from './peer-book.ts';
import { lengthAtServer } from './readable-length.ts';
import type { ServerLink } from './server-link.ts';
import type { ControlTransport } from './transport.ts';

/** What one party tells the client that it belongs to. */
export interface PartySessionHandlers {
  onParty(view: PartyView): void;
  onPresence(peer: PeerView): void;
  onSignal(from: PeerId, data: Uint8Array): void;
  onLeft(reason: 'removed' | 'left'): void;
  onSuspicion(suspicion: Suspicion): void;
  /** Something worth keeping has changed. */
  onChanged(): void;
}

/** Tries against others who extend the same log at the same time. */
const APPEND_TRIES = 40;
/** The wait after the n-th lost race is random up to n times this. */
const APPEND_PAUSE_MS = 8;
/** More than so many statements since the last checkpoint make founder and admins set one. */
const CHECKPOINT_AFTER = 64;
/** Leaders draw lots who sets it. */
const CHECKPOINT_SPREAD_MS = 3_000;
/** How often statements are given back to a server that has lost them. */
const RESTORE_EVERY_MS = 60_000;
/** After a refusal: it was too much, or others may have given back what the server had lost. */
const FOLLOW_AGAIN_MS = 5_000;
/**
 * After the log has grown every member announces its head again, once, within this time per member of the party: about
 * one announcement per second in all, however large the party.
 */
const GOSSIP_MS_PER_MEMBER = 1_000;

/** One party as this node follows it. */
export class PartySession {
  readonly replica: PartyReplica;
  /** This node has decided to leave. */
  leaving = false;
  readonly #transport: ControlTransport;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #log: Log;
  readonly #link: ServerLink;
  readonly #identity: () => NodeIdentity;
  readonly #handlers: PartySessionHandlers;
  readonly #peers: PeerBook;
  readonly #channels = new Map<PeerId, { theirs: string; channel: SignalChannel | undefined }>();
  readonly #reported = new Set<string>();
  readonly #closing = new AbortController();
  #ownData: Uint8Array | undefined;
  #announcedAt = 0;
  #restoredAt = Number.NEGATIVE_INFINITY;
  #followAgain: Timer | undefined;
  #checkpoint: Timer | undefined;
  #gossip: Timer | undefined;
  #left = false;

  constructor(
    components: {
      replica: PartyReplica;
      transport: ControlTransport;
      clock: Clock;
      random: Random;
      log: Log;
      link: ServerLink;
      identity: () => NodeIdentity;
      verify: SignatureVerifier;
    },
    handlers: PartySessionHandlers,
  ) {
    this.replica = components.replica;
    this.#transport = components.transport;
    this.#clock = components.clock;
    this.#random = components.random;
    this.#log = components.log;
    this.#link = components.link;
    this.#identity = components.identity;
    this.#handlers = handlers;
    this.#peers = new PeerBook(this.id, components);
  }

  get id(): PartyId {
    return this.replica.id;
  }

  get self(): Member | undefined {
    return this.replica.state.memberByKey(this.#identity().signing.publicKey);
  }

  view(): PartyView | undefined {
    const { state } = this.replica;
    const { self } = this;
    if (self === undefined || state.head === undefined) return undefined;
    const peers: PeerView[] = [];
    for (const member of state.members.values()) if (member !== self) peers.push(this.#peerView(member));
    const { name, partyKey, head } = state;
    return { id: this.id, name, partyKey, self, head, peers, invites: [...state.invites.values()] };
  }

  saved(): SavedParty {
    const { partyKey } = this.replica;
    return { partyKey, statements: this.replica.since(0), announcements: this.#peers.announcements() };
  }

  /** Takes over what a file remembers of the peers. */
  async restore(announcements: ReadonlyMap<PeerId, Uint8Array>): Promise<void> {
    for (const [peer, bytes] of announcements) await this.#hear({ peer, online: false, announcement: toBase64(bytes) });
  }

  /** There is a connection: ask for everything that happened meanwhile. */
  follow(): void {
    if (this.#left) return;
    const announcement = this.#ownAnnouncement();
    this.#link.send({
      type: 'follow',
      party: this.id,
      next: this.replica.length,
      ...(announcement === undefined ? {} : { announcement }),
    });
  }

  async receive(message: ServerMessage): Promise<void> {
    switch (message.type) {
      case 'statements':
        await this.#statements(message);
        break;
      case 'presence':
        await this.#presenceChanged(message.entries, message.whole);
        break;
      case 'signal':
        await this.#signalled(message.from, message.payload);
        break;
      case 'refused':
        await this.#refused(message.reason);
        break;
      default:
        break;
    }
  }

  announce(data: Uint8Array): void {
    checkSize(data, MAX_ANNOUNCEMENT_DATA_BYTES);
    this.#ownData = new Uint8Array(data);
    this.#sendAnnouncement();
  }

  async signal(peer: PeerId, data: Uint8Array, signal?: AbortSignal): Promise<void> {
    checkSize(data, MAX_SIGNAL_DATA_BYTES);
    const channel = this.#channel(peer);
    const { head } = this.replica.state;
    if (channel === undefined || head === undefined) {
      throw new ControlError('not-a-member', `${peer} is not a member of ${this.replica.state.name}.`, {
        target: peer,
      });
    }
    const sealed = channel.seal({ timeMs: this.#transport.serverTime(), head, data }, this.#random);
    await this.#link.signal({ party: this.id, to: peer, payload: toBase64(sealed) }, signal);
  }

  /**
   * Adds a statement to the log. `build` is called with the newest state, again whenever somebody else was faster;
   * undefined means that there is nothing to say any more.
   * @param key signs the requests: of an invite, by whoever is no member yet.
   * @throws ControlError `invalid-statement` when the rules do not allow it, `conflict` when others are always faster.
   */
  async say(
    build: (state: PartyState) => SignedStatement | undefined,
    signal?: AbortSignal,
    key: SigningKey = this.#identity().signing,
  ): Promise<void> {
    for (let tries = 1; tries <= APPEND_TRIES; tries++) {
      const statement = build(this.replica.state);
      if (statement === undefined) return;
      const verdict = examineStatement(this.replica.state, statement);
      if (!verdict.ok)
        throw new ControlError('invalid-statement', verdict.failure.message, { details: { ...verdict.failure } });
      const outcome = await this.#transport.append(this.id, statement.sequence, statement.bytes, { key, signal });
      const news = outcome.ok ? [statement.bytes] : outcome.statements;
      const offer = await this.offer(statement.sequence, news);
      if (outcome.ok) return;
      // The server does not say what came before: not to this key, so reading tells why not.
      if (news.length === 0) await this.sync(signal, key);
      if (offer.doubt !== undefined) throw new ControlError('untrusted-log', offer.doubt.message);
      await this.#clock.sleep(this.#random.next() * APPEND_PAUSE_MS * tries, signal);
    }
    throw new ControlError('conflict', 'Others changed the party at every try. Try again in a moment.');
  }

  /** Reads what the servers have and this node has not. @returns how many statements they say there are. */
  async sync(signal?: AbortSignal, key: SigningKey = this.#identity().signing, overlap: 0 | 1 = 0): Promise<number> {
    for (;;) {
      const from = Math.max(0, this.replica.length - overlap);
      const { length, statements } = await this.#transport.readLog(this.id, from, {
        key,
        signal: signal ?? this.#closing.signal,
      });
      const { added, doubt } = await this.offer(from, statements);
      if (added === 0 || doubt !== undefined || this.replica.length >= length) return length;
    }
  }

  /** Asks once, without a connection: what is new in the log, and who is online. */
  async refresh(signal?: AbortSignal): Promise<void> {
    // The newest statement is read again, so that another one in its place is noticed.
    const length = await lengthAtServer(this.sync(signal, this.#identity().signing, 1));
    if (this.#left) return;
    if (length === undefined) return this.#disowned();
    if (length < this.replica.length) await this.#checkServer(length);
    const entries = await this.#transport.readPresence(this.id, { key: this.#identity().signing, signal });
    await this.#presenceChanged(entries, true);
  }

  /** Verifies statements, takes over the good ones and says what that changes. */
  async offer(from: number, statements: readonly Uint8Array[]): Promise<Offer> {
    const was = this.self;
    const offer = await this.replica.offer(from, statements);
    if (offer.doubt !== undefined) this.#suspect(offer.doubt);
    if (offer.added > 0) this.#advanced(was);
    return offer;
  }

  /** Somebody's head, heard from the member itself. */
  async observeHead(from: PeerId, head: LogHead): Promise<void> {
    const fit = this.replica.compare(head);
    if (fit === 'known') return;
    if (fit === 'ahead' && this.#link.connection !== undefined) await this.sync();
    const now = this.replica.compare(head);
    const name = this.replica.state.members.get(from)?.name ?? from;
    if (now === 'fork') {
      const message = `${name} has verified another history of the party than this node: the control server shows different members different things. Compare with other members.`;
      this.#suspect({ kind: 'fork', sequence: head.sequence, message });
    } else if (now === 'ahead' && this.#link.connection !== undefined) {
      const message = `${name} has seen statement ${head.sequence} of the party, but the control server shows only ${this.replica.length} here: it hides something, maybe a removal.`;
      this.#suspect({ kind: 'withheld', sequence: head.sequence, message });
    }
  }

  close(): void {
    this.#left = true;
    this.#checkpoint?.cancel();
    this.#gossip?.cancel();
    this.#followAgain?.cancel();
    this.#closing.abort(new ControlError('closed', 'The party is not followed any more.'));
  }

  async #statements({ from, length, statements }: ServerMessage & { type: 'statements' }): Promise<void> {
    const decoded = statements.map((text) => fromBase64(text) ?? new Uint8Array(0));
    const { gap, doubt } = await this.offer(from, decoded);
    if (gap) this.follow();
    else if (length < this.replica.length && doubt === undefined) await this.#checkServer(length);
  }

  /** The server named fewer statements than are known here: before a statement of ours came in, or did it lose some? */
  async #checkServer(length: number): Promise<void> {
    const last = this.replica.length - 1;
    const { signing: key } = this.#identity();
    const { statements } = await this.#transport.readLog(this.id, last, { key, signal: this.#closing.signal });
    if (statements.length === 0) await this.#restoreServer(length);
    else await this.offer(last, statements);
  }

  /** The server has less than this node has verified: say so, and give the statements back. */
  async #restoreServer(length: number): Promise<void> {
    const message = `The control server shows ${length} statements of the party, ${this.replica.length} were verified before: its data is old, or it hides something. The missing ones are given back to it.`;
    this.#suspect({ kind: 'rollback', sequence: length, message });
    const now = this.#clock.now();
    // A server that does not keep what it is given is not given it again and again.
    if (now - this.#restoredAt < RESTORE_EVERY_MS) return;
    this.#restoredAt = now;
    const { signing: key } = this.#identity();
    for (const [at, bytes] of this.replica.since(length).entries()) {
      const outcome = await this.#transport.append(this.id, length + at, bytes, { key, signal: this.#closing.signal });
      if (!outcome.ok) await this.offer(length + at, outcome.statements);
    }
    this.follow();
  }

  async #refused(reason: 'not-a-member' | 'not-found' | 'limit-exceeded'): Promise<void> {
    if (this.#left) return;
    if (reason === 'not-found') {
      await this.#restoreServer(0);
      return;
    }
    if (reason === 'limit-exceeded') {
      this.#followLater();
      return;
    }
    // Said to a connection under the keys before; the next one is on its way.
    if (this.#link.connectedAs !== this.#identity().signing) return;
    await lengthAtServer(this.sync());
    if (this.#left) return;
    this.#disowned();
    this.#followLater();
  }

  #disowned(): void {
    const message =
      'The control server says that this node is no member any more, without proof of it: it hides something, or its data is old.';
    this.#suspect({ kind: 'withheld', sequence: this.replica.length, message });
  }

  #followLater(): void {
    this.#followAgain ??= this.#clock.timer(FOLLOW_AGAIN_MS, () => {
      this.#followAgain = undefined;
      this.follow();
    });
  }

  async #presenceChanged(entries: readonly PresenceEntry[], whole: boolean): Promise<void> {
    if (whole) {
      const named = new Set(entries.map((entry) => entry.peer));
      for (const peer of this.#peers.online()) if (!named.has(peer)) await this.#hear({ peer, online: false });
    }
    for (const entry of entries) await this.#hear(entry);
  }

  async #hear(entry: PresenceEntry): Promise<void> {
    const member = this.replica.state.members.get(entry.peer);
    if (member === undefined) {
      this.#peers.hearOfStranger(entry);
      return;
    }
    if (member === this.self) return;
    const { changed, head } = await this.#peers.hear(member, entry);
    if (changed) this.#handlers.onPresence(this.#peerView(member));
    if (head === undefined) return;
    this.#handlers.onChanged();
    await this.observeHead(entry.peer, head);
  }

  async #signalled(from: PeerId, payload: string): Promise<void> {
    const bytes = fromBase64(payload);
    const opened = bytes && this.#channel(from)?.open(bytes, this.#transport.serverTime());
    if (opened === undefined) {
      this.#log.warn('a signal is not by the member it is said to be by, or not fresh', { party: this.id, peer: from });
      return;
    }
    this.#handlers.onSignal(from, opened.data);
    await this.observeHead(from, opened.head);
  }

  #channel(peer: PeerId): SignalChannel | undefined {
    const member = this.replica.state.members.get(peer);
    const { self } = this;
    if (member === undefined || self === undefined || member === self) return undefined;
    const { wireGuard } = this.#identity();
    const theirs = toBase64(member.wireGuardKey) + toBase64(wireGuard.publicKey);
    const known = this.#channels.get(peer);
    if (known?.theirs === theirs) return known.channel;
    const ends = { party: this.id, self: self.id, peer };
    const channel = SignalChannel.between({ ...ends, own: wireGuard, theirs: member.wireGuardKey });
    this.#channels.set(peer, { theirs, channel });
    return channel;
  }

  #ownAnnouncement(): string | undefined {
    const { self } = this;
    const { head } = this.replica.state;
    if (self === undefined || head === undefined) return undefined;
    this.#announcedAt = Math.max(this.#announcedAt + 1, Math.floor(this.#transport.serverTime()));
    const announcement = { timeMs: this.#announcedAt, head, data: this.#ownData ?? new Uint8Array(0) };
    return toBase64(signAnnouncement(announcement, { party: this.id, peer: self.id, key: this.#identity().signing }));
  }

  #advanced(was: Member | undefined): void {
    const { state } = this.replica;
    const arrived = this.#peers.keepOnly(state.members);
    for (const peer of [...this.#channels.keys()]) if (!state.members.has(peer)) this.#channels.delete(peer);
    this.#handlers.onChanged();
    const view = this.view();
    if (view !== undefined) {
      this.#handlers.onParty(view);
      this.#considerCheckpoint();
      this.#considerGossip();
      for (const entry of arrived) this.#inBackground(this.#hear(entry));
    } else if (was !== undefined && !this.#left) {
      this.close();
      this.#handlers.onLeft(this.leaving ? 'left' : 'removed');
    }
  }

  /** Leaders vouch for long stretches of the log, so that newcomers verify it in no time. */
  #considerCheckpoint(): void {
    const due = () =>
      this.self !== undefined && this.self.role !== 'member' && this.replica.state.unvouched >= CHECKPOINT_AFTER;
    if (!due() || this.#checkpoint !== undefined) return;
    this.#checkpoint = this.#clock.timer(this.#random.next() * CHECKPOINT_SPREAD_MS, () => {
      this.#checkpoint = undefined;
      const build = (state: PartyState) =>
        due()
          ? authorByMember(state, this.#identity().signing, { type: 'checkpoint' }, this.#transport.serverTime())
          : undefined;
      this.say(build, this.#closing.signal).catch((error: unknown) => {
        if (!isAbort(error)) this.#log.info('no checkpoint was set', { party: this.id, error: errorMessage(error) });
      });
    });
  }

  /** Members tell each other how far they have read, so that a server cannot show each of them something else. */
  #considerGossip(): void {
    const delayMs = this.#random.next() * GOSSIP_MS_PER_MEMBER * this.replica.state.members.size;
    this.#gossip ??= this.#clock.timer(delayMs, () => {
      this.#gossip = undefined;
      this.#sendAnnouncement();
    });
  }

  #sendAnnouncement(): void {
    const announcement = this.#ownAnnouncement();
    if (announcement !== undefined) this.#link.send({ type: 'announce', party: this.id, announcement });
  }

  #inBackground(work: Promise<unknown>): void {
    work.catch((error: unknown) => {
      if (!isAbort(error)) this.#log.warn('background work failed', { party: this.id, error: errorMessage(error) });
    });
  }

  #peerView(member: Member): PeerView {
    // Without a connection it is as `refresh` found it.
    return this.#peers.view(member, !this.#link.started || this.#link.connection !== undefined);
  }

  #suspect({ kind, sequence, message }: Doubt): void {
    const key = `${kind} ${sequence}`;
    if (this.#reported.has(key)) return;
    // A hostile server could make up endlessly many; the first ones say enough.
    if (this.#reported.size < 1_000) this.#reported.add(key);
    this.#log.error(message, { party: this.id, kind, sequence });
    this.#handlers.onSuspicion({ party: this.id, kind, sequence, message });
  }
}
