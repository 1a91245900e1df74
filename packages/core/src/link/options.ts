import type { TowpathError } from '../errors.ts';
import type { MonitorTimes, PathHealth } from '../paths/monitor.ts';
import type { PathReason } from '../paths/path-reason.ts';
import type { PathDescription, PathStatus } from '../paths/path-set-options.ts';
import type { SelectionOptions } from '../paths/selection.ts';
import type { LinkPhase } from './machine.ts';

/** How often and how long a link tries. */
export interface RetryPolicy {
  /** The waits between the tries of one round, ms; when they end, the round has failed. See `backoff`. */
  delaysMs(): Iterable<number>;
  /** A round is over after this long, whatever the number of tries, ms. */
  limitMs?: number;
  /** After a failed round one more try every so often, ms; without it the link stays failed until `refresh`. */
  slowRetryMs?: number;
}

/** What happens to a link. */
export interface LinkEvents<Path> {
  /** Every change of phase. */
  phase: LinkPhase;
  /** There is a path: the first, a new one after a loss, or one that has replaced another without a loss (`replaced`). */
  up: { path: Path; previous: Path | undefined; replaced: boolean; reason: PathReason };
  /** The last path is lost and the link is trying to get another. */
  down: { error: TowpathError; reason: PathReason };
  /** A try has failed; the next comes in `nextMs`, or never. */
  tryFailed: { error: TowpathError; tries: number; nextMs: number | undefined };
  /** The round of tries has failed. */
  gaveUp: TowpathError;
}

/**
 * - `connect`: there is no path
 * - `improve`: there is one, and a better one is wanted
 * - `standby`: the current path is suspect, and there is no other
 */
export type ConnectPurpose = 'connect' | 'improve' | 'standby';

/** What one try of a link is told. */
export interface ConnectContext<Path> {
  readonly purpose: ConnectPurpose;
  /** 1 for the first try of a round. */
  readonly tries: number;
  /** There was a path before. */
  readonly reconnect: boolean;
  /** Ends the try, and everything that goes on behind it. */
  readonly signal: AbortSignal;
  /** Hands over a further verified path, also long after the try has brought its first one. The link owns it. */
  offer(path: Path): void;
  /** Registers work of this try that continues after its result; `close` waits for it. */
  goesOn(work: Promise<unknown>): void;
}

export interface ImproveOptions<Path> {
  /** Whether a search for something better is worth it: the current path is a relay, for example. */
  wanted(current: PathStatus<Path>): boolean;
  /** The waits before the searches, ms. */
  delaysMs(): Iterable<number>;
  /** A search is over after this long, ms. */
  limitMs?: number;
}

export interface LinkOptions<Path> {
  /** What it reaches, as a person reads it. */
  target: string;
  /** One try: a race, a login, whatever brings a usable path. Releases everything when `signal` aborts. */
  connect(context: ConnectContext<Path>): Promise<Path>;
  /** Resolves (or rejects) with the reason when the path is dead. Ends quietly when `signal` aborts. */
  watch(path: Path, context: { signal: AbortSignal }): Promise<TowpathError>;
  /** Closes a path. */
  release(path: Path, reason: PathReason): void | Promise<void>;
  /** What a path is. Without it every path counts as another one of the same kind. */
  describe?(path: Path): PathDescription;
  /** Sends one probe over a path; see `PathSetOptions.probe`. */
  probe?: ((path: Path, signal: AbortSignal) => Promise<number | undefined>) | undefined;
  /** Reports the health of a path that is monitored elsewhere; see `PathSetOptions.health`. */
  health?: ((path: Path, report: (health: PathHealth) => void, signal: AbortSignal) => void) | undefined;
  /** Resolves when what was sent on a path that is left has been delivered. */
  drain?: ((path: Path, signal: AbortSignal) => Promise<void>) | undefined;
  drainLimitMs?: number | undefined;
  times?: Partial<MonitorTimes> | undefined;
  /** Policy, redundancy, standbys. @default `{ standbys: 0 }` */
  selection?: SelectionOptions;
  /** Searches for a better path while there is one. @default never */
  improve?: ImproveOptions<Path>;
  /** The first connect. */
  first: RetryPolicy;
  /** After a loss. @default `first` */
  again?: RetryPolicy;
  /** An error that no further try can mend (a wrong password). @default never */
  fatal?(error: TowpathError): boolean;
}
