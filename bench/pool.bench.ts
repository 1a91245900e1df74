import { type Bench, type BenchRow, row } from './support/bench.ts';
import { Worker } from './support/worker.ts';
import type { EmulatorsReady, EmulatorsTask } from './workers/emulators.ts';
import type { HolderReport, HolderTask } from './workers/holder.ts';

const CAMERAS = 1_000;
const GOAL_CPU_PERCENT = 25;
const GOAL_KB_EACH = 40;

/** What it costs one process to hold a thousand cameras, logged in, with their heartbeats. */
export const bench: Bench = {
  about: '1,000 cameras held by one process, heartbeats on, beside 1,000 bare UDP sockets that only answer keep-alives',
  async run({ quick, say }) {
    const holdMs = quick ? 3_000 : 24_000;
    const baseline = await hold('device', 'sockets', holdMs);
    say(`  sockets: ${JSON.stringify(baseline)}`);
    const ours = await hold('camera', 'cameras', holdMs);
    say(`  cameras: ${JSON.stringify(ours)}`);
    return rowsOf(ours, baseline, holdMs);
  },
};

async function hold(peers: EmulatorsTask['kind'], kind: HolderTask['kind'], holdMs: number): Promise<HolderReport> {
  const task: EmulatorsTask = { kind: peers, count: CAMERAS, items: 1, photoBytes: 1_024 };
  const {
    worker: emulators,
    first: { ports },
  } = await Worker.start<EmulatorsReady>('emulators', task);
  await using _emulators = emulators;
  const held: HolderTask = { kind, ports, holdMs };
  const { worker: holder, first: report } = await Worker.start<HolderReport>('holder', held, ['--expose-gc']);
  await holder[Symbol.asyncDispose]();
  return report;
}

function rowsOf(ours: HolderReport, baseline: HolderReport, holdMs: number): BenchRow[] {
  const name = `${CAMERAS} cameras`;
  const percent = (report: HolderReport) => 100 * report.cpuShare;
  const heap = ours.heapBytesEach / 1_000;
  const rss = ours.rssBytesEach / 1_000;
  const beats = ours.heartbeats / CAMERAS / (holdMs / 1_000);
  return [
    row({
      case: name,
      metric: 'processor time of one core',
      value: percent(ours),
      unit: '%',
      baseline: percent(baseline),
      goal: `≤ ${GOAL_CPU_PERCENT} %`,
      met: percent(ours) <= GOAL_CPU_PERCENT,
    }),
    row({
      case: name,
      metric: 'heap and external memory each',
      value: heap,
      unit: 'KB',
      baseline: baseline.heapBytesEach / 1_000,
      goal: `≤ ${GOAL_KB_EACH} KB`,
      met: heap <= GOAL_KB_EACH,
    }),
    row({
      case: name,
      metric: 'resident memory each',
      value: rss,
      unit: 'KB',
      baseline: baseline.rssBytesEach / 1_000,
    }),
    row({
      case: name,
      metric: 'held without a loss',
      value: ours.held,
      unit: 'cameras',
      baseline: baseline.held,
      goal: `${CAMERAS}`,
      met: ours.held === CAMERAS,
    }),
    row({ case: name, metric: 'heartbeats per camera', value: beats, unit: '1/s' }),
  ];
}
