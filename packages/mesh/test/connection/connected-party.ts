import { type Clock, type PathPolicy, sleepOn, type Timer } from '@towpath/core';
import type { VirtualClock } from '@towpath/core/testing';
import { SimulatedWireGuard } from '@towpath/mesh/simulated';
import type { SimulatedHost } from '@towpath/net/simulated';
import { ConnectionManager, NATTraversal, type PeerConnection } from '../../src/index.ts';
import { PARTY, type PartyMember, type SimulatedParty } from '../paths/party.ts';

/** A member with its tunnel and its connections, as one daemon. */
export interface ConnectedMember {
  readonly host: SimulatedHost;
  readonly member: PartyMember;
  readonly tunnel: SimulatedWireGuard;
  readonly manager: ConnectionManager;
  /** The member's clock; see {@link StoppableClock}. */
  readonly clock: StoppableClock;
}

/** A clock of one process, whose timers do not fire while the process is stopped; those that are overdue fire when it continues. */
export class StoppableClock implements Clock {
  readonly #clock: VirtualClock;
  readonly #overdue: Set<() => void> = new Set();
  #stopped = false;

  constructor(clock: VirtualClock) {
    this.#clock = clock;
  }

  now(): number {
    return this.#clock.now();
  }

  wallTime(): number {
    return this.#clock.wallTime();
  }

  sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    return sleepOn(this, delayMs, signal);
  }

  timer(delayMs: number, callback: () => void): Timer {
    const fire = () => {
      if (this.#stopped) this.#overdue.add(callback);
      else callback();
    };
    const timer = this.#clock.timer(delayMs, fire);
    const cancel = () => {
      timer.cancel();
      this.#overdue.delete(callback);
    };
    return { cancel, [Symbol.dispose]: cancel };
  }

  stop(): void {
    this.#stopped = true;
  }

  continue(): void {
    this.#stopped = false;
    for (const callback of [...this.#overdue]) if (this.#overdue.delete(callback)) callback();
  }
}

/** Members whose connections to the whole party are kept. */
export class ConnectedParty {
  readonly party: SimulatedParty;
  readonly members: ConnectedMember[] = [];

  constructor(party: SimulatedParty) {
    this.party = party;
  }

  async join(host: SimulatedHost, { policy = 'auto' }: { policy?: PathPolicy } = {}): Promise<ConnectedMember> {
    const { party } = this;
    const clock = new StoppableClock(party.clock);
    const member = await party.memberOn(host.name, host.network, clock);
    const components = { network: host.network, clock, random: party.random };
    const tunnel = await SimulatedWireGuard.open(components);
    const nat = new NATTraversal({ finder: member.finder });
    const manager = new ConnectionManager({ components, policy }, tunnel, nat, member.control);
    const joined = { host, member, tunnel, manager, clock };
    this.members.push(joined);
    return joined;
  }

  /** Connects every member to every other one, until `clock` has advanced by `ms`. */
  async maintain(ms = 10_000): Promise<void> {
    for (const { manager } of this.members) await this.party.clock.runUntil(manager.maintainParty(PARTY));
    await this.party.clock.advance(ms);
  }

  connection(from: ConnectedMember, to: ConnectedMember): PeerConnection {
    return from.manager.connections.get(to.member.peer.id)!;
  }

  /** Echoes from one member to another, one each `everyMs`. @returns when each was answered, `Clock.now` ms */
  async talk(
    from: ConnectedMember,
    to: ConnectedMember,
    { ms, everyMs = 50, until = () => false }: { ms: number; everyMs?: number; until?: () => boolean },
  ): Promise<number[]> {
    const { clock } = this.party;
    const answeredAtMs: number[] = [];
    const ended = new AbortController();
    for (let at = 0; at < ms && !until(); at += everyMs) {
      from.tunnel.echo.ping(to.member.peer.virtualAddress, { signal: ended.signal }).then(
        () => answeredAtMs.push(clock.now()),
        () => {},
      );
      await clock.advance(everyMs);
    }
    ended.abort(new Error('enough'));
    return answeredAtMs;
  }

  async close(): Promise<void> {
    const { clock } = this.party;
    for (const { manager, tunnel } of this.members) {
      await clock.runUntil(manager.close());
      await clock.runUntil(tunnel[Symbol.asyncDispose]());
    }
    await this.party.close();
  }
}
