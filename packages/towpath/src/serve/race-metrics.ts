import { CONNECT_TIME_BOUNDS_MS, type RaceStatisticsSnapshot } from '@towpath/core';
import { Gauge, Registry } from '@prometheus-io/client';

/** The race counters of one target as a Prometheus page. */
export async function racePage(target: string, statistics: RaceStatisticsSnapshot): Promise<string> {
  const registry = new Registry();
  const gauge = <Label extends string>(name: string, help: string, ...labelNames: Label[]) =>
    new Gauge({
      name: `towpath_race_${name}`,
      help,
      labelNames: ['target', 'way', ...labelNames],
      registers: [registry],
    });
  const attempts = gauge('attempts_total', 'Attempts that were started.');
  const wins = gauge('wins_total', 'Attempts that won their race.');
  const cancelled = gauge('cancelled_total', 'Attempts that ended because another one had won.');
  const failures = gauge('failures_total', 'Attempts that failed, by reason.', 'code');
  const bucket = gauge('connect_seconds_bucket', 'Time to connect of the wins, cumulative.', 'le');
  const sum = gauge('connect_seconds_sum', 'Sum of the times to connect.');
  for (const [way, counts] of Object.entries(statistics)) {
    const labels = { target, way };
    attempts.set(labels, counts.attempts);
    wins.set(labels, counts.wins);
    cancelled.set(labels, counts.cancelled);
    for (const [code, count] of Object.entries(counts.failures)) failures.set({ ...labels, code }, count);
    let seen = 0;
    for (const [at, count] of counts.connectMs.counts.entries()) {
      seen += count;
      const bound = CONNECT_TIME_BOUNDS_MS[at];
      bucket.set({ ...labels, le: bound === undefined ? '+Inf' : String(bound / 1_000) }, seen);
    }
    sum.set(labels, counts.connectMs.sum / 1_000);
  }
  return registry.metrics();
}
