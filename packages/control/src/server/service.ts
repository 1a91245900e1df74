import {
  type Clock,
  deadlineInterval,
  errorMessage,
  type Log,
  type Random,
  silentLog,
  type Timer,
} from '@towpath/core';
import { ControlError } from '../control-error.ts';
import type { Relay } from '../control-plane.ts';
import { toBase64 } from '../encoding/bytes.ts';
import { type PartyId, partyIdOf, type SignatureVerifier } from '../identity/keys.ts';
import { decodeStatement } from '../membership/statement.ts';
import type { PartyState } from '../membership/party-state.ts';
import { type ControlStore, MAX_RECORD_AGE_MS } from '../store/store.ts';
import type { ClientMessage, PresenceEntry } from '../wire/messages.ts';
import { type AppendOutcome, PAGE_STATEMENTS, PartyDirectory } from './party-directory.ts';
import type { RateLimit } from './rate-limit.ts';
import { RelayDirectory } from './relay-directory.ts';
import type { Session, SessionSink } from './session.ts';
import { Switchboard, type SwitchboardCounts } from './switchboard.ts';
import { issueTurnCredentials } from './turn-credentials.ts';

/** What a {@link ControlService} is made of. */
export interface ControlServiceComponents {
  readonly store: ControlStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly log?: Log;
  /** How signatures are checked. @default on the threads of Node's pool */
  readonly verify?: SignatureVerifier;
}

/** What a control server may be told; nothing is needed. */
export interface ControlServiceInit {
  /** Relays that do not report themselves. */
  relays?: readonly Relay[];
  /** The secret shared with the TURN servers. Without it there are no TURN credentials. */
  turnSecret?: string;
  /** @default one hour */
  turnCredentialsValidForMs?: number;
  /** Node keys (base64url) that may report relays. @default none */
  relayReporters?: readonly string[];
  /** Whether the owner of this node key (base64url) may found parties. @default anybody may */
  mayCreateParty?(nodeKey: string): boolean;
  /** Messages of one node over its WebSocket. @default 200 per second, 1000 at once */
  messageLimit?: RateLimit;
}

const RELAYS_EVERY_MS = 5_000;
const DEFAULT_MESSAGE_LIMIT: RateLimit = { perSecond: 200, burst: 1_000 };

/**
 * The control plane without its network: parties' logs, presence and signals for nodes that somebody else has
 * authenticated. Any number of services share a store; none leads.
 */
export class ControlService implements AsyncDisposable {
  readonly #store: ControlStore;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #init: ControlServiceInit;
  readonly #directory: PartyDirectory;
  readonly #relays: RelayDirectory;
  readonly #switchboard: Switchboard;
  #statements = 0;
  #timer: Timer | undefined;
  #stopWatching = () => {};
  #closed = false;

  private constructor(components: ControlServiceComponents, init: ControlServiceInit) {
    const { store, clock, random, log = silentLog } = components;
    this.#store = store;
    this.#clock = clock;
    this.#log = log;
    this.#init = init;
    this.#directory = new PartyDirectory({ ...components, log });
    this.#switchboard = new Switchboard(
      { store, clock, random, log, directory: this.#directory },
      { messageLimit: init.messageLimit ?? DEFAULT_MESSAGE_LIMIT },
    );
    this.#relays = new RelayDirectory(
      { store, clock, log },
      {
        fixed: init.relays ?? [],
        onChange: (relays) => this.#switchboard.broadcast({ type: 'relays', relays: [...relays] }),
      },
    );
  }

  /** @throws ControlError `store-failed`. */
  static async start(components: ControlServiceComponents, init: ControlServiceInit = {}): Promise<ControlService> {
    const service = new ControlService(components, init);
    await service.#open();
    return service;
  }

  get counts(): SwitchboardCounts & { statements: number } {
    return { ...this.#switchboard.counts, statements: this.#statements };
  }

  get store(): ControlStore {
    return this.#store;
  }

  relays(): readonly Relay[] {
    return this.#relays.current;
  }

  /**
   * Adds a statement to a party's log and tells everybody.
   * @param by who hands it in; who may read the party is told what came before it instead.
   * @throws ControlError as {@link PartyDirectory.append}.
   */
  async append(party: PartyId, bytes: Uint8Array, by: Uint8Array): Promise<AppendOutcome> {
    const outcome = await this.#directory.append(party, bytes);
    if (!outcome.ok && !(await this.#mayRead(party, by))) return { ok: false, head: undefined, statements: [] };
    if (outcome.ok) {
      this.#statements++;
      this.#switchboard.announceStatement(party, outcome.statement.sequence, bytes);
    }
    return outcome;
  }

  /** As `append` for the first statement. @throws ControlError `forbidden` when its founder may not create parties. */
  async create(bytes: Uint8Array, by: Uint8Array): Promise<AppendOutcome & { party: PartyId }> {
    const decoded = decodeStatement(bytes);
    if (!decoded.ok || decoded.statement.content.type !== 'genesis') {
      throw new ControlError('invalid-statement', 'A party begins with a genesis statement.');
    }
    const { nodeKey, partyKey } = decoded.statement.content;
    if (this.#init.mayCreateParty?.(toBase64(nodeKey)) === false) {
      throw new ControlError('forbidden', 'This server creates parties for chosen nodes only. Ask whoever runs it.');
    }
    const party = partyIdOf(partyKey);
    return { ...(await this.append(party, bytes, by)), party };
  }

  /**
   * Statements of a party, for its members, former members (up to their removal) and holders of an invite.
   * @throws ControlError `not-found`, `forbidden`.
   */
  async read(party: PartyId, from: number, by: Uint8Array): Promise<{ length: number; statements: Uint8Array[] }> {
    const state = await this.#directory.current(party);
    if (state === undefined) throw new ControlError('not-found', `There is no party ${party} here.`);
    const end = readableEnd(state, by);
    if (end === 0) throw new ControlError('forbidden', 'Only members and invited nodes read the log of a party.');
    const statements = await this.#store.readLog(party, from, Math.max(0, Math.min(PAGE_STATEMENTS, end - from)));
    return { length: Math.min(state.length, end), statements };
  }

  /**
   * What this server takes a party to be, with who is online on any server. Nobody has proven it: nodes verify the log.
   * @throws ControlError `not-found`, `forbidden`.
   */
  async describe(party: PartyId, by: Uint8Array): Promise<{ state: PartyState; presence: PresenceEntry[] }> {
    const state = await this.#directory.current(party);
    if (state === undefined) throw new ControlError('not-found', `There is no party ${party} here.`);
    if (state.memberByKey(by) === undefined) throw new ControlError('forbidden', 'Only members see who is in a party.');
    return { state, presence: await this.#switchboard.presence(party, [...state.members.keys()]) };
  }

  /** @throws ControlError `forbidden` when `by` is no member, `not-found` when there is no TURN server. */
  async turnCredentials(
    party: PartyId,
    by: Uint8Array,
  ): Promise<{ username: string; credential: string; expiresAtMs: number; urls: string[] }> {
    const member = (await this.#directory.current(party))?.memberByKey(by);
    if (member === undefined) throw new ControlError('forbidden', 'Only members of a party use the relays.');
    const { turnSecret, turnCredentialsValidForMs = 3_600_000 } = this.#init;
    if (turnSecret === undefined) throw new ControlError('not-found', 'This server has no relays.');
    const issued = issueTurnCredentials(turnSecret, {
      user: member.id,
      nowMs: this.#clock.wallTime(),
      validForMs: turnCredentialsValidForMs,
    });
    return { ...issued, urls: this.#relays.current.filter((relay) => relay.healthy).flatMap((relay) => relay.urls) };
  }

  /**
   * Keeps a sealed invite for whoever knows its code.
   * @throws ControlError `forbidden` unless `by` leads the party, `conflict` when the place is taken.
   */
  async keepInvite(party: PartyId, lookup: string, sealed: Uint8Array, by: Uint8Array): Promise<void> {
    const member = (await this.#directory.current(party))?.memberByKey(by);
    if (member === undefined || member.role === 'member') {
      throw new ControlError('forbidden', 'Only the founder and admins of a party share its invites.');
    }
    const until = this.#clock.wallTime() + MAX_RECORD_AGE_MS;
    if (!(await this.#store.createRecord('invite', lookup, sealed, until))) {
      throw new ControlError('conflict', 'There is an invite under this code already: make a new code.');
    }
  }

  /** @throws ControlError `not-found`. */
  async findInvite(lookup: string): Promise<Uint8Array> {
    const sealed = await this.#store.getRecord('invite', lookup);
    if (sealed !== undefined) return sealed;
    throw new ControlError('not-found', 'No invite has this code: check for a typing slip, or ask for a new one.');
  }

  /** @throws ControlError `forbidden` unless `by` is one of the configured reporters. */
  async reportRelay(relay: Relay, by: Uint8Array): Promise<void> {
    if (!this.#init.relayReporters?.includes(toBase64(by))) {
      throw new ControlError('forbidden', 'This key may not report relays: add it to the server’s relay reporters.');
    }
    await this.#relays.report(relay);
  }

  /** Takes the report of a relay in this process; good for 30 s, like any other. */
  async reportOwnRelay(relay: Relay): Promise<void> {
    await this.#relays.report(relay);
  }

  /** A node has connected; an older connection of the same node is closed. */
  attach(key: Uint8Array, sink: SessionSink): Session {
    const session = this.#switchboard.attach(key, sink);
    if (this.#relays.current.length > 0) session.send({ type: 'relays', relays: [...this.#relays.current] });
    return session;
  }

  /** The node's connection is gone. Idempotent. */
  detach(session: Session): void {
    this.#switchboard.detach(session);
  }

  /** A message of a connected node. @returns false when the node sends too much and has to be dropped. */
  receive(session: Session, message: ClientMessage): Promise<boolean> {
    return this.#switchboard.receive(session, message);
  }

  /** Closes every session; the store stays open. Idempotent. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#timer?.cancel();
    this.#stopWatching();
    await this.#switchboard.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #open(): Promise<void> {
    await this.#switchboard.open();
    this.#stopWatching = await this.#store.subscribe('relays', () => this.#refreshRelays());
    await this.#relays.refresh();
    this.#timer = deadlineInterval({
      clock: this.#clock,
      intervalMs: RELAYS_EVERY_MS,
      onTick: () => this.#refreshRelays(),
    });
  }

  async #mayRead(party: PartyId, by: Uint8Array): Promise<boolean> {
    const state = await this.#directory.current(party);
    return state !== undefined && readableEnd(state, by) === Number.POSITIVE_INFINITY;
  }

  #refreshRelays(): void {
    this.#relays.refresh().catch((error: unknown) => {
      if (!this.#closed) this.#log.warn('the list of relays could not be read', { error: errorMessage(error) });
    });
  }
}

/** How many statements the owner of a key may read: all as a member or invited, up to its end as a former member. */
function readableEnd(state: PartyState, key: Uint8Array): number {
  if (state.memberByKey(key) !== undefined || state.invite(key) !== undefined) return Number.POSITIVE_INFINITY;
  const end = state.endOfKey(key);
  return end === undefined ? 0 : end + 1;
}
