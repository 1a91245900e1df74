import type { TurnCredentials } from '../control-plane.ts';
import type { ControlError } from '../control-error.ts';
import type { PartyId, SigningKey } from '../identity/keys.ts';
import type { ClientMessage, PresenceEntry, ServerMessage } from '../wire/messages.ts';

/** Who signs a request, and when it is given up. */
export interface RequestOptions {
  readonly key: SigningKey;
  readonly signal?: AbortSignal | undefined;
}

/** A connection over which the server pushes. */
export interface LiveConnection {
  /** The server's address, for people. */
  readonly address: string;
  /** Resolves when the connection is over, with the reason. */
  readonly closed: Promise<ControlError>;
  send(message: ClientMessage): void;
  /** Idempotent. */
  close(): Promise<void>;
}

/** How a client reaches control servers: over HTTP and WebSocket, or within one process. */
export interface ControlTransport {
  /** Unix time in ms as the server sees it: by it, members agree on what is fresh. */
  serverTime(): number;
  /** @throws ControlError `server-unavailable` when no server can be reached. */
  connect(options: RequestOptions & { onMessage(message: ServerMessage): void }): Promise<LiveConnection>;
  readLog(
    party: PartyId,
    from: number,
    options: RequestOptions,
  ): Promise<{ length: number; statements: readonly Uint8Array[] }>;
  /** Who of a party is connected to any server now; for its members. */
  readPresence(party: PartyId, options: RequestOptions): Promise<readonly PresenceEntry[]>;
  /** @returns what came before it instead, when somebody was faster. */
  append(
    party: PartyId,
    sequence: number,
    statement: Uint8Array,
    options: RequestOptions,
  ): Promise<{ ok: true } | { ok: false; statements: readonly Uint8Array[] }>;
  keepInvite(party: PartyId, lookup: string, sealed: Uint8Array, options: RequestOptions): Promise<void>;
  findInvite(lookup: string, options: RequestOptions): Promise<Uint8Array>;
  turnCredentials(party: PartyId, options: RequestOptions): Promise<TurnCredentials>;
  /** The addresses to put into invites. */
  readonly servers: readonly string[];
  /** Idempotent. */
  close(): Promise<void>;
}
