import type { SeededRandom, VirtualClock } from '@towpath/core';
import { ControlClient } from '../src/client/control-client.ts';
import { LocalTransport } from '../src/client/local-transport.ts';
import type { ControlTransport, LiveConnection, RequestOptions } from '../src/client/transport.ts';
import type { ControlPlaneEvents, Suspicion, TurnCredentials } from '../src/control-plane.ts';
import { verifySignature } from '../src/identity/keys.ts';
import { generateNodeIdentity, type NodeIdentity } from '../src/identity/node-identity.ts';
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
    const service = await ControlService.start({ clock, random, store, verify: verifySignature });
    return new MaliciousPlane(clock, random, store, service);
  }

  async victim(): Promise<Victim> {
    const identity = generateNodeIdentity(this.#random);
    const transport = new LyingTransport(new LocalTransport({ clock: this.clock, service: this.#service }));
    const client = await ControlClient.open({
      clock: this.clock,
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

class LyingTransport implements ControlTransport {
  readonly lies: Lies = {};
  readonly servers: readonly string[] = [];
  readonly #honest: ControlTransport;
  #deliver: (message: ServerMessage) => void = () => {};

  constructor(honest: ControlTransport) {
    this.#honest = honest;
  }

  inject(message: ServerMessage): void {
    this.#deliver(message);
  }

  serverTime(): number {
    return this.#honest.serverTime();
  }

  async connect(options: Parameters<ControlTransport['connect']>[0]): Promise<LiveConnection> {
    this.#deliver = options.onMessage;
    const connection = await this.#honest.connect({
      ...options,
      onMessage: (message) => {
        const told = this.lies.push === undefined ? message : this.lies.push(message);
        if (told !== undefined) options.onMessage(told);
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

  keepInvite(party: string, lookup: string, sealed: Uint8Array, options: RequestOptions): Promise<void> {
    return this.#honest.keepInvite(party, lookup, sealed, options);
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
