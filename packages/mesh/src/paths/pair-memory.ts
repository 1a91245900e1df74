import { type Clock, PathHistory, type PathHistorySnapshot, type PathKindRecord } from '@towpath/core';

/** What is kept of all pairs of networks: own and peer's public address → results by strategy. */
export type PairMemorySnapshot = Readonly<Record<string, PathHistorySnapshot>>;

export interface PairMemoryOptions {
  /** Read from a store; entries of a wrong form are left out. */
  snapshot?: unknown;
  /** Called after each change; stores it. */
  onChange?: ((snapshot: PairMemorySnapshot) => void) | undefined;
}

/** More pairs than a node meets; the longest unused make room. */
const MAX_PAIRS = 256;

/** Remembers by pair of networks which strategy of NAT traversal worked, also across restarts. */
export class PairMemory {
  readonly #clock: Clock;
  readonly #options: PairMemoryOptions;
  readonly #pairs = new Map<string, PathHistory>();

  constructor({ clock }: { clock: Clock }, options: PairMemoryOptions = {}) {
    this.#clock = clock;
    this.#options = options;
    for (const [pair, history] of Object.entries(readSnapshot(options.snapshot)).slice(-MAX_PAIRS)) {
      this.#pairs.set(pair, new PathHistory({ clock }, history));
    }
  }

  succeeded(pair: string, strategy: string, tookMs: number): void {
    this.#of(pair).succeeded(strategy, tookMs);
    this.#changed();
  }

  failed(pair: string, strategy: string): void {
    this.#of(pair).failed(strategy);
    this.#changed();
  }

  /** Results of a strategy, faded with time; undefined when it was never tried. */
  record(pair: string, strategy: string): PathKindRecord | undefined {
    return this.#pairs.get(pair)?.snapshot()[strategy];
  }

  snapshot(): PairMemorySnapshot {
    return Object.fromEntries([...this.#pairs].map(([pair, history]) => [pair, history.snapshot()]));
  }

  #of(pair: string): PathHistory {
    const history = this.#pairs.get(pair) ?? new PathHistory({ clock: this.#clock });
    this.#pairs.delete(pair);
    this.#pairs.set(pair, history);
    const [oldest] = this.#pairs.keys();
    if (this.#pairs.size > MAX_PAIRS && oldest !== undefined) this.#pairs.delete(oldest);
    return history;
  }

  #changed(): void {
    this.#options.onChange?.(this.snapshot());
  }
}

function readSnapshot(value: unknown): Record<string, PathHistorySnapshot> {
  if (typeof value !== 'object' || value === null) return {};
  return Object.fromEntries(
    Object.entries(value).map(([pair, history]: [string, unknown]) => {
      const records = typeof history === 'object' && history !== null ? Object.entries(history) : [];
      return [
        pair,
        Object.fromEntries(records.filter((record): record is [string, PathKindRecord] => isRecord(record[1]))),
      ];
    }),
  );
}

function isRecord(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const at = (name: string): unknown => Reflect.get(value, name);
  const isCount = (count: unknown) => typeof count === 'number' && Number.isFinite(count) && count >= 0;
  const connectMs = at('connectMs');
  return (
    isCount(at('tries')) &&
    isCount(at('wins')) &&
    isCount(at('updatedAt')) &&
    (connectMs === undefined || isCount(connectMs))
  );
}
