import type { TowpathError } from '../errors.ts';
import type { AttemptState, LossReason } from './machine.ts';

/** What an attempt may report of itself while it runs; the last value of each field counts. */
export interface AttemptNotes {
  /** The local port of the attempt's own socket, read after bind. */
  localPort?: number;
  /** Packets or requests sent again so far. */
  retries?: number;
  /** Anything else that belongs into a report. */
  detail?: string;
}

/** Result of one candidate. Times are ms since the race began. */
export interface AttemptReport extends AttemptNotes {
  readonly id: string;
  readonly kind: string;
  readonly label: string;
  readonly state: AttemptState;
  /** When it started; undefined when it never ran. */
  readonly startedAtMs: number | undefined;
  /** How long it ran; undefined when it never ran. */
  readonly elapsedMs: number | undefined;
  /** Why it failed. */
  readonly error: TowpathError | undefined;
  /** It is listed as cancelled because it goes on looking for a better path in the background. */
  readonly continues: boolean;
}

export interface RaceReport {
  readonly elapsedMs: number;
  /** Id of the attempt that won. */
  readonly winner: string | undefined;
  /** In the order in which the candidates were added. */
  readonly attempts: readonly AttemptReport[];
}

export type RaceResult<Path> =
  | { readonly ok: true; readonly path: Path; readonly winner: AttemptReport; readonly report: RaceReport }
  | { readonly ok: false; readonly reason: Exclude<LossReason, 'abort'>; readonly report: RaceReport };

export type RaceProgress =
  | { readonly type: 'started' | 'failed' | 'won' | 'found' | 'cancelled'; readonly attempt: AttemptReport }
  | { readonly type: 'noted'; readonly attempt: AttemptReport };
