import { type SignatureVerifier, verifySignature, verifySignatureInPool } from '../identity/keys.ts';
import { dateText } from './clock-skew.ts';
import { PartyState } from './party-state.ts';
import { commitStatement, examineStatement, failureOf, type SignatureCheck, type StatementFailure } from './rules.ts';
import {
  decodeStatement,
  type SignedStatement,
  STATEMENT_VERSION,
  type StatementDecodeFailure,
  signedBytes,
} from './statement.ts';

/** Result of verifying a log: the party's state, or the invalid statement and the state before it. */
export type LogVerdict =
  | { ok: true; state: PartyState; statements: SignedStatement[] }
  | { ok: false; state: PartyState; statements: SignedStatement[]; failure: StatementFailure };

/** A statement, encoded or already decoded. */
export type LogEntry = Uint8Array | SignedStatement;

/** How statements are verified. */
export interface VerifyOptions {
  /** Checks signatures. @default on the threads of Node's pool */
  readonly verify?: SignatureVerifier;
  /**
   * Statements dated later (ms since 1970) are refused as `dated-ahead`. It depends on a clock, so it is no rule of the
   * log: it is given where statements are taken in, not where a verified log is read again. @default no limit
   */
  readonly notAfterMs?: number;
}

/**
 * Verifies a whole log with the party's key (32 bytes).
 *
 * Every statement is decoded, hashed and checked against the rules. Signatures are checked except where a
 * checkpoint covers a statement that its signer has checked and could have created itself, and which the
 * hash chain determines:
 * - a founder's checkpoint covers everything before it except genesis, appoint, replace-founder and rotate, which
 * determine the founder;
 * - an admin's checkpoint covers joins of plain members, not joins that create an admin: a forged admin
 * could otherwise confirm itself.
 */
export function verifyLog(partyKey: Uint8Array, statements: readonly Uint8Array[]): LogVerdict {
  const survey = surveyLog(new PartyState(partyKey), statements);
  if (survey.complete && pendingChecks(survey.entries).every(isValid)) return accepted(survey);
  const log = start(new PartyState(partyKey));
  for (const given of decodedOnce(survey, statements)) {
    const entry = examineNext(log, given);
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
 * As {@link verifyLog}, with the signatures checked on the threads of Node's pool, which does not block the event loop.
 */
export async function verifyLogInPool(
  partyKey: Uint8Array,
  statements: readonly LogEntry[],
  options: VerifyOptions = {},
): Promise<LogVerdict> {
  const { verify = verifySignatureInPool } = options;
  const survey = surveyLog(new PartyState(partyKey), statements, options.notAfterMs);
  if (survey.complete && (await allValid(pendingChecks(survey.entries), verify))) return accepted(survey);
  return extendLog(new PartyState(partyKey), decodedOnce(survey, statements), options);
}

/**
 * Verifies statements one by one on top of `state`, which advances over valid ones. For statements that arrive
 * after a log was verified, and to find the first invalid one.
 */
export async function extendLog(
  state: PartyState,
  statements: readonly LogEntry[],
  options: VerifyOptions = {},
): Promise<LogVerdict> {
  const { verify = verifySignatureInPool, notAfterMs } = options;
  const log = start(state);
  for (const bytes of statements) {
    const entry = examineNext(log, bytes, notAfterMs);
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
 * Applies a log without signature checks, for a server whose store contains verified statements.
 * To verify a log use {@link verifyLog}.
 */
export function replayLog(state: PartyState, statements: readonly LogEntry[]): LogVerdict {
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
  /** For checkpoints and joins: whether the author is the founder, whether the join creates an admin. */
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

function examineNext(log: OpenLog, given: LogEntry, notAfterMs = Number.POSITIVE_INFINITY): Entry | undefined {
  const statement = given instanceof Uint8Array ? decodeNext(log, given) : given;
  if (statement === undefined) return undefined;
  if (statement.timeMs > notAfterMs) {
    const date = dateText(statement.timeMs);
    log.failure = failureOf(
      statement.sequence,
      'dated-ahead',
      `it is dated ${date}, far ahead of this machine's clock.`,
    );
    return undefined;
  }
  const verdict = examineStatement(log.state, statement);
  if (!verdict.ok) {
    log.failure = verdict.failure;
    return undefined;
  }
  return { statement, checks: verdict.checks, weighty: isWeighty(log.state, statement) };
}

function decodeNext(log: OpenLog, bytes: Uint8Array): SignedStatement | undefined {
  const decoded = decodeStatement(bytes);
  if (decoded.ok) return decoded.statement;
  log.failure = failureOf(log.state.length, decoded.failure, unreadable(decoded.failure, bytes));
  return undefined;
}

function unreadable(failure: StatementDecodeFailure, bytes: Uint8Array): string {
  if (failure !== 'unknown-version') return `it is malformed (${failure}).`;
  return `it has version ${bytes[0]}, and this program reads version ${STATEMENT_VERSION}: it was made by another version of Towpath, or altered by the control server. Next: use the same version of Towpath as the other members.`;
}

function acceptNext(log: OpenLog, { statement }: Entry, signaturesValid: boolean): boolean {
  if (!signaturesValid) {
    const by = statement.content.type === 'join' ? 'the invite key and the node key' : 'its author';
    log.failure = failureOf(statement.sequence, 'bad-signature', `the signature of ${by} is invalid; it is forged.`);
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

/** Applies a log without signature checks. */
function surveyLog(state: PartyState, statements: readonly LogEntry[], notAfterMs?: number): Survey {
  const log = start(state);
  const entries: Entry[] = [];
  for (const bytes of statements) {
    const entry = examineNext(log, bytes, notAfterMs);
    if (entry === undefined) return { state, entries, complete: false };
    acceptNext(log, entry, true);
    entries.push(entry);
  }
  return { state, entries, complete: true };
}

/** The statements that the survey has decoded, and the rest as they were given. */
function decodedOnce({ entries }: Survey, statements: readonly LogEntry[]): LogEntry[] {
  return [...entries.map(({ statement }) => statement), ...statements.slice(entries.length)];
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
    if (at < byFounder && !SAYS_WHO_FOUNDS.has(type)) continue;
    if (at < byAnyone && type === 'join' && !entry.weighty) continue;
    for (const check of entry.checks) pending.push({ ...check, entry });
  }
  return pending;
}

const SAYS_WHO_FOUNDS: ReadonlySet<string> = new Set(['genesis', 'appoint', 'replace-founder', 'rotate']);

function isCheckpoint(entry: Entry): boolean {
  return entry.statement.content.type === 'checkpoint';
}

function isValid({ publicKey, signature, entry }: PendingCheck): boolean {
  return verifySignature(publicKey, signedBytes(entry.statement.body), signature);
}

/** Signature checks passed to the pool at once: enough for any number of threads, without delaying file operations. */
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
