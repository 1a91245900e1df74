import type { CDPSession, Page } from 'playwright-core';
import { FakeDaemon } from '../packages/dashboard/test/fake-daemon.ts';
import { FakePictures } from '../packages/dashboard/test/fake-pictures.ts';
import {
  buildPage,
  DESKTOP,
  goTo,
  openBrowser,
  openTab,
  scrollThrough,
} from '../test/system/support/dashboard-page.ts';
import { type Bench, type BenchRow, percentile, row } from './support/bench.ts';

const PEERS = 200;
const PICTURES = 5_000;
/** One frame of 60 in a second. */
const FRAME_MS = 1_000 / 60;
const DISTANCE_PX = 90;

/** What scrolling costs, of frames all together. */
interface Scrolled {
  readonly times: number[];
  /** Of the page's main thread. */
  busyMs: number;
  longTasks: number;
}

/** Scrolls lists of the dashboard. */
export const bench: Bench = {
  about:
    'scrolling 200 peers and 5,000 pictures in headless Chromium without a GPU, beside an empty page of the same height that is scrolled in turns with it',
  async run({ quick, say }) {
    await using parts = new AsyncDisposableStack();
    const daemon = await new FakeDaemon({
      page: buildPage(),
      drawn: new FakePictures(),
      peers: PEERS,
      pictures: PICTURES,
    }).listen();
    parts.defer(() => daemon.stop());
    const browser = await openBrowser();
    parts.defer(() => browser.close());
    const { page, context } = await openTab(browser, DESKTOP, daemon.url, { realTime: true });
    await page.goto(daemon.link);
    await page.getByRole('navigation').waitFor();
    const empty = await context.newPage();
    const rows: BenchRow[] = [];
    for (const [name, route, ready] of [
      [`${PEERS} peers`, '/', '.peer-item'],
      [`${PICTURES} pictures`, '/cameras/feeder', '.tile img'],
    ] as const) {
      await goTo(page, route);
      await page.locator(ready).first().waitFor();
      const height = await page.evaluate(() => document.documentElement.scrollHeight);
      await empty.setContent(`<div style="height:${height}px"></div>`);
      const [ours, bare] = [nothing(), nothing()];
      for (let turn = 0; turn < (quick ? 2 : 8); turn++) {
        await scroll(page, ours);
        await scroll(empty, bare);
      }
      say(`  ${name}: ${ours.times.length} frames`);
      rows.push(...rowsOf(name, ours, bare));
    }
    return rows;
  },
};

function nothing(): Scrolled {
  return { times: [], busyMs: 0, longTasks: 0 };
}

/** From the top, as far as the page goes. */
async function scroll(page: Page, into: Scrolled): Promise<void> {
  await page.bringToFront();
  await page.evaluate(() => scrollTo(0, 0));
  const frames = Math.min(120, await page.evaluate((px) => Math.floor(document.body.scrollHeight / px), DISTANCE_PX));
  await page.evaluate(() => {
    const found = globalThis as { longTasks?: number };
    found.longTasks = 0;
    const observer = new PerformanceObserver((list) => {
      found.longTasks! += list.getEntries().length;
    });
    observer.observe({ type: 'longtask' });
  });
  const session = await page.context().newCDPSession(page);
  await session.send('Performance.enable', { timeDomain: 'threadTicks' });
  const before = await busyMs(session);
  into.times.push(...(await scrollThrough(page, frames, DISTANCE_PX)));
  into.busyMs += (await busyMs(session)) - before;
  into.longTasks += await page.evaluate(() => (globalThis as { longTasks?: number }).longTasks ?? 0);
  await session.detach();
}

/** Processor time of the main thread's tasks: what another program of the machine takes does not count. */
async function busyMs(session: CDPSession): Promise<number> {
  const { metrics } = await session.send('Performance.getMetrics');
  return (metrics.find(({ name }) => name === 'TaskDuration')?.value ?? Number.NaN) * 1_000;
}

function rowsOf(name: string, ours: Scrolled, bare: Scrolled): BenchRow[] {
  const perFrame = ({ busyMs, times }: Scrolled) => busyMs / times.length;
  const late = ({ times }: Scrolled) => (times.filter((time) => time > 1.5 * FRAME_MS).length / times.length) * 100;
  const frame = (share: number) => ({
    value: percentile(ours.times, share),
    baseline: percentile(bare.times, share),
    unit: 'ms',
  });
  const median = frame(0.5);
  return [
    row({
      ...{ case: name, metric: 'time between frames, median', ...median },
      goal: `≤ 1.05 × the empty page's`,
      met: median.value <= median.baseline * 1.05,
    }),
    row({ case: name, metric: 'time between frames, 95 %', ...frame(0.95) }),
    row({ case: name, metric: 'late frames', value: late(ours), baseline: late(bare), unit: '%' }),
    row({
      ...{ case: name, metric: 'processor time of the main thread for a frame', unit: 'ms' },
      ...{ value: perFrame(ours), baseline: perFrame(bare) },
      goal: `≤ ${FRAME_MS.toFixed(1)} ms`,
      met: perFrame(ours) <= FRAME_MS,
    }),
    row({ case: name, metric: 'tasks over 50 ms', value: ours.longTasks, baseline: bare.longTasks, unit: 'tasks' }),
  ];
}
