import { agesOfPictures, LiveStage } from '../test/system/support/dashboard-live.ts';
import { type Bench, type BenchRow, percentile, row } from './support/bench.ts';

const GOAL_MS = 150;
/** The same camera at 15 pictures per second: how old the newest picture is on average when nothing else takes time. */
const FRAME_MS = 1_000 / 15;

/** How old live pictures are when a browser shows them. */
export const bench: Bench = {
  about:
    'age of live pictures in the page, from the drawing in an emulated camera to the first display in headless Chromium (drawn time code, read from the canvas); three processes on loopback; beside the distance of two pictures',
  async run({ quick, print }) {
    const rows: BenchRow[] = [];
    await using stage = await LiveStage.open();
    for (const decoder of ['webcodecs', 'mediasource'] as const) {
      const element = await stage.watch(decoder);
      // The first seconds belong to the start of the stream.
      await agesOfPictures(stage.page, element, 45);
      const ages = await agesOfPictures(stage.page, element, quick ? 150 : 900);
      print(`  ${decoder}: ${ages.length} pictures`);
      const goal = decoder === 'webcodecs' ? `≤ ${GOAL_MS} ms` : undefined;
      for (const [metric, share] of [
        ['age, p50', 0.5],
        ['age, p95', 0.95],
      ] as const) {
        const value = percentile(ages, share);
        const bound = share === 0.95 && goal !== undefined ? { goal, met: value <= GOAL_MS } : {};
        rows.push(row({ case: decoder, metric, value, unit: 'ms', baseline: FRAME_MS, ...bound }));
      }
    }
    return rows;
  },
};
