import { type Clock, type Log, Mutex, type Random } from '@towpath/core';
import type { PartyId, PeerId } from '@towpath/membership';
import { z } from 'zod';
import { ControlError } from '../control-error.ts';
import { type ControlStore, NEVER_MS } from '../store/store.ts';
import { generateSetupCode, isSetupProof, openSetupCode } from '../wire/setup-code.ts';

/** Setup codes that wait for their use; the oldest need not be kept for ever. */
const MAX_SETUP_CODES = 16;

const founderSchema = z.object({ parties: z.array(z.string()) });

/**
 * Makes a code by which one more node may create parties at the servers on a store.
 * @throws ControlError `limit-exceeded`, `store-failed`.
 */
export async function createSetupCode({ store, random }: { store: ControlStore; random: Random }): Promise<string> {
  if ((await store.listRecords('setup')).length >= MAX_SETUP_CODES) {
    throw new ControlError(
      'limit-exceeded',
      `${MAX_SETUP_CODES} setup codes wait for their use already. Use one of them.`,
    );
  }
  const code = generateSetupCode(random);
  const { lookup, key } = openSetupCode(code);
  await store.putRecord('setup', lookup, key, NEVER_MS);
  return code;
}

/** Who may create parties at a server, and how many. */
export class Founding {
  readonly #store: ControlStore;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #log: Log;
  readonly #open: boolean;
  readonly #partiesPerFounder: number;
  readonly #refuse: (message: string) => ControlError;
  readonly #turns = new Mutex();

  constructor(
    components: { store: ControlStore; clock: Clock; random: Random; log: Log },
    options: { open: boolean; partiesPerFounder: number; refuse(message: string): ControlError },
  ) {
    this.#store = components.store;
    this.#clock = components.clock;
    this.#random = components.random;
    this.#log = components.log;
    this.#open = options.open;
    this.#partiesPerFounder = options.partiesPerFounder;
    this.#refuse = options.refuse;
  }

  /** As {@link createSetupCode}. */
  createCode(): Promise<string> {
    return createSetupCode({ store: this.#store, random: this.#random });
  }

  /** Whether anybody has created a party, or has a code to do so. */
  async begun(): Promise<boolean> {
    const [founders, codes] = [await this.#store.listRecords('founder'), await this.#store.listRecords('setup')];
    return founders.length + codes.length > 0;
  }

  /** The parties that a node has created. */
  async partiesOf(founder: PeerId): Promise<readonly PartyId[]> {
    const record = await this.#store.getRecord('founder', founder);
    if (record === undefined) return [];
    const parsed = founderSchema.safeParse(JSON.parse(new TextDecoder().decode(record)));
    return parsed.success ? parsed.data.parties : [];
  }

  /**
   * Lets `founder` create a party by `create`, once it has shown that it may.
   * @param request.proof of a setup code, for a node that has created none yet.
   * @throws ControlError `setup-code-required`, `limit-exceeded`, and what `create` throws.
   */
  async admit<T extends { ok: boolean }>(
    request: { founder: PeerId; party: PartyId; genesis: Uint8Array; proof: string | undefined },
    create: () => Promise<T>,
  ): Promise<T> {
    using _turn = await this.#turns.acquire();
    const { founder, party } = request;
    const known = await this.#store.getRecord('founder', founder);
    const parties = await this.partiesOf(founder);
    if (!parties.includes(party) && parties.length >= this.#partiesPerFounder) {
      throw this.#refuse(
        `This node has created ${parties.length} parties here, as many as the server allows. Next: ask its operator.`,
      );
    }
    const code = this.#open || known !== undefined ? undefined : await this.#findCode(request);
    if (code !== undefined && !(await this.#store.deleteRecord('setup', code))) throw codeRequired(true);
    const outcome = await create();
    if (outcome.ok && !parties.includes(party)) {
      const value = new TextEncoder().encode(JSON.stringify({ parties: [...parties, party] }));
      await this.#store.putRecord('founder', founder, value, NEVER_MS);
      if (code !== undefined) this.#log.info('a setup code was used', { founder, party, atMs: this.#clock.wallTime() });
    }
    return outcome;
  }

  async #findCode({ genesis, proof }: { genesis: Uint8Array; proof: string | undefined }): Promise<string> {
    for (const { key, value } of proof === undefined ? [] : await this.#store.listRecords('setup')) {
      if (isSetupProof(value, genesis, proof!)) return key;
    }
    throw codeRequired(proof !== undefined);
  }
}

function codeRequired(given: boolean): ControlError {
  const what = given
    ? 'This setup code is wrong, or has been used.'
    : 'This server asks for a setup code before it takes a party.';
  return new ControlError(
    'setup-code-required',
    `${what} Next: give the code that the server printed at its first start (--setup-code CODE, or --setup-code - for standard input); its operator makes more with: towpath serve setup-code`,
  );
}
