import type { Clock } from '../clock.ts';
import type { Log } from '../log.ts';
import type { PathKindOptions } from './machine.ts';
import type { AttemptNotes, AttemptReport, RaceProgress } from './report.ts';

/** One address of a target, with how to connect to it. */
export interface Candidate<Path> {
  /** Unique within the race. */
  readonly id: string;
  /** Path kind (`lan`, `p2p`, `relay`): candidates of one kind are staggered, kinds run side by side. */
  readonly kind: string;
  /** Where to, as a person reads it: `192.168.43.1:40611`. */
  readonly label: string;
  /** Lower is better: with {@link RaceOptions.onPath}, better attempts go on after a worse one has won. @default 0 */
  readonly rank?: number;
  /** Own time limit of this attempt, ms. */
  readonly limitMs?: number;
  /**
   * Brings the path or throws. When `signal` aborts, it releases every socket and timer before its promise settles.
   */
  connect(context: { signal: AbortSignal; note(notes: AttemptNotes): void }): Promise<Path>;
}

export interface RaceComponents {
  clock: Clock;
  log?: Log | undefined;
}

export interface RaceOptions<Path> {
  /** Nothing outlives this, ms from the start. */
  limitMs: number;
  /** Time between two candidates of one kind, ms. RFC 8305 §5 recommends 250, and 10 at the least. @default 250 */
  staggerMs?: number;
  /** Head start and stagger of single kinds. */
  kinds?: Readonly<Record<string, Partial<PathKindOptions>>>;
  /** Releases a path that came too late or that a better one replaced before anybody took it. */
  undo(path: Path): void | Promise<void>;
  /** Called with every step. What it throws is logged; it may add and withdraw candidates. */
  onProgress?(progress: RaceProgress): void;
  /**
   * Takes the paths that come after the first one, and owns them: those of attempts of the same rank within
   * {@link settleMs}, those of better attempts until the limit, and those of attempts that succeeded although they were
   * cancelled. Without it all of them are undone.
   */
  onPath?(path: Path, attempt: AttemptReport): void;
  /** With {@link onPath}: after the first success, attempts of the same rank go on for this long, ms. @default 0 */
  settleMs?: number;
  /** Cancels the race and, later, the search for something better. */
  signal?: AbortSignal | undefined;
}
