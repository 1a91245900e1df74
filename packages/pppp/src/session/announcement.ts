import { encodeMessage } from '../codec/message.ts';
import type { SessionRole } from '../session-types.ts';

/** An answer to the first announcement that comes later than this is probably one to a repeated copy. */
const PROBE_LIMIT_MS = 1000;

/** A client that echoes P2P_RDY is not answered more often than this. */
const SPACING_MS = 5;

/** How an end says that it is ready (spec §5.3): the device by P2P_RDY, the client by ALIVE; and what the answer tells. */
export class Announcement {
  readonly #role: SessionRole;
  readonly #uid: string;
  #datagram: Uint8Array | undefined;
  #firstAt: number | undefined;
  #lastAt = 0;
  /** True once the peer has sent anything that belongs to a session: it has heard that we are ready. */
  heard = false;

  constructor(role: SessionRole, uid: string) {
    this.#role = role;
    this.#uid = uid;
  }

  /** The datagram to send now. */
  next(now: number): Uint8Array {
    this.#lastAt = now;
    this.#firstAt ??= now;
    this.#datagram ??= encodeMessage(this.#role === 'client' ? { type: 'ALIVE' } : { type: 'P2P_RDY', uid: this.#uid });
    return this.#datagram;
  }

  /** True when a knock in the session is to be answered: not once the peer has heard, or echoes would go on for ever. */
  answersKnock(now: number): boolean {
    return !this.heard && now - this.#lastAt >= SPACING_MS;
  }

  /** The round trip in ms that the first answer shows, where it can be trusted. */
  roundTripMs(now: number): number | undefined {
    if (this.#firstAt === undefined || now - this.#firstAt >= PROBE_LIMIT_MS) return undefined;
    return now - this.#firstAt;
  }
}
