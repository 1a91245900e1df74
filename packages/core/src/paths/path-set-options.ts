import type { TowpathError } from '../errors.ts';
import type { MonitorTimes, PathHealth, PathRole } from './monitor.ts';
import type { PathKind } from './path-kind.ts';
import type { PathReason } from './path-reason.ts';
import type { PathFacts, SelectionOptions } from './selection.ts';

/** What a set must know of a path that is added. */
export interface PathDescription {
  /** Unique among the paths of the target: a candidate's id, or a 5-tuple. */
  readonly id: string;
  readonly kind: PathKind;
  /** Address family of the outermost packets. @default 4 */
  readonly family?: 4 | 6;
  /** Where to, as a person reads it: `192.168.43.1:40611`. */
  readonly label: string;
  /** Round trip of the handshake that verified it, ms. */
  readonly rttMs?: number | undefined;
  /** See {@link PathFacts.ends}. */
  readonly ends?: PathFacts['ends'];
  /** See {@link PathFacts.furtherUplink}. */
  readonly furtherUplink?: PathFacts['furtherUplink'];
}

/** One path and what is known of it. */
export interface PathStatus<Path> extends PathFacts {
  readonly path: Path;
  readonly label: string;
  readonly role: PathRole;
  /** Last time that it was heard, `Clock.now` ms; undefined in a set that does not probe. */
  readonly lastHeardAtMs: number | undefined;
}

export interface PathSetEvents<Path> {
  /** The current path has changed. There is at most one at any moment. */
  current: { path: Path | undefined; previous: Path | undefined; reason: PathReason; error: TowpathError | undefined };
  /** The standby, or the path that the data is also sent on, has changed. */
  standby: { path: Path | undefined; alsoSend: boolean };
  health: { path: Path; id: string; health: PathHealth };
  added: { path: Path; id: string };
  /** The path is left for good; its release has begun. */
  removed: { path: Path; id: string; reason: PathReason; error: TowpathError | undefined };
}

export interface PathSetOptions<Path> extends SelectionOptions {
  /** What it reaches, as a person reads it. */
  target: string;
  describe(path: Path): PathDescription;
  /**
   * Sends one probe and resolves when it is answered; a number is the round trip in ms, where the caller measures it
   * better. Releases everything when `signal` aborts. Without it the paths are neither measured nor suspected.
   */
  probe?: ((path: Path, signal: AbortSignal) => Promise<number | undefined>) | undefined;
  /**
   * Reports the health of a path that is monitored elsewhere, with each change, until `signal` aborts. `dead` ends it.
   * Not together with {@link probe}.
   */
  health?: ((path: Path, report: (health: PathHealth) => void, signal: AbortSignal) => void) | undefined;
  /**
   * Resolves with the reason when the path is closed by something else than this set. Ends quietly when `signal`
   * aborts.
   */
  closed?(path: Path, signal: AbortSignal): Promise<TowpathError>;
  /** Resolves when everything that was sent on a path that is left has been delivered. */
  drain?: ((path: Path, signal: AbortSignal) => Promise<void>) | undefined;
  /** Draining takes no longer than this, ms. @default 5000 */
  drainLimitMs?: number | undefined;
  /** Closes a path. Called once for each path that was added. */
  release(path: Path, reason: PathReason): void | Promise<void>;
  /**
   * Called when the current path is in doubt: a probe was missed and nothing heard, or the remote end doubts it. What may replace
   * the path should be verified now.
   */
  onDoubt?(path: Path): void;
  times?: Partial<MonitorTimes> | undefined;
  /** More paths than this are refused with `surplus`. @default 16 */
  maxPaths?: number;
}
