import type { RaceReport } from '../race/report.ts';

/** Upper bounds of the buckets of time to connect, ms; the last bucket has none. */
export const CONNECT_TIME_BOUNDS_MS: readonly number[] = [
  10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000,
];

/** Counters of one path kind. */
export interface PathKindStatistics {
  /** Attempts that were started. */
  attempts: number;
  wins: number;
  /** Attempts that ended because another one had won, or because the race was given up. */
  cancelled: number;
  /** Failures by error code. */
  failures: Record<string, number>;
  /** Times to connect of the wins: one count per bound, one more for what is above all of them. */
  connectMs: { counts: number[]; sum: number };
}

/** JSON-safe counters: path kind → counts. */
export type RaceStatisticsSnapshot = Readonly<Record<string, PathKindStatistics>>;

/** Distinct error codes counted per path kind; further ones are counted as `other`, so that memory stays bounded. */
const MAX_CODES = 32;

/** Attempts, wins, times to connect and failures by reason, per path kind. */
export class RaceStatistics {
  readonly #counters = new Map<string, PathKindStatistics>();

  constructor(snapshot: RaceStatisticsSnapshot = {}) {
    for (const [kind, counts] of Object.entries(snapshot)) this.#counters.set(kind, structuredClone(counts));
  }

  /** Counts everything that a finished race reports. */
  record(report: RaceReport): void {
    for (const { kind, state, startedAtMs, elapsedMs, error } of report.attempts) {
      if (startedAtMs === undefined) continue;
      const counts = this.#countsOf(kind);
      counts.attempts++;
      if (state === 'success') this.#won(counts, startedAtMs + (elapsedMs ?? 0));
      else if (state === 'failed') this.#failed(counts, error?.code ?? 'unknown');
      else counts.cancelled++;
    }
  }

  snapshot(): RaceStatisticsSnapshot {
    return Object.fromEntries([...this.#counters].map(([kind, counts]) => [kind, structuredClone(counts)]));
  }

  #countsOf(name: string): PathKindStatistics {
    const known = this.#counters.get(name);
    if (known) return known;
    const counts = Array.from({ length: CONNECT_TIME_BOUNDS_MS.length + 1 }, () => 0);
    const fresh = { attempts: 0, wins: 0, cancelled: 0, failures: {}, connectMs: { counts, sum: 0 } };
    this.#counters.set(name, fresh);
    return fresh;
  }

  #won(counts: PathKindStatistics, ms: number): void {
    counts.wins++;
    counts.connectMs.sum += ms;
    const bucket = CONNECT_TIME_BOUNDS_MS.findIndex((bound) => ms <= bound);
    const at = bucket < 0 ? CONNECT_TIME_BOUNDS_MS.length : bucket;
    counts.connectMs.counts[at] = (counts.connectMs.counts[at] ?? 0) + 1;
  }

  #failed(counts: PathKindStatistics, code: string): void {
    const key = code in counts.failures || Object.keys(counts.failures).length < MAX_CODES ? code : 'other';
    counts.failures[key] = (counts.failures[key] ?? 0) + 1;
  }
}
