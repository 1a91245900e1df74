import type { Clock } from '@towpath/core';
import type { PartyId } from '@towpath/membership';
import { ControlError } from '../control-error.ts';
import type { TurnCredentials } from '../control-plane.ts';
import type { ControlTransport, RequestOptions } from './transport.ts';

/** Credentials are renewed when less than this is left of them. */
const CREDENTIALS_MARGIN_MS = 120_000;
/** Credentials are renewed after this time, however late they expire. */
const MAX_CREDENTIALS_MS = 12 * 3_600_000;

/** Requests credentials for the relays and keeps them until shortly before they expire. */
export class RelayCredentials {
  readonly #transport: ControlTransport;
  readonly #clock: Clock;
  #known: { readonly party: PartyId; readonly issued: TurnCredentials } | undefined;

  constructor({ transport, clock }: { transport: ControlTransport; clock: Clock }) {
    this.#transport = transport;
    this.#clock = clock;
  }

  /**
   * Returns usable credentials.
   * @param parties the parties that this node is in
   * @throws ControlError `not-a-member` when there is none; as {@link ControlTransport.turnCredentials}.
   */
  async get(parties: ReadonlyMap<PartyId, unknown>, request: RequestOptions): Promise<TurnCredentials> {
    const known = this.#known;
    // They ended with the membership that they were issued for.
    const usable = known !== undefined && parties.has(known.party);
    if (usable && known.issued.expiresAtMs - CREDENTIALS_MARGIN_MS > this.#clock.wallTime()) return known.issued;
    const [party] = parties.keys();
    if (party === undefined)
      throw new ControlError('not-a-member', 'Only members of a party can use the relays. Next: join a party.');
    const issued = await this.#transport.turnCredentials(party, request);
    // A server that gives a far expiry must not prevent this node from renewing.
    const latestMs = this.#clock.wallTime() + MAX_CREDENTIALS_MS;
    const bounded = { ...issued, expiresAtMs: Math.min(issued.expiresAtMs, latestMs) };
    this.#known = { party, issued: bounded };
    return bounded;
  }
}
