import { type Clock, createLog, SeededRandom } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import { MemoryStorage, type SavedParty } from '../src/client/client-storage.ts';
import { ControlClient } from '../src/client/control-client.ts';
import { LocalTransport } from '../src/client/local-transport.ts';
import type { ControlTransport, LiveConnection, RequestOptions } from '../src/client/transport.ts';
import type { ControlPlaneEvents, Suspicion, TurnCredentials } from '../src/control-plane.ts';
import {
  type Invite,
  type NodeKeys,
  type PartyId,
  partyIdOf,
  PartyState,
  type PeerId,
  replayLog,
  type SignedStatement,
  toBase64,
  verifySignature,
} from '@towpath/membership';
import { generateNodeIdentity, type NodeIdentity } from '../src/identity/node-identity.ts';
import type { SealedInvite } from '../src/server/invite-codes.ts';
import { ControlService } from '../src/server/service.ts';
import { MemoryStore } from '../src/store/memory-store.ts';
import type { ClientMessage, PresenceEntry, ServerMessage } from '../src/wire/messages.ts';

/** What the plane does to one victim. Each hook may lie as it likes; without hooks it is honest. */
export interface Lies {
  /** Alters, or swallows, what is pushed to the victim. */
  push?(message: ServerMessage): ServerMessage | undefined;
  /** Alters, or swallows, what the victim sends. */
  send?(message: ClientMessage): ClientMessage | undefined;
  /** Alters the statements that the victim reads. */
  log?(from: number, statements: readonly Uint8Array[]): readonly Uint8Array[];
  /** Alters a sealed invite. */
  invite?(sealed: Uint8Array): Uint8Array;
}

/** One node behind the malicious plane, with everything that it was told. */
export interface Victim {
  readonly client: ControlClient;
  readonly identity: NodeIdentity;
  readonly lies: Lies;
  readonly suspicions: Suspicion[];
  readonly signals: ControlPlaneEvents['signal'][];
  /** What its log says. */
  readonly said: string[];
  /** Says something to the victim that the honest plane never said. */
  inject(message: ServerMessage): void;
}

/** A control plane under somebody's control: honest machinery, and a liar between it and every node. */
export class MaliciousPlane {
  readonly clock: VirtualClock;
  readonly store: MemoryStore;
  readonly #random: SeededRandom;
  readonly #service: ControlService;
  readonly #victims: Victim[] = [];

  private constructor(clock: VirtualClock, random: SeededRandom, store: MemoryStore, service: ControlService) {
    this.clock = clock;
    this.store = store;
    this.#random = random;
    this.#service = service;
  }

  static async start(clock: VirtualClock, random: SeededRandom): Promise<MaliciousPlane> {
    const store = new MemoryStore({ clock });
    const service = await ControlService.start({ clock, random, store, verify: verifySignature }, { founding: 'open' });
    return new MaliciousPlane(clock, random, store, service);
  }

  /** @param init.clockOffsetMs how far its machine's clock is ahead. */
  async victim(
    init: { identity?: NodeIdentity; saved?: readonly SavedParty[]; clockOffsetMs?: number } = {},
  ): Promise<Victim> {
    const identity = init.identity ?? generateNodeIdentity(this.#random);
    const storage = new MemoryStorage();
    for (const party of init.saved ?? []) await storage.save(partyIdOf(party.partyKey), party);
    const transport = new LyingTransport(new LocalTransport({ clock: this.clock, service: this.#service }));
    const said: string[] = [];
    const client = await ControlClient.open({
      log: createLog(({ level, message, fields }) => said.push(`${level} ${message} ${JSON.stringify(fields)}`)),
      clock: shiftedClock(this.clock, init.clockOffsetMs ?? 0),
      storage,
      random: this.#random,
      identity,
      transport,
      verify: verifySignature,
    });
    const victim: Victim = {
      client,
      identity,
      lies: transport.lies,
      suspicions: [],
      signals: [],
      said,
      inject: (message) => transport.inject(message),
    };
    client.events.on('suspicion', (suspicion) => victim.suspicions.push(suspicion));
    client.events.on('signal', (signal) => victim.signals.push(signal));
    this.#victims.push(victim);
    return victim;
  }

  async close(): Promise<void> {
    for (const { client } of this.#victims) await client.close();
    await this.#service.close();
  }
}

/** The same clock on a machine whose date is wrong. */
export function shiftedClock(clock: Clock, offsetMs: number): Clock {
  return {
    now: () => clock.now(),
    wallTime: () => clock.wallTime() + offsetMs,
    sleep: (delayMs, signal) => clock.sleep(delayMs, signal),
    timer: (delayMs, callback) => clock.timer(delayMs, callback),
  };
}

class LyingTransport implements ControlTransport {
  readonly lies: Lies = {};
  readonly servers: readonly string[] = [];
  readonly #honest: ControlTransport;
  #deliver: (message: ServerMessage, server: string) => void = () => {};

  constructor(honest: ControlTransport) {
    this.#honest = honest;
  }

  inject(message: ServerMessage): void {
    this.#deliver(message, 'liar.example:4100');
  }

  serverTime(): number {
    return this.#honest.serverTime();
  }

  async connect(options: Parameters<ControlTransport['connect']>[0]): Promise<LiveConnection> {
    this.#deliver = options.onMessage;
    const connection = await this.#honest.connect({
      ...options,
      onMessage: (message, server) => {
        const told = this.lies.push === undefined ? message : this.lies.push(message);
        return told === undefined ? undefined : options.onMessage(told, server);
      },
    });
    return {
      address: connection.address,
      closed: connection.closed,
      close: () => connection.close(),
      send: (message) => {
        const passed = this.lies.send === undefined ? message : this.lies.send(message);
        if (passed !== undefined) connection.send(passed);
      },
    };
  }

  async readLog(
    party: string,
    from: number,
    options: RequestOptions,
  ): Promise<{ length: number; statements: readonly Uint8Array[] }> {
    const page = await this.#honest.readLog(party, from, options);
    const statements = this.lies.log?.(from, page.statements) ?? page.statements;
    return { length: from + statements.length, statements };
  }

  readPresence(party: string, options: RequestOptions): Promise<readonly PresenceEntry[]> {
    return this.#honest.readPresence(party, options);
  }

  append(
    party: string,
    sequence: number,
    statement: Uint8Array,
    options: RequestOptions,
  ): Promise<{ ok: true } | { ok: false; statements: readonly Uint8Array[] }> {
    return this.#honest.append(party, sequence, statement, options);
  }

  keepInvite(party: string, invite: SealedInvite, options: RequestOptions): Promise<void> {
    return this.#honest.keepInvite(party, invite, options);
  }

  async findInvite(lookup: string, options: RequestOptions): Promise<Uint8Array> {
    const sealed = await this.#honest.findInvite(lookup, options);
    return this.lies.invite?.(sealed) ?? sealed;
  }

  turnCredentials(party: string, options: RequestOptions): Promise<TurnCredentials> {
    return this.#honest.turnCredentials(party, options);
  }

  async close(): Promise<void> {}
}

export const bytes = (...values: number[]): Uint8Array => new Uint8Array(values);
export const nodeKeys = (identity: NodeIdentity): NodeKeys => ({
  signing: identity.signing,
  wireGuardPublicKey: identity.wireGuard.publicKey,
});

/** A party behind a malicious plane. */
export interface Scene {
  readonly clock: VirtualClock;
  readonly random: SeededRandom;
  readonly plane: MaliciousPlane;
  readonly ann: Victim;
  readonly bob: Victim;
  readonly cleo: Victim;
  readonly party: PartyId;
  readonly invite: Invite;
  /** The log as the store has it, and the state that it amounts to. */
  log(): Promise<Uint8Array[]>;
  state(): Promise<PartyState>;
  idOf(victim: Victim): PeerId;
  names(victim: Victim): string[];
}

/** Ann founded a party, Bob and Cleo are in it; nobody has been lied to yet. */
export async function scene(): Promise<Scene> {
  const clock = new VirtualClock();
  const random = new SeededRandom(3);
  const plane = await MaliciousPlane.start(clock, random);
  const ann = await plane.victim();
  const bob = await plane.victim();
  const cleo = await plane.victim();
  const { id: party } = await clock.runUntil(ann.client.createParty({ name: 'camp', memberName: 'Ann' }));
  const invite = await clock.runUntil(ann.client.invite(party, { maxUses: 10 }));
  for (const [victim, memberName] of [
    [bob, 'Bob'],
    [cleo, 'Cleo'],
  ] as const) {
    await clock.runUntil(victim.client.join(invite, { memberName }));
  }
  await clock.advance(10_000);
  const log = () => plane.store.readLog(party, 0, 1_000);
  const state = async () => replayLog(new PartyState(invite.partyKey), await log()).state;
  const idOf = (victim: Victim) => victim.client.party(party)!.self.id;
  const names = (victim: Victim) =>
    victim.client
      .party(party)!
      .peers.map((peer) => peer.name)
      .sort();
  return { clock, random, plane, ann, bob, cleo, party, invite, log, state, idOf, names };
}

export function statementsMessage(party: string, statement: SignedStatement): ServerMessage {
  const { sequence } = statement;
  return { type: 'statements', party, from: sequence, length: sequence + 1, statements: [toBase64(statement.bytes)] };
}
