import type { Clock } from '../clock.ts';

/** What is remembered of one way to one target. All counts fade with time. */
export interface WayRecord {
  /** Attempts, faded. */
  tries: number;
  /** Successes, faded. */
  wins: number;
  /** Smoothed time to connect of the successes, ms. */
  connectMs?: number | undefined;
  /** When it was last written, ms since the Unix epoch. */
  updatedAt: number;
}

/** JSON-safe form of a {@link PathHistory}: way → record. */
export type PathHistorySnapshot = Readonly<Record<string, WayRecord>>;

/** After this long an old experience counts half, ms: networks change, but not by the hour. */
const HALF_LIFE_MS = 3 * 24 * 3_600_000;
/** Newest sample's share in the smoothed time to connect. */
const SMOOTHING = 0.3;
/** More ways than any target has: a bound for damaged files. */
const MAX_WAYS = 64;

/** What experience says about the ways to one target: which succeed, and how fast. */
export class PathHistory {
  readonly #clock: Clock;
  readonly #ways = new Map<string, WayRecord>();

  constructor(clock: Clock, snapshot: PathHistorySnapshot = {}) {
    this.#clock = clock;
    for (const [way, record] of Object.entries(snapshot).slice(0, MAX_WAYS)) this.#ways.set(way, { ...record });
  }

  /** Notes a success after `connectMs`. */
  succeeded(way: string, connectMs: number): void {
    const record = this.#faded(way);
    record.tries += 1;
    record.wins += 1;
    record.connectMs =
      record.connectMs === undefined ? connectMs : record.connectMs + SMOOTHING * (connectMs - record.connectMs);
    this.#keep(way, record);
  }

  /** Notes a failure. An attempt that was merely cancelled says nothing and is not noted. */
  failed(way: string): void {
    const record = this.#faded(way);
    record.tries += 1;
    this.#keep(way, record);
  }

  /** The smoothed time to connect of a way, ms; undefined before its first success. */
  connectMs(way: string): number | undefined {
    return this.#ways.get(way)?.connectMs;
  }

  /**
   * Scores from 0 to 1: the share of successes, and speed compared with the fastest way. Ways without experience get
   * the score that an even chance would.
   */
  weights(ways: readonly string[]): Record<string, number> {
    const fastest = Math.min(...ways.map((way) => this.connectMs(way) ?? Number.POSITIVE_INFINITY));
    const scored = ways.map((way): [string, number] => {
      const { tries, wins, connectMs } = this.#faded(way);
      const success = (wins + 1) / (tries + 2);
      const speed = connectMs === undefined ? 1 : Math.sqrt((fastest + 1) / (connectMs + 1));
      return [way, success * speed];
    });
    const best = Math.max(...scored.map(([, score]) => score));
    return Object.fromEntries(scored.map(([way, score]) => [way, score / best]));
  }

  /** For a store. */
  snapshot(): PathHistorySnapshot {
    return Object.fromEntries([...this.#ways].map(([way, record]) => [way, { ...record }]));
  }

  #faded(way: string): WayRecord {
    const record = this.#ways.get(way);
    const now = this.#clock.wallTime();
    if (record === undefined) return { tries: 0, wins: 0, connectMs: undefined, updatedAt: now };
    const keep = 0.5 ** (Math.max(0, now - record.updatedAt) / HALF_LIFE_MS);
    return { ...record, tries: record.tries * keep, wins: record.wins * keep, updatedAt: now };
  }

  #keep(way: string, record: WayRecord): void {
    if (this.#ways.size < MAX_WAYS || this.#ways.has(way)) this.#ways.set(way, record);
  }
}
