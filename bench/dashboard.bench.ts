import type { Browser, Page } from 'playwright-core';
import { FakeDaemon } from '../packages/dashboard/test/fake-daemon.ts';
import { FAKE_PARTY } from '../packages/dashboard/test/fake-data.ts';
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
const FRAMES = 120;
const LONG_MS = 50;
/** Of 200 peers, each of which is measured every five seconds. */
const EVENTS_EVERY_MS = 25;

/** What scrolling costs, of frames all together. */
interface Scrolled {
  readonly times: number[];
  /** Processor time of the page's main thread, ms. */
  busyMs: number;
  /** Tasks of the main thread that took longer than {@link LONG_MS}. */
  longTasks: number;
  /** Those that used the processor for so long: what waited for a processor does not count. */
  busyTasks: number;
}

interface Case {
  readonly name: string;
  readonly route: string;
  /** One of the list's rows, and what is in it when it is drawn. */
  readonly row: string;
  readonly box: string;
  readonly boxes: number;
  readonly overscan: number;
  readonly withEvents: boolean;
}

const CASES: readonly Case[] = [
  {
    ...{ name: `${PEERS} peers`, route: '/', row: '.peer-item', box: 'a', boxes: PEERS },
    ...{ overscan: 8, withEvents: false },
  },
  {
    ...{ name: `${PEERS} peers, 40 events per second`, route: '/', row: '.peer-item', box: 'a', boxes: PEERS },
    ...{ overscan: 8, withEvents: true },
  },
  {
    ...{ name: `${PICTURES} pictures`, route: '/cameras/feeder', row: '.gallery-row', box: '.tile', boxes: PICTURES },
    ...{ overscan: 4, withEvents: false },
  },
];

/** Scrolls lists of the dashboard. */
export const bench: Bench = {
  about:
    'scrolling 200 peers and 5,000 pictures in headless Chromium without a GPU, beside as many grey boxes of the same size in a list without React that is scrolled in turns with it',
  async run({ quick, print }) {
    await using parts = new AsyncDisposableStack();
    const drawn = new FakePictures();
    drawn.drawThumbnails();
    const daemon = await new FakeDaemon({ page: buildPage(), drawn, peers: PEERS, pictures: PICTURES }).listen();
    parts.defer(() => daemon.stop());
    const browser = await openBrowser();
    parts.defer(() => browser.close());
    const { page, context } = await openTab(browser, DESKTOP, daemon.url, { realTime: true });
    await page.goto(daemon.link);
    await page.getByRole('navigation').waitFor();
    const grey = await context.newPage();
    const rows: BenchRow[] = [];
    for (const each of CASES) {
      await page.bringToFront();
      await goTo(page, each.route);
      await page.locator(`${each.row} ${each.box}`).first().waitFor();
      await showBoxes(page, grey, each);
      const [ours, boxes] = [nothing(), nothing()];
      const events = each.withEvents ? setInterval(() => emitChange(daemon), EVENTS_EVERY_MS) : undefined;
      try {
        for (let turn = 0; turn < (quick ? 3 : 10); turn++) {
          await scroll(browser, page, ours);
          await scroll(browser, grey, boxes);
        }
      } finally {
        clearInterval(events);
      }
      print(`  ${each.name}: ${ours.times.length} frames`);
      rows.push(...rowsOf(each.name, ours, boxes));
    }
    return rows;
  },
};

/** A latency of one peer after the other, and its counters. */
function emitChange(daemon: FakeDaemon): void {
  const peer = daemon.data.peers.shift()!;
  daemon.data.peers.push(peer);
  const rttMs = peer.latencyMs ?? 20;
  peer.receivedBytes += 1_200;
  daemon.emit(
    { type: 'peer', party: FAKE_PARTY, peer: { ...peer } },
    { type: 'latency', party: FAKE_PARTY, peer: peer.id, sample: { atMs: Date.now(), rttMs, kind: 'p2p' } },
  );
}

/** The same list with nothing in it: rows that can be seen are made, others are removed. */
async function showBoxes(page: Page, grey: Page, { row, box, boxes, overscan }: Case): Promise<void> {
  const list = await page.evaluate(
    ([rowOf, boxOf]) => {
      const found = document.querySelectorAll(rowOf!);
      const columns = Math.max(...[...found].map((one) => one.querySelectorAll(boxOf!).length));
      const { height, width } = found[0]!.getBoundingClientRect();
      return { columns, height, width, whole: document.documentElement.scrollHeight };
    },
    [row, box],
  );
  await grey.setContent(
    '<style>body { margin: 0 } .row { position: absolute; left: 0; right: 0; display: flex; gap: 6px } .box { flex: 1; background: #ccc }</style><main></main>',
  );
  await grey.evaluate(
    ({ columns, height, width, whole, boxes, overscan }) => {
      const main = document.querySelector('main')!;
      main.setAttribute('style', `position: relative; width: ${width}px; height: ${whole}px`);
      const pitch = height + 6;
      const count = Math.ceil(boxes / columns);
      const made = new Map<number, HTMLElement>();
      const draw = (): void => {
        const from = Math.max(0, Math.floor(scrollY / pitch) - overscan);
        const to = Math.min(count, Math.ceil((scrollY + innerHeight) / pitch) + overscan);
        for (const [index, element] of made) {
          if (index >= from && index < to) continue;
          element.remove();
          made.delete(index);
        }
        for (let index = from; index < to; index++) {
          if (made.has(index)) continue;
          const element = document.createElement('div');
          element.className = 'row';
          element.setAttribute('style', `top: ${index * pitch}px; height: ${height}px`);
          element.innerHTML = '<div class="box"></div>'.repeat(columns);
          main.append(element);
          made.set(index, element);
        }
      };
      addEventListener('scroll', draw);
      draw();
    },
    { ...list, boxes, overscan },
  );
}

function nothing(): Scrolled {
  return { times: [], busyMs: 0, longTasks: 0, busyTasks: 0 };
}

/** From the top, as far as the page goes. */
async function scroll(browser: Browser, page: Page, into: Scrolled): Promise<void> {
  await page.bringToFront();
  await page.evaluate(() => scrollTo(0, 0));
  const height = await page.evaluate(() => document.documentElement.scrollHeight - innerHeight);
  const frames = Math.min(FRAMES, Math.floor(height / DISTANCE_PX));
  const tasks = await tracedTasks(browser, async () => {
    into.times.push(...(await scrollThrough(page, frames, DISTANCE_PX)));
  });
  for (const { wallMs, busyMs } of tasks) {
    into.busyMs += busyMs;
    if (wallMs > LONG_MS) into.longTasks++;
    if (busyMs > LONG_MS) into.busyTasks++;
  }
}

interface TraceEvent {
  readonly name: string;
  readonly ph: string;
  readonly pid: number;
  readonly tid: number;
  /** Microseconds; of the thread's own processor time. */
  readonly dur?: number;
  readonly tdur?: number;
  readonly args: { readonly name?: string };
}

/** Tasks of the main threads of pages while something is done. */
async function tracedTasks(browser: Browser, work: () => Promise<void>): Promise<{ wallMs: number; busyMs: number }[]> {
  const session = await browser.newBrowserCDPSession();
  const events: TraceEvent[] = [];
  session.on('Tracing.dataCollected', ({ value }) => void events.push(...(value as unknown as TraceEvent[])));
  const complete = new Promise<void>((resolve) => session.once('Tracing.tracingComplete', () => resolve()));
  await session.send('Tracing.start', {
    transferMode: 'ReportEvents',
    traceConfig: { includedCategories: ['toplevel'], excludedCategories: ['*'] },
  });
  await work();
  await session.send('Tracing.end');
  await complete;
  await session.detach();
  const mainThreads = new Set(
    events
      .filter(({ name, args }) => name === 'thread_name' && args.name === 'CrRendererMain')
      .map(({ pid, tid }) => `${pid}/${tid}`),
  );
  return events
    .filter(({ name, ph, pid, tid }) => ph === 'X' && name.endsWith('::RunTask') && mainThreads.has(`${pid}/${tid}`))
    .map(({ dur = 0, tdur = 0 }) => ({ wallMs: dur / 1_000, busyMs: tdur / 1_000 }));
}

function rowsOf(name: string, ours: Scrolled, boxes: Scrolled): BenchRow[] {
  const perFrame = ({ busyMs, times }: Scrolled) => busyMs / times.length;
  const late = ({ times }: Scrolled) => (times.filter((time) => time > 1.5 * FRAME_MS).length / times.length) * 100;
  const frame = (share: number) => ({
    value: percentile(ours.times, share),
    baseline: percentile(boxes.times, share),
    unit: 'ms',
  });
  const median = frame(0.5);
  return [
    row({
      ...{ case: name, metric: 'time between frames, median', ...median },
      goal: '≤ 1.05 × the boxes’',
      met: median.value <= median.baseline * 1.05,
    }),
    row({ case: name, metric: 'time between frames, 95 %', ...frame(0.95) }),
    row({
      ...{ case: name, metric: 'late frames', value: late(ours), baseline: late(boxes), unit: '%' },
      goal: '≤ 1 % more than the boxes’',
      met: late(ours) <= late(boxes) + 1,
    }),
    row({
      ...{ case: name, metric: 'processor time of the main thread for a frame', unit: 'ms' },
      ...{ value: perFrame(ours), baseline: perFrame(boxes) },
      goal: `≤ ${FRAME_MS.toFixed(1)} ms`,
      met: perFrame(ours) <= FRAME_MS,
    }),
    row({ case: name, metric: 'tasks over 50 ms', value: ours.longTasks, baseline: boxes.longTasks, unit: 'tasks' }),
    row({
      ...{ case: name, metric: 'tasks over 50 ms of processor time', unit: 'tasks' },
      ...{ value: ours.busyTasks, baseline: boxes.busyTasks },
      goal: 'none',
      met: ours.busyTasks === 0,
    }),
  ];
}
