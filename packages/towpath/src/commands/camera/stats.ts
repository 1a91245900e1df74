import {
  CONNECT_TIME_BOUNDS_MS,
  PathHistory,
  type RaceStatisticsSnapshot,
  type PathKindStatistics,
} from '@towpath/core';
import { type CameraMemory, StorePathMemory } from '@towpath/camera';
import type { Runtime } from '../../cli/runtime.ts';
import { bar } from '../../cli/progress.ts';
import { formatMs, outputWidth, table } from '../../cli/table.ts';
import { racePage } from '../../serve/race-metrics.ts';
import { cameraRuntime } from './target.ts';
import { printJson } from '../../cli/json-output.ts';

interface StatsOptions {
  json?: boolean;
  prometheus?: boolean;
}

/** Shows the statistics of earlier attempts to one camera, or to every camera that was tried. */
export async function stats(runtime: Runtime, host: string | undefined, options: StatsOptions): Promise<void> {
  const { io } = runtime;
  const { deviceStore } = cameraRuntime(runtime);
  const hosts = host === undefined ? await deviceStore.list() : [host];
  const memory = new StorePathMemory(deviceStore);
  const memories = await Promise.all(hosts.map(async (each) => [each, await memory.recall(each)] as const));
  if (options.prometheus) {
    const targets = Object.fromEntries(memories.map(([each, { statistics = {} }]) => [each, statistics]));
    io.out((await racePage(targets)).trimEnd());
    return;
  }
  if (memories.length === 0 && !options.json)
    io.err('There are no statistics: no camera was connected to from here. Next: towpath camera find');
  for (const [at, [each, memory]] of memories.entries()) {
    if (host === undefined && !options.json) io.out(`${at > 0 ? '\n' : ''}${each}`);
    show(runtime, each, memory, options);
  }
}

function show({ io, clock }: Runtime, host: string, memory: CameraMemory, { json }: StatsOptions): void {
  const { statistics = {}, history = {}, path } = memory;
  const kinds = Object.keys(statistics);
  const weights = new PathHistory({ clock }, history).weights(kinds);
  if (json) {
    printJson(io, 'statistics', { host, path: path ?? null, weights, statistics });
    return;
  }
  if (kinds.length === 0) {
    io.err(`There are no statistics for ${host}. Next: towpath camera connect ${host}`);
    return;
  }
  for (const line of statisticsTable(statistics, weights, outputWidth(io))) io.out(line);
  if (path)
    io.out(`last connected: ${KINDS[path.kind]}, port ${path.destinationPort}, from local port ${path.localPort}`);
}

function statisticsTable(statistics: RaceStatisticsSnapshot, weights: Record<string, number>, width: number): string[] {
  const head = [
    'path',
    'attempts',
    'connected',
    'share',
    'not needed',
    'failed',
    'mean',
    'median',
    'preference',
    'reasons',
  ];
  const rows = Object.entries(statistics).map(([kind, counts]) => cells(kind, counts, weights[kind] ?? 1));
  return table(head, rows, width, [1, 2, 4, 5, 6, 7, 8]);
}

/** An attempt that ended because another one had connected is neither a success nor a failure. */
function cells(
  kind: string,
  { attempts, wins, cancelled, failures, connectMs }: PathKindStatistics,
  weight: number,
): string[] {
  const failed = Object.values(failures).reduce((sum, count) => sum + count, 0);
  return [
    KINDS[kind] ?? kind,
    String(attempts),
    String(wins),
    wins + failed === 0 ? '' : bar(wins / (wins + failed), 10).trim(),
    String(cancelled),
    String(failed),
    wins === 0 ? '–' : formatMs(connectMs.sum / wins),
    wins === 0 ? '–' : median(connectMs.counts, wins),
    weight.toFixed(2),
    Object.entries(failures)
      .map(([code, count]) => `${REASONS[code] ?? code.replaceAll('-', ' ')} ${count}`)
      .join(', '),
  ];
}

const KINDS: Readonly<Record<string, string>> = { lan: 'local network', p2p: 'direct', relay: 'relay' };

const REASONS: Readonly<Record<string, string>> = {
  refused: 'port closed',
  'attempt-timed-out': 'no answer in time',
  'wrong-device': 'another camera answered',
  'device-offline': 'camera not logged in at the server',
};

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
