import { type Clock, Events, type Timer } from '@towpath/core';
import type { DefaultRoute } from './default-route.ts';
import type { InterfaceAddress } from './network.ts';
import type { NetworkChange, NetworkChanges } from './network-changes.ts';

/** How the network of a host stands at one moment. */
export interface NetworkSnapshot {
  readonly interfaces: readonly InterfaceAddress[];
  readonly routes: readonly DefaultRoute[];
}

export interface ChangeWatcherComponents {
  clock: Clock;
  /** Looks at the network. */
  snapshot(): Promise<NetworkSnapshot>;
  /** Milliseconds since the host started, time asleep included; `undefined` where nothing tells. */
  uptimeMs?(): number;
}

export interface ChangeWatcherOptions {
  /** How often to look, ms; when absent only {@link ChangeWatcher.wake} makes it look. */
  pollMs?: number;
}

/** Nothing may change for so long before changes are reported. */
const DEBOUNCE_MS = 1_000;
/** A network that never comes to rest is reported all the same after so long. */
const MAX_DEBOUNCE_MS = 10_000;
/** A timer that is later than this was stopped with the process or the host. */
const SLEEP_THRESHOLD_MS = 5_000;
/** Smaller steps of the wall clock are corrections of its drift. */
const JUMP_THRESHOLD_MS = 2_000;

interface Times {
  readonly now: number;
  readonly wall: number;
  readonly uptime: number;
  readonly dueAt: number;
}

/** Compares snapshots of the network and reports the differences once they have come to rest. */
export class ChangeWatcher implements NetworkChanges {
  readonly #components: ChangeWatcherComponents;
  readonly #pollMs: number | undefined;
  readonly #events: Events<{ changes: readonly NetworkChange[] }> = new Events();
  #listeners = 0;
  #timer: Timer | undefined;
  #times: Times | undefined;
  /** What was last reported, and what was last seen. */
  #reported: NetworkSnapshot | undefined;
  #seen: NetworkSnapshot | undefined;
  #unsettledSince: number | undefined;
  #notes: NetworkChange[] = [];
  /** Counts the watching periods, so that a look that ends late does not touch the next one. */
  #period = 0;

  constructor(components: ChangeWatcherComponents, options: ChangeWatcherOptions = {}) {
    this.#components = components;
    this.#pollMs = options.pollMs;
  }

  subscribe(
    listener: (changes: readonly NetworkChange[]) => void,
    { signal }: { signal?: AbortSignal | undefined } = {},
  ): Disposable {
    if (signal?.aborted) return { [Symbol.dispose]: () => {} };
    const off = this.#events.on('changes', listener);
    if (this.#listeners++ === 0) this.#start();
    let ended = false;
    const end = () => {
      if (ended) return;
      ended = true;
      off();
      signal?.removeEventListener('abort', end);
      if (--this.#listeners === 0) this.#stop();
    };
    signal?.addEventListener('abort', end, { once: true });
    return { [Symbol.dispose]: end };
  }

  /** Looks at the network after the debounce time, as when something tells of a change. */
  wake(): void {
    if (this.#listeners > 0) this.#unsettled();
  }

  /** Reports a change that snapshots do not show. */
  note(change: NetworkChange): void {
    if (this.#listeners === 0) return;
    this.#notes.push(change);
    this.#unsettled();
  }

  #start(): void {
    const period = ++this.#period;
    this.#arm(this.#pollMs);
    void this.#components.snapshot().then((snapshot) => {
      if (period !== this.#period) return;
      this.#reported ??= snapshot;
      this.#seen ??= snapshot;
    });
  }

  #stop(): void {
    this.#period++;
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#times = undefined;
    this.#reported = undefined;
    this.#seen = undefined;
    this.#unsettledSince = undefined;
    this.#notes = [];
  }

  #unsettled(): void {
    this.#unsettledSince ??= this.#components.clock.now();
    this.#arm(DEBOUNCE_MS);
  }

  #arm(delayMs: number | undefined): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    if (delayMs === undefined) return;
    this.#times = this.#readTimes(delayMs);
    this.#timer = this.#components.clock.timer(delayMs, () => {
      this.#noteTime();
      void this.#look(this.#period);
    });
  }

  async #look(period: number): Promise<void> {
    const snapshot = await this.#components.snapshot();
    if (period !== this.#period) return;
    this.#reported ??= snapshot;
    const moved = this.#seen !== undefined && compareSnapshots(this.#seen, snapshot).length > 0;
    this.#seen = snapshot;
    const now = this.#components.clock.now();
    if (moved) this.#unsettledSince ??= now;
    const waiting = this.#unsettledSince !== undefined;
    const tooLong = waiting && now - this.#unsettledSince! >= MAX_DEBOUNCE_MS;
    if (moved && !tooLong) {
      this.#arm(DEBOUNCE_MS);
      return;
    }
    this.#unsettledSince = undefined;
    this.#arm(this.#pollMs);
    this.#report(snapshot);
  }

  #report(snapshot: NetworkSnapshot): void {
    const changes = [...this.#notes, ...compareSnapshots(this.#reported!, snapshot)];
    this.#notes = [];
    this.#reported = snapshot;
    if (changes.length > 0) this.#events.emit('changes', changes);
  }

  #readTimes(delayMs: number): Times {
    const { clock, uptimeMs } = this.#components;
    const now = clock.now();
    return { now, wall: clock.wallTime(), uptime: uptimeMs?.() ?? now, dueAt: now + delayMs };
  }

  /** Time that passed without this process, and steps of the wall clock, since the timer was set. */
  #noteTime(): void {
    const before = this.#times;
    if (before === undefined) return;
    const { now, wall, uptime } = this.#readTimes(0);
    const asleepMs = Math.max(0, uptime - before.uptime - (now - before.now));
    const sleptMs = asleepMs + Math.max(0, now - before.dueAt);
    const jumpMs = wall - before.wall - (now - before.now) - asleepMs;
    if (sleptMs > SLEEP_THRESHOLD_MS) this.#notes.push({ kind: 'sleep', sleptMs });
    if (Math.abs(jumpMs) > JUMP_THRESHOLD_MS) this.#notes.push({ kind: 'clock-jump', jumpMs });
  }
}

/** The differences between two snapshots, losses before gains. */
export function compareSnapshots(before: NetworkSnapshot, after: NetworkSnapshot): NetworkChange[] {
  const names = (snapshot: NetworkSnapshot) => new Set(snapshot.interfaces.map(({ name }) => name));
  const [had, has] = [names(before), names(after)];
  return [
    ...addressesMissing(before, after).map((lost) => ({ kind: 'address-removed' as const, ...lost })),
    ...[...had].filter((name) => !has.has(name)).map((name) => ({ kind: 'interface-down' as const, name })),
    ...[...has].filter((name) => !had.has(name)).map((name) => ({ kind: 'interface-up' as const, name })),
    ...addressesMissing(after, before).map((gained) => ({ kind: 'address-added' as const, ...gained })),
    ...([4, 6] as const).flatMap((family) => routeChange(family, before, after)),
  ];
}

function addressesMissing(
  of: NetworkSnapshot,
  from: NetworkSnapshot,
): { name: string; address: string; family: 4 | 6 }[] {
  return of.interfaces
    .filter(({ name, address }) => !from.interfaces.some((other) => other.name === name && other.address === address))
    .map(({ name, address, family }) => ({ name, address, family }));
}

function routeChange(family: 4 | 6, earlier: NetworkSnapshot, later: NetworkSnapshot): NetworkChange[] {
  const of = ({ routes }: NetworkSnapshot) => routes.find((route) => route.family === family);
  const [before, after] = [of(earlier), of(later)];
  const same =
    before?.interface === after?.interface && before?.source === after?.source && before?.gateway === after?.gateway;
  return same ? [] : [{ kind: 'default-route-changed', family, before, after }];
}
