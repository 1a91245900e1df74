import type { Clock, Timer } from '../clock.ts';
import { AbortedError, errorCode, errorMessage, TowpathError } from '../errors.ts';
import { type Log, silentLog } from '../log.ts';
import { RunToCompletion } from '../run-to-completion.ts';
import {
  initialRace,
  type PathKindOptions,
  type LossReason,
  type RaceEffect,
  type RaceEvent,
  type RaceState,
  stepRace,
} from './machine.ts';
import type { Candidate, RaceComponents, RaceOptions } from './options.ts';
import type { AttemptNotes, AttemptReport, RaceProgress, RaceReport, RaceResult } from './report.ts';

/** How long a cancelled attempt may take to release what it holds before the race stops waiting for it. */
const CLEANUP_GRACE_MS = 1_000;
const DEFAULT_STAGGER_MS = 250;

interface Attempt<Path> {
  candidate: Candidate<Path>;
  abort: AbortController;
  notes: AttemptNotes;
  startedAtMs: number | undefined;
  endedAtMs: number | undefined;
  error: TowpathError | undefined;
  path: Path | undefined;
  limit: Timer | undefined;
  running: Promise<void> | undefined;
  release: Promise<void> | undefined;
}

/** A race whose candidates may still be arriving. */
export class Race<Path> {
  readonly #clock: Clock;
  readonly #options: RaceOptions<Path>;
  readonly #log: Log;
  readonly #startedAt: number;
  readonly #attempts = new Map<string, Attempt<Path>>();
  readonly #result = Promise.withResolvers<RaceResult<Path>>();
  readonly #settled = Promise.withResolvers<void>();
  readonly #limit: Timer;
  readonly #run: RunToCompletion<RaceEvent>;
  #state: RaceState;
  #wake: Timer | undefined;
  #decided = false;

  constructor({ clock, log = silentLog }: RaceComponents, options: RaceOptions<Path>) {
    this.#clock = clock;
    this.#options = options;
    this.#log = log;
    this.#startedAt = clock.now();
    this.#state = initialRace(options.onPath !== undefined, options.settleMs);
    this.#run = new RunToCompletion(
      (event) => this.#step(event),
      (error) => this.#log.error(`An observer of the race failed: ${errorMessage(error)}`),
    );
    this.#limit = clock.timer(options.limitMs, () => this.#stop('limit'));
    this.#result.promise.catch(() => {
      // The caller may only be interested in `settled`; a rejection is still delivered to whoever awaits `result`.
    });
    if (options.signal?.aborted) this.#stop('abort');
    else options.signal?.addEventListener('abort', this.#onAbort, { once: true });
  }

  /**
   * The outcome: the first success at once; a failure after every attempt has released what it held.
   * @throws the signal's reason when the race was aborted before anybody won.
   */
  get result(): Promise<RaceResult<Path>> {
    return this.#result.promise;
  }

  /** Resolves when nothing of this race runs any more, the search for better paths included. */
  get settled(): Promise<void> {
    return this.#settled.promise;
  }

  /** Adds candidates; the ones whose id is known already are ignored. */
  add(...candidates: Candidate<Path>[]): void {
    const fresh = candidates.filter((candidate) => !this.#attempts.has(candidate.id));
    for (const candidate of fresh) {
      this.#attempts.set(candidate.id, {
        candidate,
        abort: new AbortController(),
        notes: {},
        startedAtMs: undefined,
        endedAtMs: undefined,
        error: undefined,
        path: undefined,
        limit: undefined,
        running: undefined,
        release: undefined,
      });
    }
    const entries = fresh.map(({ id, kind, rank = 0 }) => ({ id, kind, rank }));
    this.#dispatch({ type: 'add', entries, atMs: this.#elapsed() });
  }

  /**
   * Takes a candidate back: its attempt is cancelled, and a success that comes all the same is undone. A path that was
   * handed over already is not touched. Does nothing for an unknown id.
   */
  withdraw(id: string): void {
    this.#dispatch({ type: 'withdraw', id, atMs: this.#elapsed() });
  }

  /** No more candidates will come: when all have failed, the race is lost. */
  seal(): void {
    this.#dispatch({ type: 'seal', atMs: this.#elapsed() });
  }

  /** Where everything stands at this moment. */
  report(): RaceReport {
    const attempts = this.#state.entries.map(({ id }) => this.#reportOf(id));
    return { elapsedMs: this.#elapsed(), winner: this.#state.winner, attempts };
  }

  readonly #onAbort = () => this.#stop('abort');

  #stop(reason: 'limit' | 'abort'): void {
    this.#dispatch({ type: 'stop', reason, atMs: this.#elapsed() });
  }

  #elapsed(): number {
    return this.#clock.now() - this.#startedAt;
  }

  #dispatch(event: RaceEvent): void {
    this.#run.dispatch(event);
  }

  #step(event: RaceEvent): void {
    const { state, effects } = stepRace(this.#state, event, (kind) => this.#kindOptions(kind));
    this.#state = state;
    this.#wake?.cancel();
    this.#wake = undefined;
    for (const effect of effects) this.#perform(effect);
  }

  #wakeAt(atMs: number): void {
    this.#wake?.cancel();
    this.#wake = this.#clock.timer(atMs - this.#elapsed(), () => {
      this.#wake = undefined;
      // A platform timer may fire a fraction of a millisecond early; the deadline itself is what has come.
      this.#dispatch({ type: 'tick', atMs: Math.max(atMs, this.#elapsed()) });
    });
  }

  #kindOptions(kind: string): PathKindOptions {
    const own = this.#options.kinds?.[kind];
    return {
      delayMs: own?.delayMs ?? 0,
      staggerMs: own?.staggerMs ?? this.#options.staggerMs ?? DEFAULT_STAGGER_MS,
    };
  }

  #perform(effect: RaceEffect): void {
    switch (effect.type) {
      case 'start':
        this.#start(this.#attempt(effect.id));
        return;
      case 'cancel':
        this.#cancel(this.#attempt(effect.id));
        return;
      case 'undo':
        this.#undo(this.#attempt(effect.id));
        return;
      case 'failed':
        this.#failed(effect.id);
        return;
      case 'won':
        this.#won(effect.id);
        return;
      case 'found':
        this.#found(effect.id);
        return;
      case 'lost':
        this.#lost(effect.reason);
        return;
      case 'wake':
        this.#wakeAt(effect.atMs);
        return;
      case 'over':
        this.#over();
        return;
      default:
        effect satisfies never;
    }
  }

  #attempt(id: string): Attempt<Path> {
    const attempt = this.#attempts.get(id);
    if (attempt === undefined) throw new TowpathError('internal', `Race lost track of attempt ${id}.`);
    return attempt;
  }

  #start(attempt: Attempt<Path>): void {
    const { candidate, abort } = attempt;
    attempt.startedAtMs = this.#elapsed();
    this.#log.debug(`Attempt ${candidate.id} starts`, { kind: candidate.kind, to: candidate.label });
    this.#progress('started', candidate.id);
    if (candidate.limitMs !== undefined) {
      attempt.limit = this.#clock.timer(candidate.limitMs, () => {
        const message = `No success within ${Math.round(candidate.limitMs ?? 0)} ms.`;
        abort.abort(new TowpathError('attempt-timed-out', message, { target: candidate.label }));
      });
    }
    attempt.running = this.#attend(attempt);
  }

  async #attend(attempt: Attempt<Path>): Promise<void> {
    const { candidate, abort } = attempt;
    const note = (notes: AttemptNotes) => {
      Object.assign(attempt.notes, notes);
      if (attempt.endedAtMs === undefined) this.#progress('noted', candidate.id);
    };
    try {
      attempt.path = await candidate.connect({ signal: abort.signal, note });
      this.#ended(attempt);
      this.#dispatch({ type: 'succeeded', id: candidate.id, atMs: this.#elapsed() });
      await attempt.release;
    } catch (error) {
      this.#ended(attempt);
      const running = this.#state.entries.some((entry) => entry.id === candidate.id && entry.state === 'running');
      if (!running) return;
      attempt.error = asTowpathError(abort.signal.aborted ? abort.signal.reason : error, candidate.label);
      this.#dispatch({ type: 'failed', id: candidate.id, atMs: this.#elapsed() });
    }
  }

  #ended(attempt: Attempt<Path>): void {
    attempt.endedAtMs ??= this.#elapsed();
    attempt.limit?.cancel();
    attempt.limit = undefined;
  }

  #cancel(attempt: Attempt<Path>): void {
    this.#ended(attempt);
    attempt.abort.abort(new AbortedError(`Attempt ${attempt.candidate.id} is not needed any more.`));
    this.#progress('cancelled', attempt.candidate.id);
  }

  #undo(attempt: Attempt<Path>): void {
    const { path } = attempt;
    attempt.path = undefined;
    if (path === undefined) return;
    this.#log.debug(`Attempt ${attempt.candidate.id} succeeded too late and is undone`);
    attempt.release = this.#release(path, attempt.candidate.id);
  }

  async #release(path: Path, id: string): Promise<void> {
    try {
      await this.#options.undo(path);
    } catch (error) {
      this.#log.warn(`A late path could not be released: ${errorMessage(error)}`, { attempt: id });
    }
  }

  #failed(id: string): void {
    const attempt = this.#attempt(id);
    this.#log.debug(`Attempt ${id} failed: ${attempt.error?.message}`, { code: attempt.error?.code });
    this.#progress('failed', id);
  }

  #won(id: string): void {
    this.#decided = true;
    const winner = this.#reportOf(id);
    const { path } = this.#attempt(id);
    const elapsed = winner.elapsedMs ?? 0;
    this.#log.info(`${winner.kind} won to ${winner.label} in ${Math.round(elapsed)} ms`, { attempt: id });
    // Taken now: a better path may succeed before anybody reads the result, and this race has one winner.
    this.#result.resolve({ ok: true, path: path as Path, winner, report: this.report() });
    this.#progress('won', id);
  }

  #found(id: string): void {
    const { path } = this.#attempt(id);
    const report = this.#reportOf(id);
    this.#log.info(`${report.kind} found a further path to ${report.label}`, { attempt: id });
    this.#progress('found', id);
    // Not an observer that may fail: it owns the path from now on, and a path that it does not take is undone.
    this.#run.notify(() => {
      try {
        this.#options.onPath?.(path as Path, report);
      } catch (error) {
        this.#undo(this.#attempt(id));
        throw error;
      }
    });
  }

  #lost(reason: LossReason): void {
    this.#decided = true;
    this.#log.info(`No attempt succeeded (${reason})`, { elapsedMs: Math.round(this.#elapsed()) });
    void this.#cleanedUp().then(() => {
      if (reason === 'abort') this.#result.reject(this.#options.signal?.reason);
      else this.#result.resolve({ ok: false, reason, report: this.report() });
    });
  }

  #over(): void {
    this.#limit.cancel();
    this.#wake?.cancel();
    this.#options.signal?.removeEventListener('abort', this.#onAbort);
    void this.#cleanedUp().then(() => this.#settled.resolve());
  }

  /** Waits until the attempts that were running have let go, but not for ever on one that ignores its signal. */
  async #cleanedUp(): Promise<void> {
    const running = [...this.#attempts.values()].map((attempt) => attempt.running);
    const grace = new AbortController();
    const graceOver = this.#clock.sleep(CLEANUP_GRACE_MS, grace.signal).then(
      () => this.#log.warn('An attempt did not stop when it was cancelled'),
      () => undefined,
    );
    await Promise.race([Promise.all(running), graceOver]);
    grace.abort();
    await graceOver;
  }

  #progress(type: RaceProgress['type'], id: string): void {
    const { onProgress } = this.#options;
    if (onProgress === undefined) return;
    const attempt = this.#reportOf(id);
    this.#run.notify(() => onProgress({ type, attempt }));
  }

  #reportOf(id: string): AttemptReport {
    const attempt = this.#attempt(id);
    const entry = this.#state.entries.find((other) => other.id === id);
    const live = entry?.state === 'running' || entry?.state === 'pending';
    const continues = this.#decided && live && this.#state.winner !== id;
    const until = attempt.endedAtMs ?? this.#elapsed();
    return {
      ...attempt.notes,
      id,
      kind: attempt.candidate.kind,
      label: attempt.candidate.label,
      state: continues ? 'cancelled' : (entry?.state ?? 'pending'),
      startedAtMs: attempt.startedAtMs,
      elapsedMs: attempt.startedAtMs === undefined ? undefined : until - attempt.startedAtMs,
      error: attempt.error,
      continues,
    };
  }
}

/** Races a fixed list of candidates; see {@link Race}. */
export function race<Path>(
  candidates: readonly Candidate<Path>[],
  components: RaceComponents,
  options: RaceOptions<Path>,
): Race<Path> {
  const running = new Race(components, options);
  running.add(...candidates);
  running.seal();
  return running;
}

function asTowpathError(error: unknown, target: string): TowpathError {
  if (error instanceof TowpathError) return error;
  return new TowpathError(errorCode(error), errorMessage(error), { target, cause: error });
}
