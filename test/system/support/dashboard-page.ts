import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { delimiter, join } from 'node:path';
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core';
import { FAKE_NOW } from '../../../packages/dashboard/test/fake-data.ts';

/** Path of Chromium: playwright-core searches no PATH. Undefined when there is none. */
export const CHROMIUM: string | undefined =
  process.env.CHROMIUM ??
  (process.env.PATH ?? '')
    .split(delimiter)
    .map((folder) => join(folder, 'chromium'))
    .find((path) => existsSync(path));
export const CHROMIUM_FLAGS: string[] = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];
const root = join(import.meta.dirname, '../../..');
const PACKAGE = join(root, 'packages/dashboard');

/** Builds the page; returns its folder. */
export function buildPage(): string {
  const vite = join(root, 'node_modules/vite/bin/vite.js');
  // Vitest sets NODE_ENV to "test", with which React is built for development.
  const env = { ...process.env, NODE_ENV: 'production' };
  const args = [vite, 'build', '--logLevel', 'warn'];
  const built = spawnSync(process.execPath, args, { cwd: PACKAGE, env, encoding: 'utf8' });
  if (built.status !== 0) throw new Error(`The page could not be built.\n${built.stdout}${built.stderr}`);
  return join(PACKAGE, 'page/');
}

export async function openBrowser(): Promise<Browser> {
  if (CHROMIUM === undefined) throw new Error('Chromium is missing. Next: apt-get install chromium.');
  return await chromium.launch({ executablePath: CHROMIUM, args: CHROMIUM_FLAGS, timeout: 60_000 });
}

/** How a page is looked at. */
export interface Look {
  readonly name: string;
  readonly width: number;
  readonly height: number;
  readonly scheme: 'light' | 'dark';
  readonly scale: number;
}
export const DESKTOP: Look = { name: 'desktop', width: 1280, height: 860, scheme: 'light', scale: 1 };
export const PHONE: Look = { name: 'phone', width: 390, height: 844, scheme: 'dark', scale: 2 };

/** A tab of its own, and what went wrong in it. */
export interface Tab {
  readonly context: BrowserContext;
  readonly page: Page;
  /** Errors, violations of the security policy, and requests to anywhere but the daemon. */
  readonly faults: string[];
}

export interface TabOptions {
  /** Texts of errors that belong to the test. */
  expected?: RegExp[];
  /** The page's clock is the real one; else it stands at the moment of the made-up data. */
  realTime?: boolean;
}

export async function openTab(
  browser: Browser,
  look: Look,
  origin: string,
  { expected = [], realTime = false }: TabOptions = {},
): Promise<Tab> {
  const context = await browser.newContext({
    viewport: { width: look.width, height: look.height },
    deviceScaleFactor: look.scale,
    colorScheme: look.scheme,
    timezoneId: 'Europe/Berlin',
    locale: 'en-GB',
    reducedMotion: 'reduce',
  });
  context.setDefaultTimeout(20_000);
  const page = await context.newPage();
  const faults: string[] = [];
  const fault = (text: string): void => {
    if (!expected.some((one) => one.test(text))) faults.push(text);
  };
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') fault(message.text());
  });
  page.on('pageerror', (error) => fault(error.message));
  page.on('request', (request) => {
    const url = request.url();
    if (!url.startsWith(origin) && !url.startsWith('blob:')) fault(`request to ${url}`);
  });
  // Timers go on.
  if (!realTime) await page.clock.setFixedTime(FAKE_NOW);
  return { context, page, faults };
}

/** Goes to a page by its route. */
export async function goTo(page: Page, route: string): Promise<void> {
  await page.evaluate((hash) => {
    location.hash = hash;
  }, route);
}

const require = createRequire(import.meta.url);
const AXE = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');

/** Serious and critical faults that axe finds, a line `rule: element` for each. */
export async function accessibilityFaults(page: Page): Promise<string> {
  await page.evaluate(AXE);
  return await page.evaluate(async () => {
    const { axe } = globalThis as unknown as {
      axe: {
        run(options: unknown): Promise<{ violations: { id: string; impact: string; nodes: { html: string }[] }[] }>;
      };
    };
    const { violations } = await axe.run({ resultTypes: ['violations'] });
    return violations
      .filter(({ impact }) => impact === 'serious' || impact === 'critical')
      .flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html.slice(0, 200)}`))
      .join('\n');
  });
}

/** With TOWPATH_SCREENSHOTS=FOLDER every page that a test looks at is drawn into it; the documentation shows them. */
export async function screenshot(page: Page, name: string, fullPage = false): Promise<void> {
  const folder = process.env.TOWPATH_SCREENSHOTS;
  if (folder === undefined) return;
  mkdirSync(folder, { recursive: true });
  await page.screenshot({ path: join(folder, `dashboard-${name}.png`), fullPage, animations: 'disabled' });
}

/** Heap in use after a collection, bytes, and the number of elements. */
export async function memoryOf(page: Page): Promise<{ heapBytes: number; elements: number }> {
  const session = await page.context().newCDPSession(page);
  try {
    // Twice: what the first one finalizes, the second one frees.
    for (let round = 0; round < 2; round++) await session.send('HeapProfiler.collectGarbage');
    const { usedSize } = await session.send('Runtime.getHeapUsage');
    const elements = await page.evaluate(() => document.querySelectorAll('*').length);
    return { heapBytes: usedSize, elements };
  } finally {
    await session.detach();
  }
}

/**
 * Scrolls through the page, one step per frame, and returns the times between frames, ms.
 * @param distancePx of one frame
 */
export async function scrollThrough(page: Page, frames: number, distancePx: number): Promise<number[]> {
  return await page.evaluate(
    ([count, distance]) =>
      new Promise<number[]>((resolve) => {
        const times: number[] = [];
        let last: number | undefined;
        const step = (now: number): void => {
          if (last !== undefined) times.push(now - last);
          last = now;
          if (times.length >= count!) resolve(times);
          else {
            scrollBy(0, distance!);
            requestAnimationFrame(step);
          }
        };
        requestAnimationFrame(step);
      }),
    [frames, distancePx],
  );
}

/** `median 16.7 ms, 95 % below 18 ms, 1 % of the frames late` of frame times. */
export function describeFrames(times: readonly number[]): string {
  const sorted = times.toSorted((a, b) => a - b);
  const at = (share: number): string => sorted[Math.floor(share * (sorted.length - 1))]!.toFixed(1);
  const late = times.filter((time) => time > 25).length / times.length;
  return `median ${at(0.5)} ms, 95 % below ${at(0.95)} ms, ${(late * 100).toFixed(1)} % of ${times.length} frames late`;
}
