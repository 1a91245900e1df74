import { CONNECT_TIME_BOUNDS_MS, PathHistory, type RaceStatisticsSnapshot, type WayStatistics } from '@towpath/core';
import type { Runtime } from '../../cli/runtime.ts';
import { columns, formatMs } from '../../cli/table.ts';
import { racePage } from '../../serve/race-metrics.ts';
import { cameraMemory } from './target.ts';

interface StatsOptions {
  json?: boolean;
  prometheus?: boolean;
}

/** Shows what earlier races have taught about one camera. */
export async function stats(runtime: Runtime, host: string, { json, prometheus }: StatsOptions): Promise<void> {
  const { io, clock } = runtime;
  const { statistics = {}, history = {}, path } = await cameraMemory(runtime).recall(host);
  const ways = Object.keys(statistics);
  const weights = new PathHistory(clock, history).weights(ways);
  if (prometheus) {
    io.out((await racePage(host, statistics)).trimEnd());
  } else if (json) {
    io.out(JSON.stringify({ host, path: path ?? null, weights, statistics }));
  } else if (ways.length === 0) {
    io.err(`Nothing is known of ${host} yet. Next: towpath camera connect ${host}`);
  } else {
    for (const line of table(statistics, weights)) io.out(line);
    if (path) io.out(`last reached by ${path.mode} on port ${path.destinationPort}, from local port ${path.localPort}`);
  }
}

function table(statistics: RaceStatisticsSnapshot, weights: Record<string, number>): string[] {
  const head = ['way', 'attempts', 'wins', 'cancelled', 'failed', 'mean', 'half within', 'weight', 'failures'];
  const rows = Object.entries(statistics).map(([way, counts]) => cells(way, counts, weights[way] ?? 1));
  return columns([head, ...rows], [1, 2, 3, 4, 5, 6, 7]);
}

function cells(
  way: string,
  { attempts, wins, cancelled, failures, connectMs }: WayStatistics,
  weight: number,
): string[] {
  const failed = Object.values(failures).reduce((sum, count) => sum + count, 0);
  return [
    way,
    String(attempts),
    String(wins),
    String(cancelled),
    String(failed),
    wins === 0 ? '–' : formatMs(connectMs.sum / wins),
    wins === 0 ? '–' : median(connectMs.counts, wins),
    weight.toFixed(2),
    Object.entries(failures)
      .map(([code, count]) => `${code} ${count}`)
      .join(', '),
  ];
}

/** The bound of the bucket in which the middle one of `wins` samples lies. */
function median(counts: readonly number[], wins: number): string {
  let seen = 0;
  for (const [at, count] of counts.entries()) {
    seen += count;
    if (seen * 2 < wins) continue;
    const bound = CONNECT_TIME_BOUNDS_MS[at];
    return bound === undefined ? `over ${formatMs(CONNECT_TIME_BOUNDS_MS.at(-1) ?? 0)}` : formatMs(bound);
  }
  return '–';
}
