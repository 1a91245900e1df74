import { type Clock, errorMessage, isAbort, type Log, type Random, RateLimit, type Timer } from '@towpath/core';
import { ControlError } from '../control-error.ts';
import { statementRefused } from '../statement-refused.ts';
import type { PartyView, PeerView, Suspicion } from '../control-plane.ts';
import {
  authorByMember,
  examineStatement,
  fromBase64,
  type LogEntry,
  type LogHead,
  MAX_ANNOUNCEMENT_AGE_MS,
  MAX_ANNOUNCEMENT_DATA_BYTES,
  MAX_SIGNAL_DATA_BYTES,
  type Member,
  type MemberContent,
  type PartyId,
  type PartyState,
  type PeerId,
  type SignatureVerifier,
  type SignedStatement,
  type SigningKey,
  toBase64,
} from '@towpath/membership';
import type { NodeIdentity } from '../identity/node-identity.ts';
import type { PresenceEntry, ServerMessage } from '../wire/messages.ts';
import type { SavedParty } from './client-storage.ts';
import { checkSize } from './check-size.ts';
import { failureError, type Offer, type PartyReplica, type VerificationFailure } from './party-replica.ts';
import { OwnAnnouncement } from './own-announcement.ts';
import { PresenceCache } from './presence-cache.ts';
import { lengthAtServer } from './readable-length.ts';
import type { ServerLink } from './server-link.ts';
import { SignalChannels } from './signal-channels.ts';
import type { ControlTransport } from './transport.ts';

/** Callbacks of a party to its client. */
export interface PartySessionHandlers {
  onParty(view: PartyView): void;
  onPresence(peer: PeerView): void;
  onSignal(from: PeerId, data: Uint8Array): void;
  onLeft(reason: 'removed' | 'left'): void;
  onSuspicion(suspicion: Suspicion): void;
  /** State that must be stored has changed. */
  onChanged(): void;
}

/** Attempts when others extend the log at the same time. */
const APPEND_TRIES = 40;
/** The wait after the n-th conflict is random up to n times this. */
const APPEND_PAUSE_MS = 8;
/** After this many statements since the last checkpoint the founder and admins append one. */
const CHECKPOINT_AFTER = 64;
/** A random delay decides who appends it. */
const CHECKPOINT_SPREAD_MS = 3_000;
/** Interval at which missing statements are sent back to a server. */
const RESTORE_EVERY_MS = 60_000;
/** After a refusal: the limit was exceeded, or others may have sent the missing statements. */
const FOLLOW_AGAIN_MS = 5_000;
/** A member may claim any head, with every signal and echo: this many claims of one member cause reads of the log. */
const CLAIMS_OF_MEMBER = { perSecond: 0.2, burst: 4 };
/** Log lines about signals that cannot be opened. */
const IGNORED_LOG = { perSecond: 1 / 60, burst: 3 } as const;

/** One party as this node follows it. */
export class PartySession {
  readonly replica: PartyReplica;
  /** This node is leaving. */
  leaving = false;
  readonly #transport: ControlTransport;
  readonly #clock: Clock;
  /** Signals that could not be opened. */
  #ignored = 0;
  readonly #ignoredLog: RateLimit;
  readonly #random: Random;
  readonly #log: Log;
  readonly #link: ServerLink;
  readonly #identity: () => NodeIdentity;
  readonly #signalsFromMs: () => number;
  readonly #handlers: PartySessionHandlers;
  readonly #peers: PresenceCache;
  readonly #channels: SignalChannels;
  readonly #own: OwnAnnouncement;
  readonly #reported = new Set<string>();
  readonly #claims: RateLimit;
  readonly #closing = new AbortController();
  #restoredAt = Number.NEGATIVE_INFINITY;
  #followAgain: Timer | undefined;
  #checkpoint: Timer | undefined;
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
      /** Time of the first connection, by the server's clock: nonces of older signals are not remembered. */
      signalsFromMs: () => number;
      verify: SignatureVerifier;
    },
    handlers: PartySessionHandlers,
  ) {
    this.replica = components.replica;
    this.#transport = components.transport;
    this.#clock = components.clock;
    this.#ignoredLog = new RateLimit(components, IGNORED_LOG);
    this.#random = components.random;
    this.#log = components.log;
    this.#link = components.link;
    this.#identity = components.identity;
    this.#signalsFromMs = components.signalsFromMs;
    this.#handlers = handlers;
    this.#claims = new RateLimit(components, CLAIMS_OF_MEMBER);
    this.#peers = new PresenceCache(components, { party: this.id });
    this.#channels = new SignalChannels(components, { party: this.id });
    this.#own = new OwnAnnouncement(components, {
      party: this.id,
      announcer: () => {
        const { self } = this;
        const { head } = this.replica.state;
        return self && head && { self, head, key: this.#identity().signing };
      },
      send: (announcement) => this.#link.send({ type: 'announce', party: this.id, announcement }),
    });
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

  /** Restores the stored presence of the peers. */
  async restore(announcements: ReadonlyMap<PeerId, Uint8Array>): Promise<void> {
    for (const [peer, bytes] of announcements) {
      await this.#hear({ peer, online: false, announcement: toBase64(bytes) }, Number.POSITIVE_INFINITY);
    }
  }

  /** Requests everything that has happened since the last connection. */
  follow(): void {
    if (this.#left) return;
    const announcement = this.#own.text();
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
        await this.#signalled(message);
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
    this.#own.replace(data);
  }

  async signal(peer: PeerId, data: Uint8Array, signal?: AbortSignal): Promise<void> {
    checkSize(data, MAX_SIGNAL_DATA_BYTES);
    const { self } = this;
    const { head, members } = this.replica.state;
    const member = members.get(peer);
    const timeMs = this.#transport.serverTime();
    const sealed =
      self && head && member && member !== self ? this.#channels.seal(self, member, { timeMs, head, data }) : undefined;
    if (sealed === undefined) {
      throw new ControlError('not-a-member', `${peer} is not a member of ${this.replica.state.name}.`, {
        target: peer,
      });
    }
    await this.#link.signal({ party: this.id, to: peer, payload: toBase64(sealed) }, signal);
  }

  /**
   * Appends a statement to the log. `build` is called with the newest state, again after each conflict;
   * undefined means that nothing has to be appended any more.
   * @param key signs the requests: the key of an invite, for a node that is not a member yet
   * @throws ControlError `invalid-statement` when the rules do not allow it, `conflict` when others are always faster.
   */
  async appendStatement(
    build: (state: PartyState) => SignedStatement | undefined,
    signal?: AbortSignal | undefined,
    key: SigningKey = this.#identity().signing,
  ): Promise<void> {
    for (let tries = 1; tries <= APPEND_TRIES; tries++) {
      const statement = build(this.replica.state);
      if (statement === undefined) return;
      const verdict = examineStatement(this.replica.state, statement);
      if (!verdict.ok) throw statementRefused(verdict.failure);
      const outcome = await this.#transport.append(this.id, statement.sequence, statement.bytes, { key, signal });
      const news = outcome.ok ? [statement] : outcome.statements;
      const offer = await this.offer(statement.sequence, news);
      if (outcome.ok) return;
      // The server does not return the other statements for this key; a read shows why.
      if (news.length === 0) await this.sync(signal, key);
      if (offer.failure !== undefined) throw failureError(offer.failure);
      await this.#clock.sleep(this.#random.next() * APPEND_PAUSE_MS * tries, signal);
    }
    throw new ControlError(
      'conflict',
      'The party was changed by others at every attempt. Next: try again in a moment.',
    );
  }

  /** Appends a statement of this node, as {@link appendStatement}. */
  appendAsMember(content: MemberContent, signal: AbortSignal | undefined): Promise<void> {
    const { signing } = this.#identity();
    return this.appendStatement((state) => authorByMember(state, signing, content, this.#clock.wallTime()), signal);
  }

  /** Reads the statements that this node does not have. @returns the number of statements that the servers report */
  async sync(signal?: AbortSignal, key: SigningKey = this.#identity().signing, overlap: 0 | 1 = 0): Promise<number> {
    for (;;) {
      const from = Math.max(0, this.replica.length - overlap);
      const { length, statements } = await this.#transport.readLog(this.id, from, {
        key,
        signal: signal ?? this.#closing.signal,
      });
      const { added, failure } = await this.offer(from, statements);
      if (added === 0 || failure !== undefined || this.replica.length >= length) return length;
    }
  }

  /** Requests once, without a connection, what is new in the log and who is online. */
  async refresh(signal?: AbortSignal): Promise<void> {
    // The newest statement is read again, to detect another one in its place.
    const length = await lengthAtServer(this.sync(signal, this.#identity().signing, 1)).catch((error: unknown) => {
      if (error instanceof ControlError && error.code === 'clock-skew') this.suspectClock(error.message);
      throw error;
    });
    if (this.#left) return;
    if (length === undefined) return this.#disowned();
    if (length < this.replica.length) await this.#checkServer(length);
    const entries = await this.#transport.readPresence(this.id, { key: this.#identity().signing, signal });
    await this.#presenceChanged(entries, true);
  }

  /** Verifies statements, appends valid ones and emits the changes. */
  async offer(from: number, statements: readonly LogEntry[]): Promise<Offer> {
    const was = this.self;
    const offer = await this.replica.offer(from, statements);
    if (offer.failure !== undefined) this.#suspect(offer.failure);
    if (offer.added > 0) this.#advanced(was);
    return offer;
  }

  /** Takes the head that another member reported itself. */
  async observeHead(from: PeerId, head: LogHead): Promise<void> {
    const fit = this.replica.compare(head);
    if (fit === 'known') return;
    if (fit === 'ahead') {
      if (this.#link.connection === undefined || !this.#claims.take(from)) return;
      await this.sync();
    }
    const now = this.replica.compare(head);
    const name = this.replica.state.members.get(from)?.name ?? from;
    if (now === 'fork') {
      const message = `${name} has verified another history of the party than this node: the control server shows different logs to different members. Next: compare with other members.`;
      this.#suspect({ kind: 'fork', sequence: head.sequence, message });
    } else if (now === 'ahead' && this.#link.connection !== undefined) {
      const message = `${name} has seen statement ${head.sequence} of the party, but the control server shows only ${this.replica.length} here: statements are withheld, possibly a removal.`;
      this.#suspect({ kind: 'withheld', sequence: head.sequence, message });
    }
  }

  /** A server's date is too far from this machine's clock. */
  suspectClock(message: string): void {
    this.#suspect({ kind: 'clock', sequence: this.replica.length, message });
  }

  close(): void {
    this.#left = true;
    this.#own[Symbol.dispose]();
    this.#checkpoint?.cancel();
    this.#followAgain?.cancel();
    this.#closing.abort(new ControlError('closed', 'The party is not followed any more.'));
  }

  async #statements({ from, length, statements }: ServerMessage & { type: 'statements' }): Promise<void> {
    const decoded = statements.map((text) => fromBase64(text) ?? new Uint8Array(0));
    const { gap, failure } = await this.offer(from, decoded);
    if (gap) this.follow();
    else if (length < this.replica.length && failure === undefined) await this.#checkServer(length);
  }

  /** The server reports fewer statements than are known here: either ours arrived meanwhile, or it lost some. */
  async #checkServer(length: number): Promise<void> {
    const last = this.replica.length - 1;
    const { signing: key } = this.#identity();
    const { statements } = await this.#transport.readLog(this.id, last, { key, signal: this.#closing.signal });
    if (statements.length === 0) await this.#restoreServer(length);
    else await this.offer(last, statements);
  }

  /** The server has less than this node has verified: report it and send the statements back. */
  async #restoreServer(length: number): Promise<void> {
    const message = `The control server shows ${length} statements of the party, ${this.replica.length} were verified before: its data is old, or it withholds statements. The missing ones are sent back to it.`;
    this.#suspect({ kind: 'rollback', sequence: length, message });
    const now = this.#clock.now();
    // A server that does not store what it receives is not sent it again and again.
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
    // Refers to a connection with the previous keys; the next one is being opened.
    if (this.#link.connectedAs !== this.#identity().signing) return;
    await lengthAtServer(this.sync());
    if (this.#left) return;
    this.#disowned();
    this.#followLater();
  }

  #disowned(): void {
    const message =
      'The control server claims that this node is no longer a member, without a signed statement: it withholds data, or its data is old.';
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

  async #hear(entry: PresenceEntry, maxAgeMs: number = MAX_ANNOUNCEMENT_AGE_MS): Promise<void> {
    const member = this.replica.state.members.get(entry.peer);
    if (member === undefined) {
      this.#peers.hearOfStranger(entry);
      return;
    }
    if (member === this.self) return;
    const { changed, head } = await this.#peers.hear(member, entry, maxAgeMs);
    // What was said without a connection is corrected when the server says on the next one what it had said before.
    const isCorrected = this.#isConnected && this.#peers.takeCorrection(member);
    if (changed || isCorrected) this.#handlers.onPresence(this.#peerView(member));
    if (head === undefined) return;
    this.#handlers.onChanged();
    await this.observeHead(entry.peer, head);
  }

  async #signalled({ ack, from, payload }: ServerMessage & { type: 'signal' }): Promise<void> {
    const bytes = fromBase64(payload);
    const { self } = this;
    const member = this.replica.state.members.get(from);
    const times = { nowMs: this.#transport.serverTime(), notBeforeMs: this.#signalsFromMs() };
    const opened =
      bytes && self && member && member !== self ? this.#channels.open(self, member, bytes, times) : undefined;
    this.#link.send({ type: 'received', ack, taken: opened !== undefined });
    if (opened === undefined) {
      this.#ignored++;
      // A hostile server sends them without end.
      if (!this.#ignoredLog.take()) return;
      const what = { party: this.id, peer: from, ignored: this.#ignored };
      this.#log.warn('Signal ignored: not sealed by this member, replayed, or too old', what);
      return;
    }
    this.#handlers.onSignal(from, opened.data);
    await this.observeHead(from, opened.head);
  }

  #advanced(was: Member | undefined): void {
    const { state } = this.replica;
    const arrived = this.#peers.keepOnly(state.members);
    this.#channels.keepOnly(state.members);
    this.#handlers.onChanged();
    const view = this.view();
    if (view !== undefined) {
      this.#handlers.onParty(view);
      this.#considerCheckpoint();
      this.#own.logGrew(state.members.size);
      for (const entry of arrived) this.#inBackground(this.#hear(entry));
    } else if (was !== undefined && !this.#left) {
      this.close();
      this.#handlers.onLeft(this.leaving ? 'left' : 'removed');
    }
  }

  /** The founder and admins append checkpoints, so that new members verify the log quickly. */
  #considerCheckpoint(): void {
    const due = () =>
      this.self !== undefined && this.self.role !== 'member' && this.replica.state.unvouched >= CHECKPOINT_AFTER;
    if (!due() || this.#checkpoint !== undefined) return;
    this.#checkpoint = this.#clock.timer(this.#random.next() * CHECKPOINT_SPREAD_MS, () => {
      this.#checkpoint = undefined;
      const build = (state: PartyState) =>
        due()
          ? authorByMember(state, this.#identity().signing, { type: 'checkpoint' }, this.#clock.wallTime())
          : undefined;
      this.appendStatement(build, this.#closing.signal).catch((error: unknown) => {
        if (!isAbort(error))
          this.#log.info('Cannot append a checkpoint', { party: this.id, error: errorMessage(error) });
      });
    });
  }

  #inBackground(work: Promise<unknown>): void {
    work.catch((error: unknown) => {
      if (!isAbort(error)) this.#log.warn('Background task failed', { party: this.id, error: errorMessage(error) });
    });
  }

  #peerView(member: Member): PeerView {
    return this.#peers.view(member, this.#isConnected);
  }

  /** Where no connection is wanted, the state is that of the last `refresh`. */
  get #isConnected(): boolean {
    return !this.#link.started || this.#link.connection !== undefined;
  }

  #suspect({ kind, sequence, message }: VerificationFailure): void {
    const key = `${kind} ${sequence}`;
    if (this.#reported.has(key)) return;
    // A hostile server could cause any number of failures; the first ones are enough.
    if (this.#reported.size < 1_000) this.#reported.add(key);
    this.#log.error(message, { party: this.id, kind, sequence });
    this.#handlers.onSuspicion({ party: this.id, kind, sequence, message });
  }
}
