import { cpus, totalmem } from 'node:os';

/** One measured figure beside its baseline. */
export interface BenchRow {
  /** What was varied: `port 6 of 6, RTT 20 ms`. */
  case: string;
  /** What was measured: `time to connected`. */
  metric: string;
  value: number;
  unit: string;
  /** The same figure of the baseline, measured in the same run; null where there is none. */
  baseline: number | null;
  /** value / baseline. */
  ratio: number | null;
  /** The goal in words, null for a figure that is only reported. */
  goal: string | null;
  met: boolean | null;
}

export interface BenchOptions {
  /** A short run that shows that everything works; its figures are rougher. */
  quick: boolean;
  /** Progress for a person; silent with --json. */
  print(line: string): void;
}

export interface Bench {
  /** One line: what it measures and beside what. */
  about: string;
  run(options: BenchOptions): Promise<BenchRow[]>;
}

export interface BenchResult {
  bench: string;
  machine: { cpu: string; cores: number; memoryGiB: number; node: string; platform: string };
  rows: BenchRow[];
}

/** Builds a row; `goal` is checked by `met`. */
export function row(fields: {
  case: string;
  metric: string;
  value: number;
  unit: string;
  baseline?: number;
  goal?: string;
  met?: boolean;
}): BenchRow {
  const { value, baseline, goal, met } = fields;
  return {
    case: fields.case,
    metric: fields.metric,
    value: round(value),
    unit: fields.unit,
    baseline: baseline === undefined ? null : round(baseline),
    ratio: baseline === undefined || baseline === 0 ? null : round(value / baseline),
    goal: goal ?? null,
    met: met ?? null,
  };
}

function round(value: number): number {
  return Number(value.toPrecision(4));
}

export function machine(): BenchResult['machine'] {
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    node: process.version,
    platform: `${process.platform} ${process.arch}`,
  };
}

/** The value below which `share` (0…1) of the sorted samples lie. */
export function percentile(samples: readonly number[], share: number): number {
  if (samples.length === 0) return Number.NaN;
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}

/** A Markdown table of a result, as it stands in `bench/RESULTS.md`. */
export function table({ rows }: BenchResult): string {
  const head = ['case', 'metric', 'value', 'baseline', 'ratio', 'goal', 'met'];
  const body = rows.map((r) => [
    r.case,
    r.metric,
    `${r.value} ${r.unit}`,
    r.baseline === null ? '–' : `${r.baseline} ${r.unit}`,
    r.ratio === null ? '–' : String(r.ratio),
    r.goal ?? '–',
    r.met === null ? '–' : r.met ? 'yes' : '**no**',
  ]);
  return [head, head.map(() => '---'), ...body].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}
