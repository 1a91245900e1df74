import type { LatencySample } from '../../api/peers.ts';
import { formatMs } from './format.ts';

/** Times, then direct and relayed values of each; null where there is none. For a chart with one line per kind. */
export function latencySeries(samples: readonly LatencySample[]): [number[], (number | null)[], (number | null)[]] {
  const times: number[] = [];
  const direct: (number | null)[] = [];
  const relayed: (number | null)[] = [];
  for (const { atMs, rttMs, kind } of samples) {
    times.push(atMs);
    direct.push(kind !== 'relay' ? rttMs : null);
    relayed.push(kind === 'relay' ? rttMs : null);
  }
  return [times, direct, relayed];
}

export interface LatencyFigures {
  readonly medianMs: number;
  readonly p95Ms: number;
  /** Share of the readings in which the peer was not reached. */
  readonly missedRatio: number;
}

export function latencyFigures(samples: readonly LatencySample[]): LatencyFigures | undefined {
  const values = samples.flatMap(({ rttMs }) => (rttMs === null ? [] : [rttMs])).sort((a, b) => a - b);
  if (values.length === 0) return undefined;
  const at = (share: number): number => values[Math.min(values.length - 1, Math.floor(share * values.length))]!;
  return { medianMs: at(0.5), p95Ms: at(0.95), missedRatio: 1 - values.length / samples.length };
}

/** The chart in a sentence, for those who do not see it. */
export function latencySummary(samples: readonly LatencySample[]): string {
  const figures = latencyFigures(samples);
  if (figures === undefined) return 'Latency chart without values.';
  return `Latency chart: median ${formatMs(figures.medianMs)}, 95 percent below ${formatMs(figures.p95Ms)}.`;
}
