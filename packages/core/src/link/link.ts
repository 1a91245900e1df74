import type { Clock, Timer } from '../clock.ts';
import { AbortedError, errorCode, errorMessage, TowpathError } from '../errors.ts';
import { Events } from '../events.ts';
import { type Log, silentLog } from '../log.ts';
import { initialLink, type LinkEffect, type LinkEvent, type LinkPhase, type LinkState, stepLink } from './machine.ts';

/** How often and how long a link tries. */
export interface RetryPolicy {
  /** The waits between the tries of one round, ms; when they end, the round has failed. See `backoff`. */
  delaysMs(): Iterable<number>;
  /** A round is over after this long, whatever the number of tries, ms. */
  limitMs?: number;
  /** After a failed round one more try every so often, ms; without it the link stays failed until poked. */
  slowRetryMs?: number;
}

/** What happens to a link. */
export interface LinkEvents<Path> {
  /** Every change of phase. */
  phase: LinkPhase;
  /** There is a path: the first, a new one after a loss, or a better one (`replaced`). */
  up: { path: Path; replaced: boolean };
  /** The path is lost and the link is trying to get another. */
  down: TowpathError;
  /** A try has failed; the next comes in `nextMs`, or never. */
  tryFailed: { error: TowpathError; tries: number; nextMs: number | undefined };
  /** The round of tries has failed. */
  gaveUp: TowpathError;
}

export interface LinkOptions<Path> {
  /** What it reaches, as a person reads it. */
  target: string;
  clock: Clock;
  log?: Log;
  /** One try: a race, a login, whatever brings a usable path. Releases everything when `signal` aborts. */
  connect(context: { signal: AbortSignal; tries: number; reconnect: boolean }): Promise<Path>;
  /** Resolves (or rejects) with the reason when the path is dead. Ends quietly when `signal` aborts. */
  watch(path: Path, context: { signal: AbortSignal }): Promise<TowpathError>;
  /** Closes a path. */
  release(path: Path): void | Promise<void>;
  /** The first connect. */
  first: RetryPolicy;
  /** After a loss. @default `first` */
  again?: RetryPolicy;
  /** An error that no further try can mend (a wrong password). @default never */
  fatal?(error: TowpathError): boolean;
}

/** Keeps one target reachable: connects, watches the path, replaces it, and says so. */
export class Link<Path> implements AsyncDisposable {
  readonly events: Events<LinkEvents<Path>> = new Events();
  readonly #options: LinkOptions<Path>;
  readonly #log: Log;
  readonly #closing = new AbortController();
  #state: LinkState = initialLink;
  #path: Path | undefined;
  #watching: AbortController | undefined;
  #delays: Iterator<number> | undefined;
  #roundStartedAt = 0;
  #timer: Timer | undefined;
  #trying: Promise<void> = Promise.resolve();
  readonly #releases = new Set<Promise<void>>();
  /** The lost path's release: the next try may need what it holds, such as its local port. */
  #lostReleased: Promise<void> = Promise.resolve();
  #lastError: TowpathError | undefined;

  constructor(options: LinkOptions<Path>) {
    this.#options = options;
    this.#log = options.log ?? silentLog;
  }

  get phase(): LinkPhase {
    return this.#state.phase;
  }

  /** The path in use; undefined while there is none. */
  get path(): Path | undefined {
    return this.#path;
  }

  /** The error of the last try or loss. */
  get lastError(): TowpathError | undefined {
    return this.#lastError;
  }

  /** Begins to connect; does nothing when it has begun already. */
  start(): void {
    this.#dispatch({ type: 'start' });
  }

  /**
   * Starts if needed and resolves with a path as soon as there is one.
   * @throws the last try's error when the round of tries fails, `link-closed` when the link closes, the signal's reason.
   */
  async ready(signal?: AbortSignal): Promise<Path> {
    signal?.throwIfAborted();
    this.start();
    if (this.#path !== undefined) return this.#path;
    if (this.phase === 'closed') throw this.#closedError();
    if (this.phase === 'failed' && this.#lastError) throw this.#lastError;
    const done = new AbortController();
    const either = signal ? AbortSignal.any([signal, done.signal]) : done.signal;
    try {
      return await Promise.race([
        this.events.once('up', { signal: either }).then(({ path }) => path),
        this.events.once('gaveUp', { signal: either }).then((error) => Promise.reject(error)),
        this.events
          .once('phase', { accept: (phase) => phase === 'closed', signal: either })
          .then(() => Promise.reject(this.#closedError())),
      ]);
    } finally {
      done.abort();
    }
  }

  /** Something changed outside: a waiting or failed link tries at once, with a fresh round. */
  poke(why: string): void {
    this.#log.debug(`Trying again at once: ${why}`);
    this.#dispatch({ type: 'poke' });
  }

  /** Declares the current path dead (its user noticed before the watch did). Ignored for any other path. */
  reportLoss(path: Path, error: TowpathError): void {
    if (path === this.#path) this.#lose(error);
  }

  /**
   * Make before break: takes over a better path. The old one is released after the listeners of `up` have run, and
   * after `drained` if given.
   */
  replace(path: Path, drained?: Promise<unknown>): void {
    const old = this.#path;
    if (this.phase === 'closed' || old === undefined) {
      void this.#release(path);
      return;
    }
    this.#watching?.abort();
    this.#adopt(path, true);
    if (drained === undefined) void this.#release(old);
    else void this.#track(drained.then(noop, noop).then(() => this.#options.release(old)));
  }

  /** Stops everything and releases the path. Idempotent. */
  async close(): Promise<void> {
    this.#dispatch({ type: 'close' });
    await this.#trying;
    await Promise.all(this.#releases);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #closedError(): TowpathError {
    const { target } = this.#options;
    return new TowpathError('link-closed', `The link to ${target} was closed.`, { target });
  }

  #policy(): RetryPolicy {
    return this.#state.wasUp ? (this.#options.again ?? this.#options.first) : this.#options.first;
  }

  #dispatch(event: LinkEvent): void {
    const before = this.#state.phase;
    const { state, effects } = stepLink(this.#state, event);
    this.#state = state;
    if (state.phase !== before) this.events.emit('phase', state.phase);
    for (const effect of effects) this.#perform(effect);
  }

  #perform(effect: LinkEffect): void {
    switch (effect.type) {
      case 'new-round':
        this.#delays = this.#policy().delaysMs()[Symbol.iterator]();
        this.#roundStartedAt = this.#options.clock.now();
        return;
      case 'connect':
        this.#trying = this.#try();
        return;
      case 'wait':
        this.#wait(effect.delayMs);
        return;
      case 'stop-waiting':
        this.#timer?.cancel();
        this.#timer = undefined;
        return;
      case 'gave-up':
        this.#gaveUp();
        return;
      case 'release':
        this.#closing.abort(new AbortedError(`The link to ${this.#options.target} was closed.`));
        this.#watching?.abort();
        if (this.#path !== undefined) void this.#release(this.#path);
        this.#path = undefined;
        return;
      default:
        effect satisfies never;
    }
  }

  #wait(delayMs: number, alone = false): void {
    this.#timer = this.#options.clock.timer(delayMs, () => {
      this.#timer = undefined;
      if (alone) this.#roundStartedAt = this.#options.clock.now();
      this.#dispatch({ type: 'timer' });
    });
  }

  #gaveUp(): void {
    const error = this.#lastError ?? this.#closedError();
    this.#log.warn(`Gave up for now: ${error.message}`, { code: error.code, tries: this.#state.tries });
    const slowMs = this.#policy().slowRetryMs;
    // Behind the round each slow try stands alone, so the round's time limit begins anew for it.
    if (slowMs !== undefined && !this.#options.fatal?.(error)) this.#wait(slowMs, true);
    this.events.emit('gaveUp', error);
  }

  async #try(): Promise<void> {
    const { tries, wasUp } = this.#state;
    const remaining = this.#remainingMs();
    const overtime = new AbortController();
    const limit =
      remaining === undefined
        ? undefined
        : this.#options.clock.timer(remaining, () => overtime.abort(this.#overtimeError()));
    const signal = AbortSignal.any([this.#closing.signal, overtime.signal]);
    try {
      await this.#lostReleased;
      const path = await this.#options.connect({ signal, tries, reconnect: wasUp });
      if (this.phase === 'closed') {
        await this.#options.release(path);
        return;
      }
      this.#adopt(path, false);
    } catch (error) {
      if (this.phase === 'closed') return;
      this.#tryFailed(this.#toError(overtime.signal.aborted ? overtime.signal.reason : error), tries);
    } finally {
      limit?.cancel();
    }
  }

  #tryFailed(error: TowpathError, tries: number): void {
    this.#lastError = error;
    const fatal = this.#options.fatal?.(error) ?? false;
    const nextMs = fatal ? undefined : this.#nextDelayMs();
    this.#log.debug(`Try ${tries} failed: ${error.message}`, { code: error.code, nextMs });
    this.events.emit('tryFailed', { error, tries, nextMs });
    this.#dispatch({ type: 'try-failed', delayMs: nextMs, fatal });
  }

  #remainingMs(): number | undefined {
    const { limitMs } = this.#policy();
    if (limitMs === undefined) return undefined;
    return Math.max(0, limitMs - (this.#options.clock.now() - this.#roundStartedAt));
  }

  #nextDelayMs(): number | undefined {
    const next = this.#delays?.next();
    if (next === undefined || next.done) return undefined;
    const remaining = this.#remainingMs();
    return remaining !== undefined && next.value >= remaining ? undefined : next.value;
  }

  #overtimeError(): TowpathError {
    const { target } = this.#options;
    const seconds = (this.#policy().limitMs ?? 0) / 1_000;
    const before = this.#lastError ? ` Before that: ${this.#lastError.message}` : '';
    const message = `${target} was not reached within ${seconds} s in all.${before}`;
    return new TowpathError('retries-timed-out', message, { target, cause: this.#lastError });
  }

  #adopt(path: Path, replaced: boolean): void {
    this.#path = path;
    const watching = new AbortController();
    this.#watching = watching;
    this.#options.watch(path, { signal: watching.signal }).then(
      (error) => this.#watchEnded(watching, error),
      (error: unknown) => this.#watchEnded(watching, this.#toError(error)),
    );
    this.#dispatch({ type: 'connected' });
    this.events.emit('up', { path, replaced });
  }

  #watchEnded(watching: AbortController, error: TowpathError): void {
    if (this.#watching === watching && !watching.signal.aborted) this.#lose(error);
  }

  #lose(error: TowpathError): void {
    const path = this.#path;
    if (path === undefined) return;
    this.#path = undefined;
    this.#lastError = error;
    this.#watching?.abort();
    this.#log.info(`Path lost: ${error.message}`, { code: error.code });
    this.#lostReleased = this.#release(path);
    this.events.emit('down', error);
    this.#dispatch({ type: 'lost' });
  }

  #release(path: Path): Promise<void> {
    return this.#track(Promise.resolve(path).then((old) => this.#options.release(old)));
  }

  #track(work: Promise<void>): Promise<void> {
    const tracked = work
      .catch((error: unknown) => this.#log.warn(`A path could not be released: ${errorMessage(error)}`))
      .finally(() => this.#releases.delete(tracked));
    this.#releases.add(tracked);
    return tracked;
  }

  #toError(error: unknown): TowpathError {
    if (error instanceof TowpathError) return error;
    return new TowpathError(errorCode(error), errorMessage(error), { target: this.#options.target, cause: error });
  }
}

function noop(): void {}
