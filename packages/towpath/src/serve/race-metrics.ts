import { CONNECT_TIME_BOUNDS_MS, type PathKindStatistics, type RaceStatisticsSnapshot } from '@towpath/core';
import {
  Counter,
  Histogram,
  type MetricObjectWithValues,
  type MetricValueWithName,
  Registry,
} from '@prometheus-io/client';

/** Race counters by their target. */
export type RaceTargets = Readonly<Record<string, RaceStatisticsSnapshot>>;

/** Returns the race counters of targets as a Prometheus page. */
export async function racePage(targets: RaceTargets): Promise<string> {
  const registry = new Registry();
  const counter = <Label extends string>(name: string, help: string, ...labelNames: Label[]) =>
    new Counter({
      name: `towpath_race_${name}`,
      help,
      labelNames: ['target', 'kind', ...labelNames],
      registers: [registry],
    });
  const attempts = counter('attempts_total', 'Attempts that were started.');
  const wins = counter('wins_total', 'Attempts that connected first.');
  const cancelled = counter('cancelled_total', 'Attempts that ended because another one had connected.');
  const failures = counter('failures_total', 'Attempts that failed, by reason.', 'code');
  for (const { labels, counts } of eachKind(targets)) {
    attempts.inc(labels, counts.attempts);
    wins.inc(labels, counts.wins);
    cancelled.inc(labels, counts.cancelled);
    for (const [code, count] of Object.entries(counts.failures)) failures.inc({ ...labels, code }, count);
  }
  registry.registerMetric(new ConnectTimes(targets));
  return registry.metrics();
}

function eachKind(targets: RaceTargets): { labels: { target: string; kind: string }; counts: PathKindStatistics }[] {
  return Object.entries(targets).flatMap(([target, statistics]) =>
    Object.entries(statistics).map(([kind, counts]) => ({ labels: { target, kind }, counts })),
  );
}

type Label = 'target' | 'kind' | 'le';

/** A histogram of samples that were counted elsewhere. */
class ConnectTimes extends Histogram<Label> {
  readonly #targets: RaceTargets;

  constructor(targets: RaceTargets) {
    super({ name: NAME, help: HELP, registers: [] });
    this.#targets = targets;
  }

  override async get(): Promise<MetricObjectWithValues<MetricValueWithName<Label>>> {
    const collect = () => {};
    return { name: NAME, help: HELP, type: 'histogram', aggregator: 'sum', collect, values: this.#values() };
  }

  /** What the registry reads for its text. */
  getForPromString(): Promise<MetricObjectWithValues<MetricValueWithName<Label>>> {
    return this.get();
  }

  #values(): MetricValueWithName<Label>[] {
    return eachKind(this.#targets).flatMap(({ labels, counts: { connectMs } }) => {
      let seen = 0;
      const buckets = connectMs.counts.map((count, at) => {
        seen += count;
        const bound = CONNECT_TIME_BOUNDS_MS[at];
        const le = bound === undefined ? '+Inf' : String(bound / 1_000);
        return { metricName: `${NAME}_bucket`, labels: { ...labels, le }, value: seen };
      });
      return [
        ...buckets,
        { metricName: `${NAME}_sum`, labels, value: connectMs.sum / 1_000 },
        { metricName: `${NAME}_count`, labels, value: seen },
      ];
    });
  }
}

const NAME = 'towpath_race_connect_seconds';
const HELP = 'Time to connect of the attempts that connected first, s.';
