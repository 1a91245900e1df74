import type { TurnCredentials } from '../control-plane.ts';
import type { ControlError } from '../control-error.ts';
import type { PartyId, SigningKey } from '@towpath/membership';
import type { SealedInvite } from '../server/invite-codes.ts';
import type { ClientMessage, PresenceEntry, ServerMessage } from '../wire/messages.ts';

/** Options of a request. */
export interface RequestOptions {
  /** Signs the request. */
  readonly key: SigningKey;
  readonly signal?: AbortSignal | undefined;
  /** Proof of a setup code, with a genesis statement. */
  readonly setupProof?: string | undefined;
}

/** A connection on which the server pushes messages. */
export interface LiveConnection {
  /** Address of the server, for messages. */
  readonly address: string;
  /** Resolves when the connection is over, with the reason. */
  readonly closed: Promise<ControlError>;
  send(message: ClientMessage): void;
  /** Idempotent. */
  close(): Promise<void>;
}

/** Connection of a client to control servers: over HTTP and WebSocket, or in one process. */
export interface ControlTransport {
  /**
   * Unix time in ms by this machine's clock, corrected towards the server's by {@link MAX_CLOCK_SKEW_MS} at the most.
   * For what is over within minutes: requests and signals. Whatever lasts is dated by this machine's clock alone.
   */
  serverTime(): number;
  /**
   * @param options.onMessage is also told the server, as `host:port`; resolves when the message has been processed: more are read
   *   when not too many are waiting
   * @throws ControlError `server-unavailable` when no server can be reached.
   */
  connect(
    options: RequestOptions & { onMessage(message: ServerMessage, server: string): Promise<void> | undefined },
  ): Promise<LiveConnection>;
  readLog(
    party: PartyId,
    from: number,
    options: RequestOptions,
  ): Promise<{ length: number; statements: readonly Uint8Array[] }>;
  /** Members of a party that are connected to any server; for members only. */
  readPresence(party: PartyId, options: RequestOptions): Promise<readonly PresenceEntry[]>;
  /** @returns the statements of another author, when the append was too late */
  append(
    party: PartyId,
    sequence: number,
    statement: Uint8Array,
    options: RequestOptions,
  ): Promise<{ ok: true } | { ok: false; statements: readonly Uint8Array[] }>;
  keepInvite(party: PartyId, invite: SealedInvite, options: RequestOptions): Promise<void>;
  findInvite(lookup: string, options: RequestOptions): Promise<Uint8Array>;
  turnCredentials(party: PartyId, options: RequestOptions): Promise<TurnCredentials>;
  /** The addresses to put into invites. */
  readonly servers: readonly string[];
  /** Idempotent. */
  close(): Promise<void>;
}
