import { type SignatureVerifier, verifySignature, verifySignatureInPool } from '../identity/keys.ts';
import { PartyState } from './party-state.ts';
import { commitStatement, examineStatement, failureOf, type SignatureCheck, type StatementFailure } from './rules.ts';
import { decodeStatement, type SignedStatement, signedBytes } from './statement.ts';

/** What a log proves: the party it amounts to, or which statement breaks it and what stood before that one. */
export type LogVerdict =
  | { ok: true; state: PartyState; statements: SignedStatement[] }
  | { ok: false; state: PartyState; statements: SignedStatement[]; failure: StatementFailure };

/**
 * Verifies a whole log from nothing but the party's key (32 bytes).
 *
 * Every statement is decoded, hashed and held against the rules. Signatures are checked except where a
 * checkpoint vouches for a statement, which its signer could have made itself and has checked, and which the
 * hash chain fixes to the bit:
 * - a founder's checkpoint vouches for everything before it but genesis, appoint and rotate, which say who the
 *   founder is;
 * - an admin's checkpoint vouches for plain members' joins, never for a join that makes an admin: a forged admin
 *   could otherwise vouch for itself.
 */
export function verifyLog(partyKey: Uint8Array, statements: readonly Uint8Array[]): LogVerdict {
  const survey = surveyLog(new PartyState(partyKey), statements);
  if (survey.complete && pendingChecks(survey.entries).every(isValid)) return accepted(survey);
  const log = start(new PartyState(partyKey));
  for (const bytes of statements) {
    const entry = examineNext(log, bytes);
    if (
      entry === undefined ||
      !acceptNext(
        log,
        entry,
        entry.checks.every((check) => isValid({ ...check, entry })),
      )
    )
      break;
  }
  return verdictOf(log);
}

/**
 * As {@link verifyLog}, with the signatures checked on the threads of Node's pool: all cores, and no stalled loop.
 * @param verify checks them elsewhere.
 */
export async function verifyLogInPool(
  partyKey: Uint8Array,
  statements: readonly Uint8Array[],
  verify: SignatureVerifier = verifySignatureInPool,
): Promise<LogVerdict> {
  const survey = surveyLog(new PartyState(partyKey), statements);
  if (survey.complete && (await allValid(pendingChecks(survey.entries), verify))) return accepted(survey);
  return extendLog(new PartyState(partyKey), statements, verify);
}

/**
 * Verifies statements one by one on top of `state`, which advances as far as they are good. For what arrives
 * after a log was verified, and to find the first bad one.
 */
export async function extendLog(
  state: PartyState,
  statements: readonly Uint8Array[],
  verify: SignatureVerifier = verifySignatureInPool,
): Promise<LogVerdict> {
  const log = start(state);
  for (const bytes of statements) {
    const entry = examineNext(log, bytes);
    if (entry === undefined) break;
    const valid = await allValid(
      entry.checks.map((check) => ({ ...check, entry })),
      verify,
    );
    if (!acceptNext(log, entry, valid)) break;
  }
  return verdictOf(log);
}

/**
 * What a log amounts to if its signatures are good, for a server whose store holds what it verified before.
 * Whoever has to trust the result uses {@link verifyLog}.
 */
export function replayLog(state: PartyState, statements: readonly Uint8Array[]): LogVerdict {
  const log = start(state);
  for (const bytes of statements) {
    const entry = examineNext(log, bytes);
    if (entry === undefined || !acceptNext(log, entry, true)) break;
  }
  return verdictOf(log);
}

interface Entry {
  readonly statement: SignedStatement;
  readonly checks: readonly SignatureCheck[];
  /** For checkpoints and joins: whether the founder speaks, whether an admin comes in. */
  readonly weighty: boolean;
}

interface OpenLog {
  readonly state: PartyState;
  readonly statements: SignedStatement[];
  failure: StatementFailure | undefined;
}

function start(state: PartyState): OpenLog {
  return { state, statements: [], failure: undefined };
}

function verdictOf({ state, statements, failure }: OpenLog): LogVerdict {
  return failure === undefined ? { ok: true, state, statements } : { ok: false, state, statements, failure };
}

function examineNext(log: OpenLog, bytes: Uint8Array): Entry | undefined {
  const decoded = decodeStatement(bytes);
  if (!decoded.ok) {
    log.failure = failureOf(log.state.length, decoded.failure, `its form is wrong (${decoded.failure}).`);
    return undefined;
  }
  const { statement } = decoded;
  const verdict = examineStatement(log.state, statement);
  if (!verdict.ok) {
    log.failure = verdict.failure;
    return undefined;
  }
  return { statement, checks: verdict.checks, weighty: isWeighty(log.state, statement) };
}

function acceptNext(log: OpenLog, { statement }: Entry, signaturesValid: boolean): boolean {
  if (!signaturesValid) {
    const by = statement.content.type === 'join' ? 'the invite and the joining node' : 'its author';
    log.failure = failureOf(statement.sequence, 'bad-signature', `it was not signed by ${by}; it is forged.`);
    return false;
  }
  commitStatement(log.state, statement);
  log.statements.push(statement);
  return true;
}

interface Survey {
  readonly state: PartyState;
  readonly entries: Entry[];
  readonly complete: boolean;
}

/** Goes through a log as if every signature were good. */
function surveyLog(state: PartyState, statements: readonly Uint8Array[]): Survey {
  const log = start(state);
  const entries: Entry[] = [];
  for (const bytes of statements) {
    const entry = examineNext(log, bytes);
    if (entry === undefined) return { state, entries, complete: false };
    acceptNext(log, entry, true);
    entries.push(entry);
  }
  return { state, entries, complete: true };
}

function accepted({ state, entries }: Survey): LogVerdict {
  return { ok: true, state, statements: entries.map((entry) => entry.statement) };
}

function isWeighty(state: PartyState, { content, author }: SignedStatement): boolean {
  if (content.type === 'checkpoint') return author === state.founder;
  return content.type === 'join' && state.invite(content.inviteKey)?.role === 'admin';
}

interface PendingCheck extends SignatureCheck {
  readonly entry: Entry;
}

function pendingChecks(entries: readonly Entry[]): PendingCheck[] {
  const byFounder = entries.findLastIndex((entry) => isCheckpoint(entry) && entry.weighty);
  const byAnyone = entries.findLastIndex(isCheckpoint);
  const pending: PendingCheck[] = [];
  for (const [at, entry] of entries.entries()) {
    const { type } = entry.statement.content;
    const saysWhoFounds = type === 'genesis' || type === 'appoint' || type === 'rotate';
    if (at < byFounder && !saysWhoFounds) continue;
    if (at < byAnyone && type === 'join' && !entry.weighty) continue;
    for (const check of entry.checks) pending.push({ ...check, entry });
  }
  return pending;
}

function isCheckpoint(entry: Entry): boolean {
  return entry.statement.content.type === 'checkpoint';
}

function isValid({ publicKey, signature, entry }: PendingCheck): boolean {
  return verifySignature(publicKey, signedBytes(entry.statement.body), signature);
}

/** Checks handed to the pool at once: enough for any number of threads, and files still get their turn. */
const POOL_BATCH = 64;

async function allValid(checks: readonly PendingCheck[], verify: SignatureVerifier): Promise<boolean> {
  for (let at = 0; at < checks.length; at += POOL_BATCH) {
    const verdicts = await Promise.all(
      checks
        .slice(at, at + POOL_BATCH)
        .map(({ publicKey, signature, entry }) => verify(publicKey, signedBytes(entry.statement.body), signature)),
    );
    if (verdicts.includes(false)) return false;
  }
  return true;
}
