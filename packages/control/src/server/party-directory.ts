import { type Clock, type Log, silentLog } from '@towpath/core';
import { ControlError } from '../control-error.ts';
import { statementRefused } from '../statement-refused.ts';
import {
  decodeStatement,
  examineStatement,
  failureOf,
  type LogEntry,
  type LogHead,
  MAX_CLOCK_SKEW_MS,
  type PartyId,
  partyIdOf,
  PartyState,
  type PeerId,
  replayLog,
  type SignatureVerifier,
  signedBytes,
  type SignedStatement,
  verifySignatureInPool,
} from '@towpath/membership';
import type { ControlStore } from '../store/store.ts';

/** Most statements in one answer: at 390 bytes each, well below a megabyte as text. */
export const PAGE_STATEMENTS = 1_024;
/** Parties whose state is cached; the least recently used are removed first. */
const MAX_CACHED_PARTIES = 20_000;
/** Statements of all cached states: about 1 KB of memory each. */
const MAX_CACHED_STATEMENTS = 500_000;

export type AppendOutcome =
  | { ok: true; state: PartyState; statement: SignedStatement }
  /** Another statement came first: these are the new ones, for another attempt. */
  | { ok: false; head: LogHead | undefined; statements: Uint8Array[] };

/**
 * The server's own view of the parties, to decide permissions. It trusts the signatures in its store, which were
 * checked when statements were appended; members check them again.
 */
export class PartyDirectory {
  readonly #store: ControlStore;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #verify: SignatureVerifier;
  readonly #admit: (state: PartyState, statement: SignedStatement) => Promise<void>;
  readonly #onMembersGone: (state: PartyState, members: readonly PeerId[]) => void;
  readonly #cached = new Map<PartyId, PartyState>();
  #cachedStatements = 0;

  /**
   * @param options.admit throws when the server has no room for a statement that is valid.
   * @param options.onMembersGone called when statements, appended here or elsewhere, end memberships.
   */
  constructor(
    components: { store: ControlStore; clock: Clock; log?: Log | undefined; verify?: SignatureVerifier },
    options: {
      admit?(state: PartyState, statement: SignedStatement): Promise<void>;
      onMembersGone?(state: PartyState, members: readonly PeerId[]): void;
    } = {},
  ) {
    this.#onMembersGone = options.onMembersGone ?? (() => {});
    this.#admit = options.admit ?? (async () => {});
    this.#store = components.store;
    this.#clock = components.clock;
    this.#log = components.log ?? silentLog;
    this.#verify = components.verify ?? verifySignatureInPool;
  }

  /** What is known of a party without reading the store; it may be old. */
  peek(party: PartyId): PartyState | undefined {
    return this.#cached.get(party);
  }

  /** Returns the current state of a party, up to the end of the store's log; undefined when there is no such party. */
  async current(party: PartyId): Promise<PartyState | undefined> {
    let state = this.#cached.get(party);
    for (;;) {
      const from = state?.length ?? 0;
      const page = await this.#store.readLog(party, from, PAGE_STATEMENTS);
      let statements: readonly LogEntry[] = page;
      // A concurrent call may have read the same.
      state = this.#cached.get(party) ?? state;
      if (state === undefined) {
        const genesis = genesisOf(party, page[0]);
        if (genesis === undefined) return undefined;
        state = new PartyState(genesis.partyKey);
        statements = [genesis.statement, ...page.slice(1)];
      }
      const sound = this.#apply(party, state, statements.slice(Math.max(0, state.length - from)));
      if (!sound || statements.length < PAGE_STATEMENTS) return state.head === undefined ? undefined : state;
    }
  }

  /** Takes a statement that another server appended; false when earlier ones are missing here. */
  take(party: PartyId, sequence: number, bytes: Uint8Array): PartyState | undefined {
    const state = this.#cached.get(party);
    if (state === undefined || sequence > state.length) return undefined;
    if (sequence === state.length) this.#apply(party, state, [bytes]);
    return state;
  }

  /**
   * Appends a statement after all checks. Statements are signed, so that it does not matter who
   * sends them: members send back what a server has lost.
   * @throws ControlError `invalid-statement`, `not-found`, `clock-skew`, `store-failed`.
   */
  async append(party: PartyId, statement: SignedStatement): Promise<AppendOutcome> {
    const founding = statement.content.type === 'genesis' ? statement.content : undefined;
    const state = (await this.current(party)) ?? (founding && new PartyState(founding.partyKey));
    if (state === undefined) throw new ControlError('not-found', `There is no party ${party} on this server.`);
    if (state.id !== party) throw invalid(statement, 'it belongs to another party.');
    if (statement.sequence < state.length) return this.#conflict(party, state, statement.sequence);
    await this.#check(state, statement);
    await this.#admit(state, statement);
    if ((await this.#store.append(party, statement.sequence, statement.bytes)) === 'conflict') {
      const now = await this.current(party);
      return this.#conflict(party, now, statement.sequence);
    }
    const cached = this.#cached.get(party) ?? state;
    if (cached.length === statement.sequence) this.#apply(party, cached, [statement]);
    return { ok: true, state: cached, statement };
  }

  async #check(state: PartyState, statement: SignedStatement): Promise<void> {
    const now = this.#clock.wallTime();
    if (statement.timeMs > now + MAX_CLOCK_SKEW_MS) {
      throw new ControlError(
        'clock-skew',
        'The statement is dated in the future. Next: set the clock of this machine.',
        {
          details: { serverTimeMs: now },
        },
      );
    }
    const verdict = examineStatement(state, statement);
    if (!verdict.ok) throw statementRefused(verdict.failure);
    const { content } = statement;
    if (content.type === 'join' && state.invite(content.inviteKey)!.expiresAtMs < now) {
      const failure = failureOf(statement.sequence, 'invite-expired', 'the invite had expired.');
      throw statementRefused(failure);
    }
    const message = signedBytes(statement.body);
    const valid = await Promise.all(
      verdict.checks.map(({ publicKey, signature }) => this.#verify(publicKey, message, signature)),
    );
    if (valid.includes(false)) throw invalid(statement, 'a signature is wrong.');
  }

  async #conflict(party: PartyId, state: PartyState | undefined, from: number): Promise<AppendOutcome> {
    return { ok: false, head: state?.head, statements: await this.#store.readLog(party, from, PAGE_STATEMENTS) };
  }

  #apply(party: PartyId, state: PartyState, statements: readonly LogEntry[]): boolean {
    const before = this.#cached.get(party)?.length ?? 0;
    const members = statements.length > 0 ? [...state.members.keys()] : [];
    const verdict = replayLog(state, statements);
    if (!verdict.ok) {
      this.#log.error('a stored log breaks the rules; members will refuse it', { party, ...verdict.failure });
    }
    this.#cached.delete(party);
    if (state.head !== undefined) this.#cached.set(party, state);
    this.#cachedStatements += state.length - before;
    this.#evict();
    const gone = members.filter((member) => !state.members.has(member));
    if (gone.length > 0) this.#onMembersGone(state, gone);
    return verdict.ok;
  }

  #evict(): void {
    for (const [party, state] of this.#cached) {
      if (this.#cached.size <= MAX_CACHED_PARTIES && this.#cachedStatements <= MAX_CACHED_STATEMENTS) return;
      if (this.#cached.size === 1) return;
      this.#cached.delete(party);
      this.#cachedStatements -= state.length;
    }
  }
}

function genesisOf(
  party: PartyId,
  bytes: Uint8Array | undefined,
): { statement: SignedStatement; partyKey: Uint8Array } | undefined {
  const decoded = bytes && decodeStatement(bytes);
  if (!decoded?.ok || decoded.statement.content.type !== 'genesis') return undefined;
  const { partyKey } = decoded.statement.content;
  return partyIdOf(partyKey) === party ? { statement: decoded.statement, partyKey } : undefined;
}

function invalid(statement: SignedStatement, because: string): ControlError {
  return new ControlError('invalid-statement', failureOf(statement.sequence, 'not-allowed', because).message);
}
