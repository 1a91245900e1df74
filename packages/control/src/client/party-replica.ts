import type { SuspicionKind } from '../control-plane.ts';
import { equalBytes } from '../encoding/bytes.ts';
import { type PartyId, type SignatureVerifier, verifySignatureInPool } from '../identity/keys.ts';
import { type LogHead, PartyState } from '../membership/party-state.ts';
import type { StatementFailure } from '../membership/rules.ts';
import { extendLog, type LogVerdict, verifyLogInPool } from '../membership/verify.ts';

/** What does not add up about statements that were offered. */
export interface Doubt {
  readonly kind: SuspicionKind;
  readonly sequence: number;
  readonly message: string;
}

/** What became of offered statements. */
export interface Offer {
  /** How many were new, good, and are part of the log now. */
  readonly added: number;
  /** Statements are missing between what is known and what was offered. */
  readonly gap: boolean;
  readonly doubt: Doubt | undefined;
}

/**
 * One member's own copy of a party's log. It only ever grows, by statements that it has verified, so what it has seen
 * once cannot be taken back: it is the member's memory against rollback and forks.
 */
export class PartyReplica {
  readonly id: PartyId;
  readonly partyKey: Uint8Array;
  readonly #statements: Uint8Array[] = [];
  readonly #hashes: Uint8Array[] = [];
  #state: PartyState;
  readonly #verify: SignatureVerifier;
  #last: Promise<unknown> = Promise.resolve();

  constructor(partyKey: Uint8Array, verify: SignatureVerifier = verifySignatureInPool) {
    this.#verify = verify;
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

  /** The encoded statements from `from` on. */
  since(from: number): readonly Uint8Array[] {
    return this.#statements.slice(from);
  }

  /** Verifies and takes over statements, the first of which is number `from`. Offers are taken one after the other. */
  offer(from: number, statements: readonly Uint8Array[]): Promise<Offer> {
    const turn = this.#last.then(() => this.#take(from, statements));
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  /** How somebody else's head fits: `ahead` of this replica, `known` to it, or a `fork`. */
  compare(head: LogHead): 'ahead' | 'known' | 'fork' {
    const own = this.#hashes[head.sequence];
    if (own === undefined) return 'ahead';
    return equalBytes(own, head.hash) ? 'known' : 'fork';
  }

  async #take(from: number, statements: readonly Uint8Array[]): Promise<Offer> {
    if (from > this.length) return { added: 0, gap: true, doubt: undefined };
    for (let at = 0; at < statements.length && from + at < this.length; at++) {
      if (equalBytes(statements[at]!, this.#statements[from + at]!)) continue;
      return { added: 0, gap: false, doubt: forkAt(from + at) };
    }
    const fresh = statements.slice(this.length - from);
    if (fresh.length === 0) return { added: 0, gap: false, doubt: undefined };
    const before = this.length;
    const verdict =
      before === 0
        ? await verifyLogInPool(this.partyKey, fresh, this.#verify)
        : await extendLog(this.#state, fresh, this.#verify);
    this.#keep(verdict);
    const doubt = verdict.ok ? undefined : doubtOf(verdict.failure, before);
    return { added: this.length - before, gap: false, doubt };
  }

  #keep(verdict: LogVerdict): void {
    this.#state = verdict.state;
    for (const { bytes, hash } of verdict.statements) {
      this.#statements.push(bytes);
      this.#hashes.push(hash);
    }
  }
}

function doubtOf(failure: StatementFailure, before: number): Doubt {
  const { sequence, reason, message } = failure;
  if (reason === 'broken-chain' && sequence === before && before > 0) return forkAt(sequence);
  return {
    kind: 'forged',
    sequence,
    message: `${message} The control server, or somebody who changed its data, is not to be trusted; nothing of it was applied.`,
  };
}

function forkAt(sequence: number): Doubt {
  return {
    kind: 'fork',
    sequence,
    message: `The control server shows a second history of the party, from statement ${sequence} on. It was not applied; compare with other members who to trust.`,
  };
}
