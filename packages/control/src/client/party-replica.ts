import type { Clock } from '@towpath/core';
import { ControlError } from '../control-error.ts';
import type { SuspicionKind } from '../control-plane.ts';
import {
  equalBytes,
  extendLog,
  latestAcceptableMs,
  type LogEntry,
  type LogHead,
  type LogVerdict,
  type PartyId,
  PartyState,
  type SignatureVerifier,
  type StatementFailure,
  type VerifyOptions,
  verifyLogInPool,
} from '@towpath/membership';

/** Why offered statements were refused. */
export interface VerificationFailure {
  readonly kind: SuspicionKind;
  readonly sequence: number;
  readonly message: string;
}

/** Result of offered statements. */
export interface Offer {
  /** Number of new, verified statements that are part of the log now. */
  readonly added: number;
  /** Statements are missing between the known log and the offered ones. */
  readonly gap: boolean;
  readonly failure: VerificationFailure | undefined;
}

/**
 * One member's copy of a party's log. It only grows, by verified statements, so it detects rollbacks and forks.
 */
export class PartyReplica {
  readonly id: PartyId;
  readonly partyKey: Uint8Array;
  readonly #statements: Uint8Array[] = [];
  readonly #hashes: Uint8Array[] = [];
  #state: PartyState;
  readonly #clock: Clock;
  readonly #verify: SignatureVerifier;
  #last: Promise<unknown> = Promise.resolve();

  constructor(components: { clock: Clock; verify: SignatureVerifier }, { partyKey }: { partyKey: Uint8Array }) {
    this.#clock = components.clock;
    this.#verify = components.verify;
    this.partyKey = partyKey;
    this.#state = new PartyState(partyKey);
    this.id = this.#state.id;
  }

  get state(): PartyState {
    return this.#state;
  }

  get length(): number {
    return this.#statements.length;
  }

  /** Returns the encoded statements from `from` on. */
  since(from: number): readonly Uint8Array[] {
    return this.#statements.slice(from);
  }

  /**
   * Verifies and takes over statements, the first of which is number `from`. Offers are taken one after the other. What
   * is dated far ahead of this machine's clock is refused.
   */
  offer(from: number, statements: readonly LogEntry[]): Promise<Offer> {
    return this.#inTurn(() => this.#take(from, statements, latestAcceptableMs(this.#clock.wallTime())));
  }

  /** As `offer`, for statements that this node has verified before: a machine may start with a wrong clock. */
  restore(statements: readonly Uint8Array[]): Promise<Offer> {
    return this.#inTurn(() => this.#take(0, statements, undefined));
  }

  /** Relation of another member's head to this copy: `ahead`, `known`, or a `fork`. */
  compare(head: LogHead): 'ahead' | 'known' | 'fork' {
    const own = this.#hashes[head.sequence];
    if (own === undefined) return 'ahead';
    return equalBytes(own, head.hash) ? 'known' : 'fork';
  }

  #inTurn(work: () => Promise<Offer>): Promise<Offer> {
    const turn = this.#last.then(work);
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  async #take(from: number, statements: readonly LogEntry[], notAfterMs: number | undefined): Promise<Offer> {
    if (from > this.length) return { added: 0, gap: true, failure: undefined };
    for (let at = 0; at < statements.length && from + at < this.length; at++) {
      if (equalBytes(bytesOf(statements[at]!), this.#statements[from + at]!)) continue;
      return { added: 0, gap: false, failure: forkAt(from + at) };
    }
    const fresh = statements.slice(this.length - from);
    if (fresh.length === 0) return { added: 0, gap: false, failure: undefined };
    const before = this.length;
    const options: VerifyOptions = { verify: this.#verify, ...(notAfterMs === undefined ? {} : { notAfterMs }) };
    const verdict =
      before === 0
        ? await verifyLogInPool(this.partyKey, fresh, options)
        : await extendLog(this.#state, fresh, options);
    this.#keep(verdict);
    const failure = verdict.ok ? undefined : failureOf(verdict.failure, before);
    return { added: this.length - before, gap: false, failure };
  }

  #keep(verdict: LogVerdict): void {
    this.#state = verdict.state;
    for (const { bytes, hash } of verdict.statements) {
      this.#statements.push(bytes);
      this.#hashes.push(hash);
    }
  }
}

/** What a caller is told when statements that it needs were refused. */
export function failureError({ kind, message }: VerificationFailure): ControlError {
  return new ControlError(kind === 'clock' ? 'clock-skew' : 'untrusted-log', message);
}

function failureOf(failure: StatementFailure, before: number): VerificationFailure {
  const { sequence, reason, message } = failure;
  if (reason === 'broken-chain' && sequence === before && before > 0) return forkAt(sequence);
  if (reason === 'dated-ahead') {
    return {
      kind: 'clock',
      sequence,
      message: `${message} It was not applied. Next: set this machine's clock; if it is right, do not trust the control server.`,
    };
  }
  return {
    kind: 'forged',
    sequence,
    message: `${message} Verification of the control server's data failed; none of it was applied.`,
  };
}

function bytesOf(entry: LogEntry): Uint8Array {
  return entry instanceof Uint8Array ? entry : entry.bytes;
}

function forkAt(sequence: number): VerificationFailure {
  return {
    kind: 'fork',
    sequence,
    message: `The control server shows a second history of the party, from statement ${sequence} on. It was not applied. Next: compare with other members.`,
  };
}
