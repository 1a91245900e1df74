import { encodeMessage } from '../codec/message.ts';
import type { SessionRole } from '../session-types.ts';

/** An answer later than this is probably one to a repeated ready message, ms. */
const PROBE_LIMIT_MS = 1000;

/** A client that echoes P2P_RDY is not answered more often than this. */
const SPACING_MS = 5;

/**
 * The ready messages of a session (docs/protocol/pppp.md, "Punch and ready"): P2P_RDY of the device, ALIVE of the
 * client; measures the round trip by the answer.
 */
export class ReadyHandshake {
  readonly #role: SessionRole;
  readonly #uid: string;
  #datagram: Uint8Array | undefined;
  #firstAt: number | undefined;
  #lastAt = 0;
  /** True once the peer has sent a message of the session: it has received our ready message. */
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

  /**
   * True when a punch in the session is to be answered. Once the peer is ready it is not, or echoes would never end.
   */
  answersPunch(now: number): boolean {
    return !this.heard && now - this.#lastAt >= SPACING_MS;
  }

  /** Round trip by the first answer, ms; undefined when the answer may be one to a repeated message. */
  roundTripMs(now: number): number | undefined {
    if (this.#firstAt === undefined || now - this.#firstAt >= PROBE_LIMIT_MS) return undefined;
    return now - this.#firstAt;
  }
}
