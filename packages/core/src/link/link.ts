import type { Clock, Timer } from '../clock.ts';
import { AbortedError, errorCode, errorMessage, TowpathError } from '../errors.ts';
import { Events } from '../events.ts';
import { type Log, silentLog } from '../log.ts';
import { PathReason } from '../paths/path-reason.ts';
import { PathSet } from '../paths/path-set.ts';
import type { PathDescription, PathSetEvents } from '../paths/path-set-options.ts';
import { RunToCompletion } from '../run-to-completion.ts';
import { abortable } from '../time/abortable.ts';
import { deadline } from '../time/deadline.ts';
import { Tasks } from '../time/tasks.ts';
import { Improvement } from './improvement.ts';
import { initialLink, type LinkEffect, type LinkEvent, type LinkPhase, type LinkState, stepLink } from './machine.ts';
import type { ConnectContext, LinkEvents, LinkOptions, RetryPolicy } from './options.ts';

type Step<Path> = LinkEvent | { readonly type: 'current'; readonly change: PathSetEvents<Path>['current'] };

/**
 * Keeps one target reachable: starts races, owns the paths that they bring, searches for a better one, replaces a lost
 * one, and reports all of it.
 */
export class Link<Path> implements AsyncDisposable {
  readonly events: Events<LinkEvents<Path>>;
  /** The verified paths. */
  readonly paths: PathSet<Path>;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #options: LinkOptions<Path>;
  readonly #run: RunToCompletion<Step<Path>>;
  readonly #closing = new AbortController();
  /** Made when a better path is wanted for the first time. */
  #improvement: Improvement | undefined;
  /** Races, their remains, and releases that `close` waits for. */
  readonly #work = new Tasks();
  /** Descriptions of paths where the caller gives none. */
  #numbered: Map<Path, PathDescription> | undefined;
  #state: LinkState = initialLink;
  #delays: Iterator<number> | undefined;
  #roundStartedAtMs = 0;
  #timer: Timer | undefined;
  /** Ends the race of the last try, with what of it still goes on. */
  #race: AbortController | undefined;
  #standbySearch: Promise<unknown> | undefined;
  #lastError: TowpathError | undefined;
  #paths = 0;

  constructor({ clock, log = silentLog }: { clock: Clock; log?: Log | undefined }, options: LinkOptions<Path>) {
    this.#clock = clock;
    this.#log = log;
    this.#options = options;
    this.events = new Events(log);
    this.#run = new RunToCompletion(
      (event) => this.#step(event),
      (error) => log.error(`A listener of the link to ${options.target} failed: ${errorMessage(error)}`),
    );
    this.paths = this.#pathSet();
    this.paths.events.on('current', (change) => this.#run.dispatch({ type: 'current', change }));
    this.paths.events.on('health', ({ path, health }) => {
      if (path === this.path && health === 'suspect') this.#searchStandby();
      this.#improve();
    });
  }

  get phase(): LinkPhase {
    return this.#state.phase;
  }

  /** The path in use; undefined while there is none. */
  get path(): Path | undefined {
    return this.paths.current;
  }

  /** The error of the last try or loss. */
  get lastError(): TowpathError | undefined {
    return this.#lastError;
  }

  /** Begins to connect; does nothing when it has begun already. */
  start(): void {
    this.#run.dispatch({ type: 'start' });
  }

  /**
   * Starts if needed and resolves with a path as soon as there is one.
   * @throws the last try's error when the round of tries fails, `link-closed` when the link closes, the signal's
   * reason.
   */
  async ready(signal?: AbortSignal): Promise<Path> {
    signal?.throwIfAborted();
    this.start();
    if (this.path !== undefined) return this.path;
    if (this.phase === 'closed') throw this.#closedError();
    if (this.phase === 'failed' && this.#lastError) throw this.#lastError;
    const { promise, resolve, reject } = Promise.withResolvers<Path>();
    const stops = [
      this.events.on('up', ({ path }) => resolve(path)),
      this.events.on('gaveUp', reject),
      this.events.on('phase', (phase) => phase === 'closed' && reject(this.#closedError())),
    ];
    try {
      return await abortable(promise, signal);
    } finally {
      for (const stop of stops) stop();
    }
  }

  /**
   * Something changed outside. Legal in every phase, and every backoff begins anew: a waiting or failed link tries at
   * once, a running try is followed by another at once if it fails, and a link that is up probes its paths and looks for
   * a better one.
   */
  refresh(reason: PathReason): void {
    this.#log.debug(`Refreshing the link to ${this.#options.target}: ${reason}`);
    this.#run.dispatch({ type: 'refresh' });
  }

  /** Takes over a verified path that was found by other means than a try. */
  add(path: Path): void {
    this.paths.add(path);
  }

  /** Declares a path dead: its user noticed before the watch did. Ignored for a path that is not in the set. */
  reportLoss(path: Path, error: TowpathError): void {
    this.paths.remove(path, PathReason.closed, error);
  }

  /** Stops everything and releases the paths; resolves when nothing is left. Idempotent. */
  async close(): Promise<void> {
    this.#run.dispatch({ type: 'close' });
    await this.#improvement?.stop();
    await this.#work.settled();
    await this.paths.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #pathSet(): PathSet<Path> {
    const { target, probe, health, watch, drain, drainLimitMs, times, selection } = this.#options;
    return new PathSet<Path>(
      { clock: this.#clock, log: this.#log },
      {
        standbys: 0,
        ...selection,
        target,
        describe: (path) => this.#describe(path),
        closed: (path, signal) => watch(path, { signal }),
        release: (path, reason) => {
          this.#numbered?.delete(path);
          return this.#options.release(path, reason);
        },
        probe,
        health,
        drain,
        drainLimitMs,
        times,
      },
    );
  }

  #describe(path: Path): PathDescription {
    if (this.#options.describe) return this.#options.describe(path);
    this.#numbered ??= new Map();
    const known = this.#numbered.get(path);
    if (known) return known;
    this.#paths++;
    const about: PathDescription = { id: `path-${this.#paths}`, kind: 'p2p', label: this.#options.target };
    this.#numbered.set(path, about);
    return about;
  }

  #step(event: Step<Path>): void {
    if (event.type === 'current') {
      this.#changed(event.change);
      return;
    }
    const before = this.#state.phase;
    const { state, effects } = stepLink(this.#state, event);
    this.#state = state;
    if (state.phase !== before) this.#tell('phase', state.phase);
    for (const effect of effects) this.#perform(effect);
  }

  #changed({ path, previous, reason, error }: PathSetEvents<Path>['current']): void {
    if (this.phase === 'closed') return;
    if (path === undefined) {
      const lost = error ?? new TowpathError('path-lost', `The path is not used any more (${reason}).`, this.#about());
      this.#lastError = lost;
      this.#log.info(`Path lost: ${lost.message}`, { code: lost.code, reason });
      this.#tell('down', { error: lost, reason });
      this.#step({ type: 'lost' });
    } else {
      const replaced = this.phase === 'up';
      this.#step({ type: 'connected' });
      this.#tell('up', { path, previous, replaced, reason });
    }
    this.#improve();
  }

  /** Starts or ends the search for a better path. */
  #improve(): void {
    if (this.#improvement === undefined) {
      if (!this.#wantsBetter()) return;
      this.#improvement = new Improvement(
        { clock: this.#clock, log: this.#log },
        {
          wanted: () => this.#wantsBetter(),
          delaysMs: () => this.#options.improve?.delaysMs() ?? [],
          search: (signal) => this.#search('improve', signal, this.#options.improve?.limitMs),
        },
      );
    }
    this.#improvement.update();
  }

  #perform(effect: LinkEffect): void {
    switch (effect.type) {
      case 'new-round':
        this.#delays = this.#policy().delaysMs()[Symbol.iterator]();
        this.#roundStartedAtMs = this.#clock.now();
        return;
      case 'connect':
        this.#work.add(this.#try());
        return;
      case 'wait':
        this.#wait(effect.delayMs);
        return;
      case 'stop-waiting':
        this.#timer?.cancel();
        this.#timer = undefined;
        return;
      case 'check-paths':
        this.paths.wake();
        this.#improvement?.refresh();
        return;
      case 'gave-up':
        this.#gaveUp();
        return;
      case 'release':
        this.#closing.abort(new AbortedError(`The link to ${this.#options.target} was closed.`));
        this.#race?.abort(this.#closing.signal.reason);
        this.#work.add(this.paths.close());
        return;
      default:
        effect satisfies never;
    }
  }

  #tell<Name extends keyof LinkEvents<Path>>(name: Name, value: LinkEvents<Path>[Name]): void {
    this.#run.notify(() => this.events.emit(name, value));
  }

  #wait(delayMs: number, alone = false): void {
    this.#timer = this.#clock.timer(delayMs, () => {
      this.#timer = undefined;
      if (alone) this.#roundStartedAtMs = this.#clock.now();
      this.#run.dispatch({ type: 'timer' });
    });
  }

  #gaveUp(): void {
    const error = this.#lastError ?? this.#closedError();
    this.#log.warn(`Gave up for now: ${error.message}`, { code: error.code, tries: this.#state.tries });
    // Each of the slow tries that follow stands alone: the round's remaining waits are not used.
    this.#delays = undefined;
    const slowMs = this.#policy().slowRetryMs;
    // Behind the round each slow try stands alone, so the round's time limit begins anew for it.
    if (slowMs !== undefined && !this.#options.fatal?.(error)) this.#wait(slowMs, true);
    this.#tell('gaveUp', error);
  }

  async #try(): Promise<void> {
    const { tries, wasUp } = this.#state;
    this.#race?.abort(new AbortedError('Another try has begun.'));
    const race = new AbortController();
    this.#race = race;
    using limit = deadline(this.#clock, this.#remainingMs(), race.signal, () => this.#overtimeError());
    // The search for further paths, after the first one, is ended by the next try and not by this try's time limit.
    limit.signal.addEventListener('abort', () => race.abort(limit.signal.reason), { once: true });
    // A path that was found otherwise may have come and gone meanwhile: then a later try goes on instead of this one.
    const needed = () => this.phase === 'connecting' && this.#race === race;
    try {
      await abortable(this.#ready(), race.signal);
      if (!needed()) return;
      race.signal.throwIfAborted();
      const path = await this.#options.connect(this.#context('connect', tries, wasUp, race.signal));
      limit.cancel();
      this.paths.add(path);
      if (needed()) throw new TowpathError('path-refused', 'The path is not one that may be used.');
    } catch (error) {
      if (needed()) this.#tryFailed(this.#toError(limit.expired ? limit.signal.reason : error), tries);
    }
  }

  /** Waits for what the next try may need: a lost path's local port, and what a search for a standby holds or brings. */
  async #ready(): Promise<void> {
    await this.paths.released();
    await this.#standbySearch;
  }

  #context(
    purpose: ConnectContext<Path>['purpose'],
    tries: number,
    reconnect: boolean,
    signal: AbortSignal,
  ): ConnectContext<Path> {
    return {
      purpose,
      tries,
      reconnect,
      signal,
      offer: (path) => this.paths.add(path),
      goesOn: (work) => this.#work.add(work),
    };
  }

  /** Looks for a further path while there is one. */
  async #search(purpose: 'improve' | 'standby', outer: AbortSignal, limitMs = Number.POSITIVE_INFINITY): Promise<void> {
    using limit = deadline(this.#clock, limitMs);
    // What the search leaves behind its first path ends with `outer`, and not with this search's time limit.
    const signal = AbortSignal.any([outer, limit.signal]);
    const searching = this.#options.connect(this.#context(purpose, 1, true, signal));
    this.#work.add(searching);
    this.paths.add(await searching);
  }

  #searchStandby(): void {
    if (this.#standbySearch !== undefined || this.paths.standby !== undefined || this.phase !== 'up') return;
    this.#log.debug('The current path is suspect and there is no other: searching for one');
    this.#standbySearch = this.#search('standby', this.#closing.signal)
      .catch((error: unknown) => this.#log.debug(`No standby was found: ${errorMessage(error)}`))
      .finally(() => {
        this.#standbySearch = undefined;
      });
    this.#work.add(this.#standbySearch);
  }

  #wantsBetter(): boolean {
    const { improve } = this.#options;
    if (improve === undefined || this.phase !== 'up') return false;
    const current = this.paths.status().find(({ role }) => role === 'current');
    return current !== undefined && improve.wanted(current);
  }

  #tryFailed(error: TowpathError, tries: number): void {
    this.#lastError = error;
    const fatal = this.#options.fatal?.(error) ?? false;
    const nextMs = fatal ? undefined : this.#state.refreshed ? 0 : this.#nextDelayMs();
    this.#log.debug(`Try ${tries} failed: ${error.message}`, { code: error.code, nextMs });
    this.#tell('tryFailed', { error, tries, nextMs });
    this.#run.dispatch({ type: 'try-failed', delayMs: nextMs, fatal });
  }

  #policy(): RetryPolicy {
    return this.#state.wasUp ? (this.#options.again ?? this.#options.first) : this.#options.first;
  }

  #remainingMs(): number {
    const { limitMs } = this.#policy();
    if (limitMs === undefined) return Number.POSITIVE_INFINITY;
    return Math.max(0, limitMs - (this.#clock.now() - this.#roundStartedAtMs));
  }

  #nextDelayMs(): number | undefined {
    const next = this.#delays?.next();
    if (next === undefined || next.done) return undefined;
    return next.value >= this.#remainingMs() ? undefined : next.value;
  }

  #overtimeError(): TowpathError {
    const seconds = (this.#policy().limitMs ?? 0) / 1_000;
    const before = this.#lastError ? ` Before that: ${this.#lastError.message}` : '';
    const message = `${this.#options.target} was not reached within ${seconds} s in all.${before}`;
    return new TowpathError('retries-timed-out', message, {
      ...this.#about(),
      cause: this.#lastError,
      report: this.#lastError?.report,
    });
  }

  #closedError(): TowpathError {
    return new TowpathError('link-closed', `The link to ${this.#options.target} was closed.`, this.#about());
  }

  #about(): { target: string } {
    return { target: this.#options.target };
  }

  #toError(error: unknown): TowpathError {
    if (error instanceof TowpathError) return error;
    return new TowpathError(errorCode(error), errorMessage(error), { ...this.#about(), cause: error });
  }
}
