import type { Clock } from '@towpath/core';
import {
  failureOf,
  fromBase64,
  fromHex,
  ID_BYTES,
  inviteProblem,
  KEY_BYTES,
  MAX_SEALED_INVITE_BYTES,
  type PartyId,
  type PartyState,
  toBase64,
  toHex,
} from '@towpath/membership';
import { z } from 'zod';
import { ControlError } from '../control-error.ts';
import { statementRefused } from '../statement-refused.ts';
import type { ControlStore } from '../store/store.ts';
import type { PartyDirectory } from './party-directory.ts';

const indexSchema = z.array(
  z.object({ lookup: z.string(), inviteKey: z.string(), bytes: z.number().default(MAX_SEALED_INVITE_BYTES) }),
);
type Index = z.infer<typeof indexSchema>;

/** A sealed invite as it is handed in. */
export interface SealedInvite {
  /** What the code is filed under: 32 hexadecimal digits. */
  readonly lookup: string;
  /** Which invite of the party it is, so that the code ends with it. */
  readonly inviteKey: Uint8Array;
  readonly sealed: Uint8Array;
}

/** The stored invites of one party. */
export interface CodeUsage {
  readonly count: number;
  readonly bytes: number;
}

/** Sealed invites for whoever knows their codes. A code opens nothing once its invite was used up, revoked, or has expired. */
export class InviteCodes {
  readonly #store: ControlStore;
  readonly #clock: Clock;
  readonly #directory: PartyDirectory;
  readonly #admit: (state: PartyState, bytes: number) => Promise<void>;

  constructor(
    components: { store: ControlStore; clock: Clock; directory: PartyDirectory },
    options: { admit(state: PartyState, bytes: number): Promise<void> },
  ) {
    this.#store = components.store;
    this.#clock = components.clock;
    this.#directory = components.directory;
    this.#admit = options.admit;
  }

  /** What a party's open invites take. */
  async usage(party: PartyId): Promise<CodeUsage> {
    const index = await this.#readIndex(party);
    return { count: index.length, bytes: index.reduce((sum, { bytes }) => sum + bytes, 0) };
  }

  /** @throws ControlError `invalid-invite`, `limit-exceeded`, `conflict` when the lookup value is taken, `store-failed`. */
  async keep(state: PartyState, { lookup, inviteKey, sealed }: SealedInvite): Promise<void> {
    this.#check(state, inviteKey);
    const index = await this.#sweep(state);
    await this.#admit(state, sealed.length);
    const until = state.invite(inviteKey)!.expiresAtMs;
    const value = new Uint8Array([...(fromHex(state.id, ID_BYTES) ?? []), ...inviteKey, ...sealed]);
    if (!(await this.#store.createRecord('invite', lookup, value, until))) {
      throw new ControlError('conflict', 'There is an invite with this code. Next: generate a new code.');
    }
    await this.#writeIndex(state.id, [...index, { lookup, inviteKey: toBase64(inviteKey), bytes: sealed.length }]);
  }

  /** @throws ControlError `not-found`; `invalid-invite` when it was used up, revoked, or has expired. */
  async find(lookup: string): Promise<Uint8Array> {
    const value = await this.#store.getRecord('invite', lookup);
    if (value === undefined) throw unknownCode();
    const party = toHex(value.subarray(0, ID_BYTES));
    const inviteKey = value.subarray(ID_BYTES, ID_BYTES + KEY_BYTES);
    const state = await this.#directory.current(party);
    if (state === undefined) throw unknownCode();
    try {
      this.#check(state, inviteKey);
    } catch (error) {
      await this.#sweep(state);
      throw error;
    }
    return value.subarray(ID_BYTES + KEY_BYTES);
  }

  #check(state: PartyState, inviteKey: Uint8Array): void {
    const problem = inviteProblem(state, inviteKey, this.#clock.wallTime());
    if (problem === undefined) return;
    const { message } = statementRefused(failureOf(state.length, problem.reason, problem.because));
    throw new ControlError('invalid-invite', message);
  }

  /** Removes the codes of a party's invites that are over. @returns those that are left. */
  async #sweep(state: PartyState): Promise<Index> {
    const index = await this.#readIndex(state.id);
    const now = this.#clock.wallTime();
    const isOpen = ({ inviteKey }: Index[number]) => {
      const key = fromBase64(inviteKey, KEY_BYTES);
      return key !== undefined && inviteProblem(state, key, now) === undefined;
    };
    const left = index.filter(isOpen);
    if (left.length === index.length) return index;
    for (const { lookup } of index.filter((each) => !isOpen(each))) await this.#store.deleteRecord('invite', lookup);
    await this.#writeIndex(state.id, left);
    return left;
  }

  async #readIndex(party: PartyId): Promise<Index> {
    const value = await this.#store.getRecord('codes', party);
    if (value === undefined) return [];
    const parsed = indexSchema.safeParse(JSON.parse(new TextDecoder().decode(value)));
    return parsed.success ? parsed.data : [];
  }

  #writeIndex(party: PartyId, index: Index): Promise<void> {
    const value = new TextEncoder().encode(JSON.stringify(index));
    return this.#store.putRecord('codes', party, value, Number.MAX_SAFE_INTEGER);
  }
}

function unknownCode(): ControlError {
  return new ControlError(
    'not-found',
    'There is no invite with this code. Next: check the code, or ask for a new one.',
  );
}
