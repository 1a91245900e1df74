import type { Clock } from '../clock.ts';

/** Results of one path kind to one target. All counts fade with time. */
export interface PathKindRecord {
  /** Attempts, faded. */
  tries: number;
  /** Successes, faded. */
  wins: number;
  /** Smoothed time to connect of the successes, ms. */
  connectMs?: number | undefined;
  /** When it was last written, ms since the Unix epoch. */
  updatedAt: number;
}

/** JSON-safe form of a {@link PathHistory}: path kind → record. */
export type PathHistorySnapshot = Readonly<Record<string, PathKindRecord>>;

/** After this long an old experience counts half, ms: networks change, but not by the hour. */
const HALF_LIFE_MS = 3 * 24 * 3_600_000;
/** Newest sample's share in the smoothed time to connect. */
const SMOOTHING = 0.3;
/** More kinds than any target has: a bound for damaged files. */
const MAX_KINDS = 64;

/** Earlier results of the path kinds to one target: which succeed, and how fast. */
export class PathHistory {
  readonly #clock: Clock;
  readonly #records = new Map<string, PathKindRecord>();

  constructor({ clock }: { clock: Clock }, snapshot: PathHistorySnapshot = {}) {
    this.#clock = clock;
    for (const [kind, record] of Object.entries(snapshot).slice(0, MAX_KINDS)) this.#records.set(kind, { ...record });
  }

  /** Notes a success after `connectMs`. */
  succeeded(kind: string, connectMs: number): void {
    const record = this.#faded(kind);
    record.tries += 1;
    record.wins += 1;
    record.connectMs =
      record.connectMs === undefined ? connectMs : record.connectMs + SMOOTHING * (connectMs - record.connectMs);
    this.#keep(kind, record);
  }

  /** Notes a failure. Cancelled attempts are not noted. */
  failed(kind: string): void {
    const record = this.#faded(kind);
    record.tries += 1;
    this.#keep(kind, record);
  }

  /** The smoothed time to connect of a kind, ms; undefined before its first success. */
  connectMs(kind: string): number | undefined {
    return this.#records.get(kind)?.connectMs;
  }

  /**
   * Scores from 0 to 1: the share of successes, and speed compared with the fastest kind. Kinds without results get the
   * score of an even chance.
   */
  weights(kinds: readonly string[]): Record<string, number> {
    const fastest = Math.min(...kinds.map((kind) => this.connectMs(kind) ?? Number.POSITIVE_INFINITY));
    const scored = kinds.map((kind): [string, number] => {
      const { tries, wins, connectMs } = this.#faded(kind);
      const success = (wins + 1) / (tries + 2);
      const speed = connectMs === undefined ? 1 : Math.sqrt((fastest + 1) / (connectMs + 1));
      return [kind, success * speed];
    });
    const best = Math.max(...scored.map(([, score]) => score));
    return Object.fromEntries(scored.map(([kind, score]) => [kind, score / best]));
  }

  /** For a store. */
  snapshot(): PathHistorySnapshot {
    return Object.fromEntries([...this.#records].map(([kind, record]) => [kind, { ...record }]));
  }

  #faded(kind: string): PathKindRecord {
    const record = this.#records.get(kind);
    const now = this.#clock.wallTime();
    if (record === undefined) return { tries: 0, wins: 0, connectMs: undefined, updatedAt: now };
    const keep = 0.5 ** (Math.max(0, now - record.updatedAt) / HALF_LIFE_MS);
    return { ...record, tries: record.tries * keep, wins: record.wins * keep, updatedAt: now };
  }

  #keep(kind: string, record: PathKindRecord): void {
    if (this.#records.size < MAX_KINDS || this.#records.has(kind)) this.#records.set(kind, record);
  }
}
