import { type Clock, type Log, silentLog } from '@towpath/core';
import { ControlError } from '../control-error.ts';
import { type PartyId, partyIdOf, type SignatureVerifier, verifySignatureInPool } from '../identity/keys.ts';
import { type LogHead, PartyState } from '../membership/party-state.ts';
import { examineStatement, failureOf } from '../membership/rules.ts';
import { decodeStatement, type SignedStatement, signedBytes } from '../membership/statement.ts';
import { replayLog } from '../membership/verify.ts';
import type { ControlStore } from '../store/store.ts';

/** Statements of one answer: at 390 bytes each, well below a megabyte as text. */
export const PAGE_STATEMENTS = 1_024;
/** Parties whose state is kept in memory; the least recently used go first. */
const MAX_CACHED_PARTIES = 20_000;
/** Statements that the cached states stem from, all together: about 1 KB of memory each. */
const MAX_CACHED_STATEMENTS = 500_000;
/** How far the author's clock may run ahead of ours: it would push everybody's time forward. */
const MAX_AHEAD_MS = 300_000;

export type AppendOutcome =
  | { ok: true; state: PartyState; statement: SignedStatement }
  /** Somebody was faster: here is what came since, for another try. */
  | { ok: false; head: LogHead | undefined; statements: Uint8Array[] };

/**
 * What the server itself knows of the parties: their state by the rules, to say who may do what. It trusts the
 * signatures in its store, which it checked when they came in; members check them again, each for itself.
 */
export class PartyDirectory {
  readonly #store: ControlStore;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #verify: SignatureVerifier;
  readonly #cached = new Map<PartyId, PartyState>();
  #cachedStatements = 0;

  constructor(components: { store: ControlStore; clock: Clock; log?: Log; verify?: SignatureVerifier }) {
    this.#store = components.store;
    this.#clock = components.clock;
    this.#log = components.log ?? silentLog;
    this.#verify = components.verify ?? verifySignatureInPool;
  }

  /** The party as of now, read up to the end of the store's log; undefined when there is no such party. */
  async current(party: PartyId): Promise<PartyState | undefined> {
    let state = this.#cached.get(party);
    for (;;) {
      const from = state?.length ?? 0;
      const statements = await this.#store.readLog(party, from, PAGE_STATEMENTS);
      // Others may have read the same meanwhile.
      state = this.#cached.get(party) ?? state ?? emptyState(party, statements[0]);
      if (state === undefined) return undefined;
      const sound = this.#apply(party, state, statements.slice(Math.max(0, state.length - from)));
      if (!sound || statements.length < PAGE_STATEMENTS) return state.head === undefined ? undefined : state;
    }
  }

  /** Takes in what another server appended; false when something before it is missing here. */
  take(party: PartyId, sequence: number, bytes: Uint8Array): PartyState | undefined {
    const state = this.#cached.get(party);
    if (state === undefined || sequence > state.length) return undefined;
    if (sequence === state.length) this.#apply(party, state, [bytes]);
    return state;
  }

  /**
   * Adds a statement, after everything about it was checked. It speaks for itself, so that it does not matter who
   * hands it in: members give back what a server has lost.
   * @throws ControlError `invalid-statement`, `not-found`, `clock-skew`, `store-failed`.
   */
  async append(party: PartyId, bytes: Uint8Array): Promise<AppendOutcome> {
    const statement = this.#decode(bytes);
    const founding = statement.content.type === 'genesis' ? statement.content : undefined;
    const state = (await this.current(party)) ?? (founding && new PartyState(founding.partyKey));
    if (state === undefined) throw new ControlError('not-found', `There is no party ${party} here.`);
    if (state.id !== party) throw invalid(statement, 'it belongs to another party.');
    if (statement.sequence < state.length) return this.#conflict(party, state, statement.sequence);
    await this.#check(state, statement);
    if ((await this.#store.append(party, statement.sequence, bytes)) === 'conflict') {
      const now = await this.current(party);
      return this.#conflict(party, now, statement.sequence);
    }
    const cached = this.#cached.get(party) ?? state;
    if (cached.length === statement.sequence) this.#apply(party, cached, [bytes]);
    return { ok: true, state: cached, statement };
  }

  #decode(bytes: Uint8Array): SignedStatement {
    const decoded = decodeStatement(bytes);
    if (!decoded.ok) throw new ControlError('invalid-statement', `The statement is malformed (${decoded.failure}).`);
    return decoded.statement;
  }

  async #check(state: PartyState, statement: SignedStatement): Promise<void> {
    const now = this.#clock.wallTime();
    if (statement.timeMs > now + MAX_AHEAD_MS) {
      throw new ControlError('clock-skew', 'The statement is dated in the future: set this machine’s clock.', {
        details: { serverTimeMs: now },
      });
    }
    const verdict = examineStatement(state, statement);
    if (!verdict.ok)
      throw new ControlError('invalid-statement', verdict.failure.message, {
        details: { ...verdict.failure },
      });
    const { content } = statement;
    if (content.type === 'join' && state.invite(content.inviteKey)!.expiresAtMs < now) {
      throw invalid(statement, 'the invite has expired.');
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

  #apply(party: PartyId, state: PartyState, statements: readonly Uint8Array[]): boolean {
    const before = this.#cached.get(party)?.length ?? 0;
    const verdict = replayLog(state, statements);
    if (!verdict.ok) {
      this.#log.error('a stored log breaks the rules; its members will refuse it', { party, ...verdict.failure });
    }
    this.#cached.delete(party);
    if (state.head !== undefined) this.#cached.set(party, state);
    this.#cachedStatements += state.length - before;
    this.#evict();
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

function emptyState(party: PartyId, genesis: Uint8Array | undefined): PartyState | undefined {
  const decoded = genesis && decodeStatement(genesis);
  if (!decoded?.ok || decoded.statement.content.type !== 'genesis') return undefined;
  const { partyKey } = decoded.statement.content;
  return partyIdOf(partyKey) === party ? new PartyState(partyKey) : undefined;
}

function invalid(statement: SignedStatement, because: string): ControlError {
  return new ControlError('invalid-statement', failureOf(statement.sequence, 'not-allowed', because).message);
}
