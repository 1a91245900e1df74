import { MAX_SEALED_INVITE_BYTES, type PartyId, type PartyState, type SignedStatement } from '@towpath/membership';
import { ControlError } from '../control-error.ts';
import type { Founding } from './founding.ts';
import type { CodeUsage } from './invite-codes.ts';

/** How much of a server one party, and all parties that one node has created, may use. */
export interface PartyLimitOptions {
  readonly membersPerParty: number;
  /** The log and the stored invites of a party. */
  readonly bytesPerParty: number;
  /** Invites that are stored for their short codes. */
  readonly codesPerParty: number;
  readonly partiesPerFounder: number;
  readonly membersPerFounder: number;
  readonly bytesPerFounder: number;
  readonly codesPerFounder: number;
}

export const DEFAULT_PARTY_LIMITS: PartyLimitOptions = {
  membersPerParty: 1_000,
  bytesPerParty: 8_388_608,
  codesPerParty: 64,
  partiesPerFounder: 16,
  membersPerFounder: 2_000,
  bytesPerFounder: 33_554_432,
  codesPerFounder: 256,
};

export type PartyLimitName = keyof PartyLimitOptions;

/**
 * Statements that are always accepted: a party that is at its limits can still remove, demote and change keys, and
 * whoever holds its key can take it back from a thief who has filled it.
 */
const ALWAYS: ReadonlySet<string> = new Set([
  'remove',
  'set-role',
  'rotate',
  'appoint',
  'replace-founder',
  'revoke-invite',
]);

interface Components {
  founding: Founding;
  stateOf(party: PartyId): Promise<PartyState | undefined>;
  codesOf(party: PartyId): Promise<CodeUsage>;
}

/** Refuses what is valid but what the server has no room for. */
export class PartyLimits {
  readonly #components: Components;
  readonly #options: PartyLimitOptions;
  readonly #reached: Record<PartyLimitName, number>;

  constructor(components: Components, options: PartyLimitOptions) {
    this.#components = components;
    this.#options = options;
    this.#reached = Object.fromEntries(Object.keys(options).map((name) => [name, 0])) as Record<PartyLimitName, number>;
  }

  get options(): PartyLimitOptions {
    return this.#options;
  }

  /** How often each limit was reached. */
  get reached(): Readonly<Record<PartyLimitName, number>> {
    return { ...this.#reached };
  }

  /** Counts that a limit was reached. @returns the error to throw */
  refuse(limit: PartyLimitName, message: string): ControlError {
    this.#reached[limit]++;
    return new ControlError('limit-exceeded', message);
  }

  /** @throws ControlError `limit-exceeded`. */
  async admitStatement(state: PartyState, statement: SignedStatement): Promise<void> {
    const { content, bytes } = statement;
    if (ALWAYS.has(content.type)) return;
    const joins = content.type === 'join' ? 1 : 0;
    const { membersPerParty, membersPerFounder } = this.#options;
    if (state.members.size + joins > membersPerParty) {
      throw this.#full('membersPerParty', `${membersPerParty} members in one party`);
    }
    const creator = content.type === 'genesis' ? statement.author : state.creator;
    const others = await this.#othersOf(creator, state);
    const members = joins + sumOf([state, ...others].map((each) => each.members.size));
    if (members > membersPerFounder) {
      throw this.#full('membersPerFounder', `${membersPerFounder} members in all parties that one node has created`);
    }
    await this.#admitBytes([state, ...others], bytes.length);
  }

  /** @param bytes of the sealed invite. @throws ControlError `limit-exceeded`. */
  async admitCode(state: PartyState, bytes: number): Promise<void> {
    const { codesPerParty, codesPerFounder } = this.#options;
    const { count } = await this.#components.codesOf(state.id);
    if (count >= codesPerParty) {
      const message = `The party has ${count} open invites with codes, as many as this server keeps. Next: revoke some, or hand over links.`;
      throw this.refuse('codesPerParty', message);
    }
    const others = await this.#othersOf(state.creator, state);
    let total = count;
    for (const { id } of others) total += (await this.#components.codesOf(id)).count;
    if (total >= codesPerFounder) {
      const message = `All parties that one node has created have ${total} open invites with codes, as many as this server keeps. Next: revoke some, or hand over links.`;
      throw this.refuse('codesPerFounder', message);
    }
    await this.#admitBytes([state, ...others], bytes);
  }

  /** @param states of the party, then of the others of its creator */
  async #admitBytes(states: readonly PartyState[], bytes: number): Promise<void> {
    const { bytesPerParty, bytesPerFounder } = this.#options;
    const [party] = states;
    const isNear = party !== undefined && this.#mostBytesOf(party) + bytes > bytesPerParty;
    if (isNear && (await this.#bytesOf(party)) + bytes > bytesPerParty) {
      throw this.#full('bytesPerParty', `${bytesPerParty} bytes for the log and the invites of one party`);
    }
    // Bounds first: the invites of every party are read only where the sum may be too large.
    if (sumOf(states.map((state) => this.#mostBytesOf(state))) + bytes <= bytesPerFounder) return;
    let total = bytes;
    for (const state of states) total += await this.#bytesOf(state);
    if (total > bytesPerFounder) {
      throw this.#full('bytesPerFounder', `${bytesPerFounder} bytes for all parties that one node has created`);
    }
  }

  #mostBytesOf({ logBytes }: PartyState): number {
    return logBytes + this.#options.codesPerParty * MAX_SEALED_INVITE_BYTES;
  }

  async #bytesOf({ id, logBytes }: PartyState): Promise<number> {
    return logBytes + (await this.#components.codesOf(id)).bytes;
  }

  async #othersOf(creator: string, state: PartyState): Promise<PartyState[]> {
    const others: PartyState[] = [];
    for (const party of await this.#components.founding.partiesOf(creator)) {
      const other = party === state.id ? undefined : await this.#components.stateOf(party);
      if (other !== undefined) others.push(other);
    }
    return others;
  }

  #full(limit: PartyLimitName, what: string): ControlError {
    return this.refuse(
      limit,
      `This server keeps at most ${what}. Next: remove members, or ask the operator of the server.`,
    );
  }
}

function sumOf(values: readonly number[]): number {
  return values.reduce((sum, each) => sum + each, 0);
}
