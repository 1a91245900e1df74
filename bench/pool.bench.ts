import { type Bench, type BenchRow, row } from './support/bench.ts';
import { Worker } from './support/worker.ts';
import type { EmulatorsReady, EmulatorsTask } from './workers/emulators.ts';
import type { HolderReport, HolderTask } from './workers/holder.ts';

const CAMERAS = 1_000;
const GOAL_CPU_PERCENT = 25;
const GOAL_KB_EACH = 40;
const NAME = `${CAMERAS} cameras`;
/** By default V8 grows its young generation while many connect, and returns little of it. */
const SMALL_YOUNG_GENERATION = '--max-semi-space-size=4';

/** Cost of one process that holds a thousand logged-in cameras with their heartbeats. */
export const bench: Bench = {
  about: '1,000 cameras held by one process, heartbeats on, beside 1,000 bare UDP sockets that only answer keep-alives',
  async run({ quick, print }) {
    const times = quick ? { settleMs: 700, holdMs: 2_500 } : { settleMs: 3_000, holdMs: 24_000 };
    // Both run at the same time: each counts its own processor time and memory.
    const [baseline, ours, small] = await Promise.all([
      hold('device', 'sockets', times),
      hold('camera', 'cameras', times),
      hold('camera', 'cameras', times, [SMALL_YOUNG_GENERATION]),
    ]);
    print(`  sockets: ${JSON.stringify(baseline)}`);
    print(`  cameras: ${JSON.stringify(ours)}`);
    print(`  cameras, ${SMALL_YOUNG_GENERATION}: ${JSON.stringify(small)}`);
    return rowsOf({ baseline, ours, small, holdMs: times.holdMs });
  },
};

async function hold(
  peers: EmulatorsTask['kind'],
  kind: HolderTask['kind'],
  times: { settleMs: number; holdMs: number },
  flags: readonly string[] = [],
): Promise<HolderReport> {
  const emulated: EmulatorsTask = { kind: peers, count: CAMERAS, items: 1, photoBytes: 1_024 };
  const { worker: emulators, first } = await Worker.start<EmulatorsReady>('emulators', emulated);
  await using _emulators = emulators;
  const task: HolderTask = { kind, ports: first.ports, ...times };
  const { worker: holder, first: report } = await Worker.start<HolderReport>('holder', task, ['--expose-gc', ...flags]);
  await holder[Symbol.asyncDispose]();
  return report;
}

interface Measured {
  ours: HolderReport;
  small: HolderReport;
  baseline: HolderReport;
  holdMs: number;
}

function rowsOf({ ours, small, baseline, holdMs }: Measured): BenchRow[] {
  const atMost = (metric: string, unit: string, limit: number, pick: (report: HolderReport) => number, of = ours) => {
    const value = pick(of);
    const goal = `≤ ${limit} ${unit}`;
    return row({ case: NAME, metric, value, unit, baseline: pick(baseline), goal, met: value <= limit });
  };
  const rss = (report: HolderReport) => report.rssBytesEach / 1_000;
  const beats = ours.heartbeats / CAMERAS / (holdMs / 1_000);
  const held = { value: ours.held, baseline: baseline.held, goal: `${CAMERAS}`, met: ours.held === CAMERAS };
  return [
    atMost('processor time of one core', '%', GOAL_CPU_PERCENT, (report) => 100 * report.cpuShare),
    atMost('heap and external memory each', 'KB', GOAL_KB_EACH, (report) => report.heapBytesEach / 1_000),
    atMost(`resident memory each, ${SMALL_YOUNG_GENERATION}`, 'KB', GOAL_KB_EACH, rss, small),
    atMost("resident memory each, V8's young generation included", 'KB', GOAL_KB_EACH, rss),
    row({ case: NAME, metric: 'held without a loss', unit: 'cameras', ...held }),
    row({ case: NAME, metric: 'heartbeats per camera', value: beats, unit: '1/s' }),
  ];
}
