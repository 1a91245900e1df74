import { type Clock, errorMessage, type Log } from '@towpath/core';
import type { PartyId, PartyState } from '@towpath/membership';
import { readTurnUser } from '../wire/turn-user.ts';

/** What is known of a party is read again when it is older than this, ms. */
const FRESH_MS = 4_000;
/** Parties whose last read is remembered. */
const MAX_PARTIES = 20_000;

/** Cached state of parties, and a read of the stored one. */
interface PartyReader {
  peek(party: PartyId): PartyState | undefined;
  current(party: PartyId): Promise<unknown>;
}

/** Says which TURN credentials have ended before their time, from what is in memory; reads the store behind. */
export class TurnRevocation {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #parties: PartyReader;
  readonly #readAtMs = new Map<PartyId, number>();

  constructor(components: { clock: Clock; log: Log; parties: PartyReader }) {
    this.#clock = components.clock;
    this.#log = components.log;
    this.#parties = components.parties;
  }

  isRevoked(user: string): boolean {
    const issued = readTurnUser(user);
    if (issued === undefined) return false;
    const { member, party } = issued;
    const state = this.#parties.peek(party);
    if (state !== undefined && !state.members.has(member)) return true;
    this.#refresh(party);
    return false;
  }

  #refresh(party: PartyId): void {
    const now = this.#clock.now();
    if (now - (this.#readAtMs.get(party) ?? Number.NEGATIVE_INFINITY) < FRESH_MS) return;
    if (this.#readAtMs.size >= MAX_PARTIES) this.#readAtMs.clear();
    this.#readAtMs.set(party, now);
    this.#parties.current(party).catch((error: unknown) => {
      this.#log.warn('a party could not be read to check TURN credentials', { party, error: errorMessage(error) });
    });
  }
}
