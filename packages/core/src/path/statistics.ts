import type { RaceReport } from '../race/race.ts';

/** Upper bounds of the buckets of time to connect, ms; the last bucket has none. */
export const CONNECT_TIME_BOUNDS_MS: readonly number[] = [
  10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000,
];

/** What was counted of one way. */
export interface WayStatistics {
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

/** JSON-safe counters: way → counts. */
export type RaceStatisticsSnapshot = Readonly<Record<string, WayStatistics>>;

/** Distinct error codes counted per way; what comes beyond is counted as `other`, so that memory stays bounded. */
const MAX_CODES = 32;

/** Attempts, wins, times to connect and failures by reason, per way. */
export class RaceStatistics {
  readonly #ways = new Map<string, WayStatistics>();

  constructor(snapshot: RaceStatisticsSnapshot = {}) {
    for (const [way, counts] of Object.entries(snapshot)) this.#ways.set(way, structuredClone(counts));
  }

  /** Counts everything that a finished race reports. */
  record(report: RaceReport): void {
    for (const { lane, state, startedAtMs, elapsedMs, error } of report.attempts) {
      if (startedAtMs === undefined) continue;
      const way = this.#way(lane);
      way.attempts++;
      if (state === 'success') this.#won(way, startedAtMs + (elapsedMs ?? 0));
      else if (state === 'failed') this.#failed(way, error?.code ?? 'unknown');
      else way.cancelled++;
    }
  }

  snapshot(): RaceStatisticsSnapshot {
    return Object.fromEntries([...this.#ways].map(([way, counts]) => [way, structuredClone(counts)]));
  }

  #way(name: string): WayStatistics {
    const known = this.#ways.get(name);
    if (known) return known;
    const counts = Array.from({ length: CONNECT_TIME_BOUNDS_MS.length + 1 }, () => 0);
    const fresh = { attempts: 0, wins: 0, cancelled: 0, failures: {}, connectMs: { counts, sum: 0 } };
    this.#ways.set(name, fresh);
    return fresh;
  }

  #won(way: WayStatistics, ms: number): void {
    way.wins++;
    way.connectMs.sum += ms;
    const bucket = CONNECT_TIME_BOUNDS_MS.findIndex((bound) => ms <= bound);
    const at = bucket < 0 ? CONNECT_TIME_BOUNDS_MS.length : bucket;
    way.connectMs.counts[at] = (way.connectMs.counts[at] ?? 0) + 1;
  }

  #failed(way: WayStatistics, code: string): void {
    const key = code in way.failures || Object.keys(way.failures).length < MAX_CODES ? code : 'other';
    way.failures[key] = (way.failures[key] ?? 0) + 1;
  }
}
