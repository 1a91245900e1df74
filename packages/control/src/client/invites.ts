import type { Clock, Random } from '@towpath/core';
import {
  generateInviteCode,
  generateSigningKey,
  type Invite,
  isInviteCode,
  type MemberContent,
  openInviteCode,
  parseInviteLink,
  type PartyId,
  sealInvite,
  signingKeyFromSeed,
  unsealInvite,
} from '@towpath/membership';
import type { InviteOptions } from '../control-plane.ts';
import type { PartySession } from './party-session.ts';
import type { ControlTransport, RequestOptions } from './transport.ts';

/** Default validity of an invite: one day. */
const DEFAULT_INVITE_MS = 24 * 3_600_000;

/** Creates invites, and passes them on by short codes that servers keep. */
export class Invites {
  readonly #transport: ControlTransport;
  readonly #clock: Clock;
  readonly #random: Random;

  /** @param components.random must be unpredictable: source of the keys and codes */
  constructor({ transport, clock, random }: { transport: ControlTransport; clock: Clock; random: Random }) {
    this.#transport = transport;
    this.#clock = clock;
    this.#random = random;
  }

  /** Adds an invite to the party's log. @throws ControlError as {@link PartySession.appendAsMember} */
  async create(session: PartySession, options: InviteOptions): Promise<Invite> {
    const key = generateSigningKey(this.#random);
    const { role = 'member', maxUses = 1, validForMs = DEFAULT_INVITE_MS, signal } = options;
    const expiresAtMs = Math.floor(this.#clock.wallTime() + validForMs);
    const content: MemberContent = { type: 'invite', inviteKey: key.publicKey, role, maxUses, expiresAtMs };
    await session.appendAsMember(content, signal);
    const { partyKey, state } = session.replica;
    return { partyKey, secret: key.seed, head: state.head!, servers: this.#transport.servers };
  }

  /** Stores a sealed invite at a server. @returns the code that opens it */
  async share(party: PartyId, invite: Invite, request: RequestOptions): Promise<string> {
    const code = generateInviteCode(this.#random);
    const opened = await openInviteCode(code);
    const sealed = sealInvite(invite, opened, this.#random);
    const inviteKey = signingKeyFromSeed(invite.secret).publicKey;
    await this.#transport.keepInvite(party, { lookup: opened.lookup, inviteKey, sealed }, request);
    return code;
  }

  /** Returns the invite of a link or a short code. */
  async open(linkOrCode: string, request: RequestOptions): Promise<Invite> {
    if (!isInviteCode(linkOrCode)) return parseInviteLink(linkOrCode);
    const opened = await openInviteCode(linkOrCode);
    return unsealInvite(await this.#transport.findInvite(opened.lookup, request), opened);
  }
}
