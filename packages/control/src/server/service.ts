import {
  type Clock,
  deadlineInterval,
  errorMessage,
  type Log,
  type Random,
  type RateLimitOptions,
  silentLog,
  type Timer,
} from '@towpath/core';
import { ControlError } from '../control-error.ts';
import type { Relay } from '../control-plane.ts';
import {
  decodeStatement,
  equalBytes,
  failureOf,
  inviteProblem,
  type PartyId,
  partyIdOf,
  type PartyState,
  type SignatureVerifier,
  type SignedStatement,
  toBase64,
} from '@towpath/membership';
import type { ControlStore } from '../store/store.ts';
import type { ClientMessage, PresenceEntry } from '../wire/messages.ts';
import { statementRefused } from '../statement-refused.ts';
import { Founding } from './founding.ts';
import { InviteCodes, type SealedInvite } from './invite-codes.ts';
import { type AppendOutcome, PAGE_STATEMENTS, PartyDirectory } from './party-directory.ts';
import { DEFAULT_PARTY_LIMITS, type PartyLimitName, type PartyLimitOptions, PartyLimits } from './party-limits.ts';
import { RelayDirectory } from './relay-directory.ts';
import type { Session, SessionSink } from './session.ts';
import { SessionRouter, type SessionCounts } from './session-router.ts';
import { issueTurnCredentials } from './turn-credentials.ts';
import { relayKey, type RelayKey } from '../wire/relay-key.ts';
import { turnMember, type TurnUser, turnUser } from '../wire/turn-user.ts';
import { TurnRevocation } from './turn-revocation.ts';
import { WorkInFlight } from './work-in-flight.ts';

/** Components of a {@link ControlService}. */
export interface ControlServiceComponents {
  readonly store: ControlStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly log?: Log | undefined;
  /** Checks signatures. @default on the threads of Node's pool */
  readonly verify?: SignatureVerifier;
}

/** Options of a control server; all are optional. */
export interface ControlServiceOptions {
  /** Relays that do not report themselves. */
  relays?: readonly Relay[];
  /** The secret shared with the TURN servers. Without it there are no TURN credentials. */
  turnSecret?: string;
  /** Secrets that it replaces; relays that have one of them may still ask who was removed. */
  previousTurnSecrets?: readonly string[];
  /** @default 10 minutes */
  turnCredentialsValidForMs?: number;
  /** Node keys (base64url) that may report relays. @default none */
  relayReporters?: readonly string[];
  /**
   * Who may create parties: `open`, anybody; `setup-code`, whoever has shown a setup code once.
   * @default 'setup-code'
   */
  founding?: 'open' | 'setup-code';
  /** How much one party and one founder may use. @default DEFAULT_PARTY_LIMITS */
  partyLimits?: Partial<PartyLimitOptions>;
  /**
   * Called when members of a party are members no more: users of {@link ControlService.turnCredentials} whose
   * allocations have to end.
   */
  onTurnUsersRevoked?(users: readonly string[]): void;
  /** Messages of one node over its WebSocket. @default 200 per second, 1000 at once */
  messageLimit?: RateLimitOptions;
  /** Messages of all nodes at one address. @default 4000 per second, 20000 at once */
  messageLimitPerAddress?: RateLimitOptions;
}

const RELAYS_EVERY_MS = 5_000;
/**
 * Validity of TURN credentials: relays that do not ask who was removed accept those of a removed member for this time.
 */
export const DEFAULT_TURN_CREDENTIALS_MS = 600_000;
/** Messages of one node, and of all nodes at one address. */
export const DEFAULT_MESSAGE_LIMIT: RateLimitOptions = { perSecond: 200, burst: 1_000 };
export const DEFAULT_MESSAGE_LIMIT_PER_ADDRESS: RateLimitOptions = { perSecond: 4_000, burst: 20_000 };

/**
 * The control plane without network code: logs, presence and signals of parties, for nodes that were authenticated
 * before. Any number of services can share a store; all are equal.
 */
export class ControlService implements AsyncDisposable {
  readonly #store: ControlStore;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #options: ControlServiceOptions;
  readonly #directory: PartyDirectory;
  readonly #founding: Founding;
  readonly #codes: InviteCodes;
  readonly #limits: PartyLimits;
  readonly #revocation: TurnRevocation;
  readonly #relays: RelayDirectory;
  /** By public key, base64url. */
  readonly #relayKeys: ReadonlyMap<string, RelayKey>;
  readonly #sessionRouter: SessionRouter;
  /** Uses of the store that no request waits for. */
  readonly #work = new WorkInFlight();
  #statements = 0;
  #timer: Timer | undefined;
  #stopWatching = () => {};
  #closed = false;

  private constructor(components: ControlServiceComponents, options: ControlServiceOptions) {
    const { store, clock, random, log = silentLog } = components;
    this.#store = store;
    this.#clock = clock;
    this.#log = log;
    this.#options = options;
    const limits = { ...DEFAULT_PARTY_LIMITS, ...options.partyLimits };
    this.#founding = new Founding(
      { ...components, log },
      {
        open: options.founding === 'open',
        partiesPerFounder: limits.partiesPerFounder,
        refuse: (message) => this.#limits.refuse('partiesPerFounder', message),
      },
    );
    this.#limits = new PartyLimits(
      {
        founding: this.#founding,
        stateOf: (party) => this.#directory.current(party),
        codesOf: (party) => this.#codes.usage(party),
      },
      limits,
    );
    this.#directory = new PartyDirectory(
      { ...components, log },
      {
        admit: (state, statement) => this.#limits.admitStatement(state, statement),
        onMembersGone: ({ id, creator }, members) =>
          options.onTurnUsersRevoked?.(members.map((member) => turnUser({ member, party: id, founder: creator }))),
      },
    );
    this.#codes = new InviteCodes(
      { ...components, directory: this.#directory },
      { admit: (state, bytes) => this.#limits.admitCode(state, bytes) },
    );
    this.#revocation = new TurnRevocation({
      clock,
      log,
      parties: {
        peek: (party) => this.#directory.peek(party),
        // A relay that is closed after this service still asks.
        current: async (party) => (this.#closed ? undefined : this.#work.run(() => this.#directory.current(party))),
      },
    });
    this.#sessionRouter = new SessionRouter(
      { store, clock, random, log, directory: this.#directory },
      {
        messageLimit: options.messageLimit ?? DEFAULT_MESSAGE_LIMIT,
        messageLimitPerAddress: options.messageLimitPerAddress ?? DEFAULT_MESSAGE_LIMIT_PER_ADDRESS,
      },
    );
    const { turnSecret, previousTurnSecrets = [] } = options;
    const relayKeys = turnSecret === undefined ? [] : [turnSecret, ...previousTurnSecrets].map(relayKey);
    this.#relayKeys = new Map(relayKeys.map((key) => [toBase64(key.signing.publicKey), key]));
    this.#relays = new RelayDirectory(
      { store, clock, log },
      {
        fixed: options.relays ?? [],
        onChange: (relays) => this.#sessionRouter.broadcast({ type: 'relays', relays: [...relays] }),
      },
    );
  }

  /** @throws ControlError `store-failed`. */
  static async start(
    components: ControlServiceComponents,
    options: ControlServiceOptions = {},
  ): Promise<ControlService> {
    const service = new ControlService(components, options);
    try {
      await service.#open();
    } catch (error) {
      await service[Symbol.asyncDispose]();
      throw error;
    }
    return service;
  }

  get counts(): SessionCounts & { statements: number } {
    return { ...this.#sessionRouter.counts, statements: this.#statements };
  }

  /** The limits of parties, and how often each was reached. */
  get limits(): { options: PartyLimitOptions; reached: Readonly<Record<PartyLimitName, number>> } {
    const { options, reached } = this.#limits;
    return { options, reached };
  }

  get store(): ControlStore {
    return this.#store;
  }

  relays(): readonly Relay[] {
    return this.#relays.current;
  }

  /**
   * Appends a statement to a party's log and informs all members.
   * @param by key of the sender; if it may read the party, it gets the statements that came first
   * @throws ControlError as {@link PartyDirectory.append}.
   */
  async append(party: PartyId, bytes: Uint8Array, by: Uint8Array): Promise<AppendOutcome> {
    return this.#append(party, decode(bytes), by);
  }

  /**
   * As `append` for the first statement.
   * @param setupProof of a setup code, see {@link proveSetupCode}.
   * @throws ControlError `setup-code-required`, `limit-exceeded`.
   */
  async create(bytes: Uint8Array, by: Uint8Array, setupProof?: string): Promise<AppendOutcome & { party: PartyId }> {
    const genesis = decode(bytes);
    const { content, author: founder } = genesis;
    if (content.type !== 'genesis') {
      throw new ControlError('invalid-statement', 'The first statement of a party must be genesis.');
    }
    const party = partyIdOf(content.partyKey);
    const outcome = await this.#founding.admit({ founder, party, genesis: bytes, proof: setupProof }, () =>
      this.#append(party, genesis, by),
    );
    return { ...outcome, party };
  }

  /** Makes a code by which one more node may create parties. @throws ControlError `limit-exceeded`, `store-failed`. */
  createSetupCode(): Promise<string> {
    return this.#founding.createCode();
  }

  /** Returns whether anybody has created a party here, or has a setup code. */
  hasFounders(): Promise<boolean> {
    return this.#founding.begun();
  }

  /**
   * Whether the TURN credentials of a user that {@link turnCredentials} issued have ended before their time, because the
   * member is no member any more. For a TURN server in this process, which asks at every request.
   */
  isTurnUserRevoked(user: string): boolean {
    return this.#revocation.isRevoked(user);
  }

  /**
   * Statements of a party, for its members, former members (up to their removal) and holders of an invite.
   * @throws ControlError `not-found`, `forbidden`.
   */
  async read(party: PartyId, from: number, by: Uint8Array): Promise<{ length: number; statements: Uint8Array[] }> {
    const state = await this.#directory.current(party);
    if (state === undefined) throw new ControlError('not-found', `There is no party ${party} on this server.`);
    const { end, problem } = readableEnd(state, by, this.#clock.wallTime());
    if (problem !== undefined) throw problem;
    if (end === 0) throw new ControlError('forbidden', 'Only members and invited nodes can read the log of a party.');
    const statements = await this.#store.readLog(party, from, Math.max(0, Math.min(PAGE_STATEMENTS, end - from)));
    return { length: Math.min(state.length, end), statements };
  }

  /**
   * Returns the server's view of a party with its presence. Without proof: nodes verify the log.
   * @throws ControlError `not-found`, `forbidden`.
   */
  async describe(party: PartyId, by: Uint8Array): Promise<{ state: PartyState; presence: PresenceEntry[] }> {
    const state = await this.#directory.current(party);
    if (state === undefined) throw new ControlError('not-found', `There is no party ${party} on this server.`);
    if (state.memberByKey(by) === undefined)
      throw new ControlError('forbidden', 'Only members can list the members of a party.');
    return { state, presence: await this.#sessionRouter.presence(party, [...state.members.keys()]) };
  }

  /** @throws ControlError `forbidden` when `by` is no member, `not-found` when there is no TURN server. */
  async turnCredentials(
    party: PartyId,
    by: Uint8Array,
  ): Promise<{ username: string; credential: string; expiresAtMs: number; urls: string[] }> {
    const state = await this.#directory.current(party);
    const member = state?.memberByKey(by);
    if (state === undefined || member === undefined) {
      throw new ControlError('forbidden', 'Only members of a party can use the relays.');
    }
    const { turnSecret, turnCredentialsValidForMs = DEFAULT_TURN_CREDENTIALS_MS } = this.#options;
    if (turnSecret === undefined) throw new ControlError('not-found', 'This server has no relays.');
    const issued = issueTurnCredentials(turnSecret, {
      user: turnUser({ member: member.id, party, founder: state.creator }),
      nowMs: this.#clock.wallTime(),
      validForMs: turnCredentialsValidForMs,
    });
    return { ...issued, urls: this.#relays.current.filter((relay) => relay.healthy).flatMap((relay) => relay.urls) };
  }

  /**
   * Returns which of these are members no more, for a relay in another process. Members of parties that are not stored here are
   * not among them: another server may have issued their credentials.
   * @param by key of the relay, see {@link relayKey}.
   * @throws ControlError `forbidden` unless the relay has the secret of this server.
   */
  async removedMembers(
    members: readonly Pick<TurnUser, 'member' | 'party'>[],
    challenge: string,
    by: Uint8Array,
  ): Promise<{ removed: string[]; proof: string }> {
    const key = this.#relayKeys.get(toBase64(by));
    if (key === undefined) {
      throw new ControlError(
        'forbidden',
        'Only relays with the secret of this server may ask who was removed. Next: use one file for --turn-secret-file of the server and --secret-file of the relay.',
      );
    }
    const parties = [...new Set(members.map(({ party }) => party))];
    const states = new Map<PartyId, PartyState | undefined>();
    for (const party of parties) states.set(party, await this.#directory.current(party));
    const gone = members.filter(({ member, party }) => states.get(party)?.members.has(member) === false);
    const removed = gone.map(turnMember);
    return { removed, proof: key.prove(challenge, removed) };
  }

  /**
   * Stores a sealed invite.
   * @throws ControlError `forbidden` unless `by` is the founder or an admin, `conflict` when the lookup value is taken
   */
  async keepInvite(party: PartyId, invite: SealedInvite, by: Uint8Array): Promise<void> {
    const state = await this.#directory.current(party);
    const member = state?.memberByKey(by);
    if (state === undefined || member === undefined || member.role === 'member') {
      throw new ControlError('forbidden', 'Only the founder and admins of a party can store invites.');
    }
    await this.#codes.keep(state, invite);
  }

  /** @throws ControlError `not-found`; `invalid-invite` when the invite was used up, revoked, or has expired. */
  findInvite(lookup: string): Promise<Uint8Array> {
    return this.#codes.find(lookup);
  }

  /** @throws ControlError `forbidden` unless `by` is one of the configured reporters. */
  async reportRelay(relay: Relay, by: Uint8Array): Promise<void> {
    if (!this.#options.relayReporters?.includes(toBase64(by))) {
      throw new ControlError(
        'forbidden',
        'This key may not report relays. Next: add it to the relay reporters of the server.',
      );
    }
    await this.#relays.report(relay);
  }

  /** Takes the report of a relay in this process; valid for 30 s. Does nothing once the service is closed. */
  async reportOwnRelay(relay: Relay): Promise<void> {
    if (!this.#closed) await this.#work.run(() => this.#relays.report(relay));
  }

  /**
   * Registers the connection of a node; an older connection of the same node is closed.
   * @param source what its messages are limited by: its address.
   */
  attach(key: Uint8Array, source: string, sink: SessionSink): Session {
    const session = this.#sessionRouter.attach(key, source, sink);
    if (this.#relays.current.length > 0) session.send({ type: 'relays', relays: [...this.#relays.current] });
    return session;
  }

  /** Removes a connection that has ended. Idempotent. */
  detach(session: Session): void {
    this.#sessionRouter.detach(session);
  }

  /** Processes a message of a connected node. @returns false when the node sends too much and has to be dropped. */
  receive(session: Session, message: ClientMessage): Promise<boolean> {
    return this.#work.run(() => this.#sessionRouter.receive(session, message));
  }

  /** Closes every session; the store stays open and is in use until {@link settled}. Idempotent. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#timer?.cancel();
    this.#stopWatching();
    await this.#sessionRouter.close();
  }

  /** Resolves when nothing uses the store any more; after {@link close}. Messages that wait for a connection end with it. */
  settled(): Promise<void> {
    return this.#work.settled();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
    await this.settled();
  }

  async #open(): Promise<void> {
    await this.#sessionRouter.open();
    this.#stopWatching = await this.#store.subscribe('relays', () => this.#refreshRelays());
    await this.#relays.refresh();
    this.#timer = deadlineInterval({
      clock: this.#clock,
      intervalMs: RELAYS_EVERY_MS,
      onTick: () => this.#refreshRelays(),
    });
  }

  async #append(party: PartyId, statement: SignedStatement, by: Uint8Array): Promise<AppendOutcome> {
    const outcome = await this.#directory.append(party, statement);
    if (!outcome.ok && !(await this.#mayRead(party, by))) return { ok: false, head: undefined, statements: [] };
    if (outcome.ok) {
      this.#statements++;
      this.#sessionRouter.announceStatement(party, statement.sequence, statement.bytes);
    }
    return outcome;
  }

  async #mayRead(party: PartyId, by: Uint8Array): Promise<boolean> {
    const state = await this.#directory.current(party);
    return state !== undefined && readableEnd(state, by, this.#clock.wallTime()).end === Number.POSITIVE_INFINITY;
  }

  #refreshRelays(): void {
    this.#work
      .run(() => this.#relays.refresh())
      .catch((error: unknown) => {
        if (!this.#closed) this.#log.warn('Cannot read the list of relays', { error: errorMessage(error) });
      });
  }
}

/**
 * How many statements the owner of a key may read: all as a member, as somebody who is invited now, or with the key of the
 * party; as a former member up to its end.
 */
function readableEnd(state: PartyState, key: Uint8Array, nowMs: number): { end: number; problem?: ControlError } {
  if (state.memberByKey(key) !== undefined || equalBytes(key, state.partyKey)) return { end: Number.POSITIVE_INFINITY };
  if (state.inviteKeyIsKnown(key)) {
    const problem = inviteProblem(state, key, nowMs);
    if (problem === undefined) return { end: Number.POSITIVE_INFINITY };
    const { message } = statementRefused(failureOf(state.length, problem.reason, problem.because));
    return { end: 0, problem: new ControlError('invalid-invite', message) };
  }
  const end = state.endOfKey(key);
  return { end: end === undefined ? 0 : end + 1 };
}

function decode(bytes: Uint8Array): SignedStatement {
  const decoded = decodeStatement(bytes);
  if (decoded.ok) return decoded.statement;
  throw new ControlError('invalid-statement', `The statement is malformed (${decoded.failure}).`);
}
