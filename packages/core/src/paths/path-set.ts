import type { Clock } from '../clock.ts';
import { AbortedError, errorCode, errorMessage, TowpathError } from '../errors.ts';
import { Events } from '../events.ts';
import { type Log, silentLog } from '../log.ts';
import { RunToCompletion } from '../run-to-completion.ts';
import { SparseMap } from '../sparse.ts';
import { Tasks } from '../time/tasks.ts';
import { DataLoss } from './data-loss.ts';
import { isLossExplained, type PathHealth, type PathRole } from './monitor.ts';
import { PathEntry, type PathSetEvent } from './path-entry.ts';
import { Monitor } from './path-monitor.ts';
import { PathReason } from './path-reason.ts';
import type { PathSetEvents, PathSetOptions, PathStatus } from './path-set-options.ts';
import {
  noSelection,
  type PathFacts,
  SELECTION,
  type Selection,
  type SelectionOptions,
  selectPaths,
} from './selection.ts';

const DEFAULT_DRAIN_LIMIT_MS = 5_000;
const DEFAULT_MAX_PATHS = 16;

/**
 * The verified paths of one target: measures them, selects the current one, keeps standbys, and replaces the current
 * path before the old one is closed (make before break). There is never more than one current path.
 */
export class PathSet<Path> implements AsyncDisposable {
  readonly events: Events<PathSetEvents<Path>>;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #options: PathSetOptions<Path>;
  readonly #entries = new SparseMap<string, PathEntry<Path>>();
  /** The same entries: what is asked for each datagram must not need a description. */
  readonly #byPath = new SparseMap<Path, PathEntry<Path>>();
  readonly #releases = new Tasks();
  /** Made when data is lost for the first time. */
  #dataLoss: DataLoss | undefined;
  readonly #run: RunToCompletion<PathSetEvent<Path>>;
  #closed = false;
  #choice: SelectionOptions;
  #selection: Selection = noSelection;
  #currentPath: Path | undefined;
  /** The current path's round trip when the standbys were last measured for comparison, ms. */
  #comparedRttMs = Number.NEGATIVE_INFINITY;
  /** Paths that were removed but not reported yet. */
  readonly #removed: PathSetEvents<Path>['removed'][] = [];

  constructor({ clock, log = silentLog }: { clock: Clock; log?: Log }, options: PathSetOptions<Path>) {
    this.#clock = clock;
    this.#log = log;
    this.#options = options;
    this.#choice = options;
    this.events = new Events(log);
    this.#run = new RunToCompletion(
      (event) => this.#step(event),
      (error) => log.error(`A listener of the paths to ${options.target} failed: ${errorMessage(error)}`),
    );
  }

  /** The path that carries the data; undefined while there is none. */
  get current(): Path | undefined {
    return this.#pathOf(this.#selection.current);
  }

  /** The path that takes over when the current one dies. */
  get standby(): Path | undefined {
    return this.#pathOf(this.#selection.standby);
  }

  /** Where every datagram is sent besides {@link current}: the standby, while the current path is in doubt. */
  get alsoSendOn(): Path | undefined {
    return this.#pathOf(this.#selection.alsoSendOn);
  }

  get selection(): Selection {
    return this.#selection;
  }

  /** Paths that are not yet left, draining ones included. */
  get size(): number {
    return this.#entries.size;
  }

  /** What is known of every path. */
  status(): PathStatus<Path>[] {
    return [...this.#entries.values()].map((entry) => ({
      ...this.#factsOf(entry),
      path: entry.path,
      label: entry.about.label,
      role: roleOf(this.#selection, entry.about.id),
      lastHeardAtMs: entry.monitor?.state.lastHeardAtMs,
    }));
  }

  /**
   * Takes over a verified path and owns it from now on. A path whose id is known already is released at once.
   * @param replaced paths that are left in the same step: the choice is made without them
   */
  add(path: Path, replaced: readonly Path[] = []): void {
    this.#run.dispatch({ type: 'add', path, replaced });
  }

  /** Leaves a path at once, without draining. Does nothing for a path that is not in the set. */
  remove(path: Path, reason: PathReason, error?: TowpathError): void {
    const entry = this.#entryOf(path);
    if (entry) this.#dispatch({ type: 'remove', entry, reason, error });
  }

  /** Reports that something was received on a path; see {@link Monitor.heard}. Cheap enough for every datagram. */
  heard(path: Path, data = true): void {
    this.#entryOf(path)?.monitor?.heard(data);
  }

  /** Reports that something was sent on a path; see {@link Monitor.sent}. Cheap enough for every datagram. */
  sent(path: Path, sinceMs?: number, data = true): void {
    this.#entryOf(path)?.monitor?.sent(sinceMs, data);
  }

  /** For how long nothing was heard on a path although something was sent on it, ms; undefined when nothing awaits an answer. */
  unansweredMs(path: Path): number | undefined {
    const sinceMs = this.#entryOf(path)?.monitor?.state.unansweredSinceMs;
    return sinceMs === undefined ? undefined : this.#clock.now() - sinceMs;
  }

  /**
   * Says that the remote end suspects the current path. Unless its next probe is answered, data goes over the standby as
   * well from now on.
   */
  doubt(): void {
    const entry = this.#currentEntry;
    if (entry?.monitor === undefined) return;
    entry.monitor.doubt();
    this.#tellDoubt(entry);
  }

  /**
   * Reports that data over the current path is lost. If its probes are answered it is avoided for a while, and tried again
   * later.
   * @param inARow how often data was not answered; what the path's own loss explains changes nothing. @default too often for that
   */
  dataLost(inARow: number = Number.POSITIVE_INFINITY): void {
    const entry = this.#currentEntry;
    const state = entry?.monitor?.state;
    if (entry === undefined || state === undefined || state.health === 'suspect' || state.missed > 0) return;
    if (isLossExplained(state, inARow)) return;
    const others = [...this.#entries.values()].filter((each) => each !== entry && !each.draining);
    this.#dataLoss ??= new DataLoss({ clock: this.#clock }, { onExpired: () => this.configure({}) });
    this.#dataLoss.lost(
      entry.about.id,
      others.map(({ about }) => about.id),
    );
    this.configure({});
  }

  /** For how long a path is still avoided because it lost data, ms; 0 for one that is not. It may have left the set. */
  avoidedMs(path: Path): number {
    return this.#dataLoss?.leftMs(this.#options.describe(path).id) ?? 0;
  }

  /** Reports that data over the current path arrives at the remote end, which has answered it. */
  dataCarried(): void {
    const { current } = this.#selection;
    if (current !== undefined) this.#dataLoss?.carried(current);
  }

  /** Tries paths that lost data again at once: the network has changed. */
  forgetDataLoss(): void {
    this.#dataLoss?.forget();
    this.configure({});
  }

  /** Changes policy, redundancy or the number of standbys; what is not given stays as it is. */
  configure(options: SelectionOptions): void {
    this.#run.dispatch({ type: 'options', options });
  }

  /** Probes every path at once: the network may have changed. */
  wake(): void {
    for (const { monitor } of [...this.#entries.values()]) monitor?.wake();
  }

  /** Releases every path and resolves when all are released. Idempotent. */
  async close(): Promise<void> {
    this.#run.dispatch({ type: 'close' });
    // Called by a listener, the event has not been handled yet.
    await Promise.resolve();
    await this.#releases.settled();
  }

  /** Resolves when the releases that have begun are done. */
  released(): Promise<void> {
    return this.#releases.settled();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #step(event: PathSetEvent<Path>): void {
    switch (event.type) {
      case 'add':
        this.#add(event.path, event.replaced);
        return;
      case 'remove':
        this.#leave(event.entry, event.reason, event.error);
        break;
      case 'health':
        this.#health(event.entry, event.health);
        break;
      case 'measured':
        this.#measured(event.entry);
        this.#leaveSuspect();
        break;
      case 'missed':
        if (event.entry === this.#currentEntry && event.entry.monitor?.state.missed === 1) {
          this.#wakeStandbys();
          this.#tellDoubt(event.entry);
        }
        this.#leaveSuspect();
        break;
      case 'options':
        this.#choice = { ...this.#choice, ...event.options };
        break;
      case 'close':
        this.#closed = true;
        this.#dataLoss?.[Symbol.dispose]();
        for (const entry of [...this.#entries.values()]) this.#leave(entry, PathReason.shutdown, undefined);
        break;
      default:
        event satisfies never;
    }
    this.#select();
  }

  #add(path: Path, replaced: readonly Path[]): void {
    const about = this.#options.describe(path);
    const isNew = !this.#closed && !this.#entries.has(about.id);
    for (const entry of isNew ? replaced.map((each) => this.#entryOf(each)) : []) {
      if (entry !== undefined) this.#leave(entry, PathReason.surplus, undefined);
    }
    if (!isNew || this.#entries.size >= (this.#options.maxPaths ?? DEFAULT_MAX_PATHS)) {
      this.#release(path, about.id, this.#closed ? PathReason.shutdown : PathReason.surplus);
      return;
    }
    const entry = new PathEntry({ options: this.#options, run: this.#run }, path, about);
    this.#entries.set(about.id, entry);
    this.#byPath.set(path, entry);
    if (this.#options.probe !== undefined) entry.monitor = new Monitor({ clock: this.#clock }, entry);
    this.#options.health?.(path, (health) => this.#dispatch({ type: 'health', entry, health }), entry.ended);
    this.#options.closed?.(path, entry.ended).then(
      (error) => this.#closedByItself(entry, error),
      (error: unknown) => this.#closedByItself(entry, error),
    );
    this.#log.debug(`Path ${about.id} added`, { kind: about.kind, to: about.label, rttMs: about.rttMs });
    this.#tell('added', { path, id: about.id });
    this.#select();
  }

  #dispatch(event: PathSetEvent<Path>): void {
    this.#run.dispatch(event);
  }

  #closedByItself(entry: PathEntry<Path>, error: unknown): void {
    if (this.#entries.get(entry.about.id) !== entry) return;
    this.#dispatch({ type: 'remove', entry, reason: PathReason.closed, error: this.#toError(error) });
  }

  #health(entry: PathEntry<Path>, health: PathHealth): void {
    const { path, about } = entry;
    if (this.#entries.get(about.id) !== entry) return;
    this.#log.debug(`Path ${about.id} is ${health}`);
    entry.reported = health;
    this.#tell('health', { path, id: about.id, health });
    if (health === 'dead') this.#leave(entry, PathReason.probesLost, this.#deadError(entry));
    else if (health === 'suspect' && about.id === this.#selection.current) this.#wakeStandbys();
  }

  /** Standbys are probed rarely: when the current path's round trip changes, theirs are measured anew to compare. */
  #measured(entry: PathEntry<Path>): void {
    const rttMs = entry.monitor?.state.rttMs;
    if (entry.about.id !== this.#selection.current || rttMs === undefined) return;
    if (Math.abs(rttMs - this.#comparedRttMs) < SELECTION.directGainMs) return;
    this.#comparedRttMs = rttMs;
    this.#wakeStandbys();
  }

  /** Leaves a current path that misses probes, once a standby has answered one since the first of them was sent. */
  #leaveSuspect(): void {
    const entry = this.#currentEntry;
    const sinceMs = entry?.monitor?.state.missedSinceMs;
    if (entry === undefined || sinceMs === undefined || !entry.monitor?.isReplaceable) return;
    const answers = this.#selection.standbys.some((id) => {
      const state = this.#entries.get(id)?.monitor?.state;
      return state !== undefined && state.health === 'good' && state.measuredAtMs > sinceMs;
    });
    if (answers) this.#leave(entry, PathReason.probesLost, this.#deadError(entry));
  }

  #tellDoubt({ path }: PathEntry<Path>): void {
    this.#run.notify(() => this.#options.onDoubt?.(path));
  }

  #wakeStandbys(): void {
    for (const id of this.#selection.standbys) this.#entries.get(id)?.monitor?.wake();
  }

  #select(): void {
    const before = this.#selection;
    const facts = [...this.#entries.values()].map((entry) => this.#factsOf(entry));
    const next = selectPaths(facts, before, this.#choice, this.#clock.now());
    this.#selection = next;
    this.#tellCurrent(next);
    this.#tellStandby(before, next);
    for (const [id, entry] of this.#entries) {
      entry.wasCurrent ||= id === next.current;
      entry.monitor?.setRole(roleOf(next, id));
    }
    for (const id of next.draining) this.#drain(id, next.current !== undefined);
    for (const removed of this.#removed.splice(0)) this.#tell('removed', removed);
  }

  #tellCurrent({ current, reason }: Selection): void {
    const previous = this.#currentPath;
    const path = this.#pathOf(current);
    if (path === previous) return;
    this.#currentPath = path;
    this.#comparedRttMs = Number.NEGATIVE_INFINITY;
    const left = this.#removed.find((removed) => removed.path === previous);
    const why = left?.reason ?? reason ?? PathReason.policy;
    this.#log.info(`Current path: ${current ?? 'none'} (${why})`, { target: this.#options.target });
    this.#tell('current', { path, previous, reason: why, error: left?.error });
  }

  #tellStandby(before: Selection, next: Selection): void {
    if (before.standby === next.standby && before.alsoSendOn === next.alsoSendOn) return;
    this.#tell('standby', { path: this.#pathOf(next.standby), alsoSend: next.alsoSendOn !== undefined });
  }

  /** A path that never carried data has nothing to drain. */
  #drain(id: string, replaced: boolean): void {
    const entry = this.#entries.get(id);
    if (entry === undefined || entry.draining) return;
    entry.draining = true;
    const { drain, drainLimitMs = DEFAULT_DRAIN_LIMIT_MS } = this.#options;
    const left = () => this.#dispatch({ type: 'remove', entry, reason: PathReason.surplus, error: undefined });
    if (drain === undefined || !entry.wasCurrent || !replaced) {
      left();
      return;
    }
    const limit = this.#clock.timer(drainLimitMs, left);
    const ended = entry.ended;
    ended.addEventListener('abort', () => limit.cancel(), { once: true });
    Promise.resolve()
      .then(() => drain(entry.path, ended))
      .then(left, left);
  }

  #leave(entry: PathEntry<Path>, reason: PathReason, error: TowpathError | undefined): void {
    const { path, about } = entry;
    if (this.#entries.get(about.id) !== entry) return;
    this.#entries.delete(about.id);
    this.#byPath.delete(path);
    entry.end(new AbortedError(`Path ${about.id} was left: ${reason}.`));
    this.#removed.push({ path, id: about.id, reason, error });
    this.#release(path, about.id, reason);
  }

  #release(path: Path, id: string, reason: PathReason): void {
    const released = Promise.resolve()
      .then(() => this.#options.release(path, reason))
      .catch((error: unknown) => this.#log.warn(`Path ${id} was not released: ${errorMessage(error)}`));
    this.#releases.add(released);
  }

  #tell<Name extends keyof PathSetEvents<Path>>(name: Name, value: PathSetEvents<Path>[Name]): void {
    this.#run.notify(() => this.events.emit(name, value));
  }

  #pathOf(id: string | undefined): Path | undefined {
    return id === undefined ? undefined : this.#entries.get(id)?.path;
  }

  get #currentEntry(): PathEntry<Path> | undefined {
    const { current } = this.#selection;
    return current === undefined ? undefined : this.#entries.get(current);
  }

  #entryOf(path: Path): PathEntry<Path> | undefined {
    return this.#byPath.get(path);
  }

  #factsOf({ about, monitor, reported }: PathEntry<Path>): PathFacts {
    const { id, kind, family = 4, rttMs, ends, furtherUplink } = about;
    const losesData = this.#dataLoss?.has(id) ?? false;
    if (monitor === undefined) {
      const unprobed = { health: reported, rttMs, rttVariationMs: undefined, lossRatio: 0 };
      return { id, kind, family, ...unprobed, ends, furtherUplink, losesData };
    }
    const { state } = monitor;
    const { health, rttVariationMs, lossRatio } = state;
    return { id, kind, family, health, rttMs: state.rttMs, rttVariationMs, lossRatio, ends, furtherUplink, losesData };
  }

  #deadError({ about, monitor }: PathEntry<Path>): TowpathError {
    const { target } = this.#options;
    const message = `The path to ${about.label} answered none of the last ${monitor?.state.unanswered ?? 0} probes.`;
    return new TowpathError('path-dead', message, { target });
  }

  #toError(error: unknown): TowpathError {
    if (error instanceof TowpathError) return error;
    return new TowpathError(errorCode(error), errorMessage(error), { target: this.#options.target, cause: error });
  }
}

function roleOf({ current, draining }: Selection, id: string): PathRole {
  if (id === current) return 'current';
  return draining.includes(id) ? 'draining' : 'standby';
}
