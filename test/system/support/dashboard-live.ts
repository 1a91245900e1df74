import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readTimeCode } from '@towpath/camera/emulator';
import type { Browser, Page } from 'playwright-core';
import { buildPage, DESKTOP, openBrowser, openTab } from './dashboard-page.ts';
import { finished, says } from './lab.ts';

const TOWPATH = join(import.meta.dirname, '../../../packages/towpath/bin/towpath.js');
/** The time code is modulo this. */
const MODULUS = 2 ** 32;
/** Width of the pictures that carry it. */
const WIDTH = 1_280;

/** Shows a video file in an empty page. */
export async function showFile(page: Page, file: Uint8Array): Promise<void> {
  const server = createServer((request, response) => {
    if (request.url === '/clip.mp4') response.writeHead(200, { 'content-type': 'video/mp4' }).end(file);
    else response.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html><body></body>');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
    await page.evaluate(async () => {
      const blob = await (await fetch('/clip.mp4')).blob();
      const video = document.createElement('video');
      video.muted = true;
      video.width = 1_280;
      document.body.append(video);
      await new Promise((resolve, reject) => {
        video.addEventListener('canplay', resolve, { once: true });
        video.addEventListener('error', () => reject(new Error(video.error?.message)), { once: true });
        setTimeout(() => reject(new Error(`The video was not loaded within 60 s: ${video.readyState}`)), 60_000);
        video.src = URL.createObjectURL(blob);
      });
    });
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

/** Goes to a time of the video and reads the drawn time from a screenshot, ms. */
export async function timeAt(page: Page, seconds: number): Promise<number> {
  await page.evaluate(async (time) => {
    const video = document.querySelector('video')!;
    const presented = new Promise((resolve, reject) => {
      video.requestVideoFrameCallback(resolve);
      setTimeout(() => {
        const { readyState, seeking } = video;
        const state = JSON.stringify({ readyState, seeking, visible: document.visibilityState });
        reject(new Error(`No picture of the time ${time} s was shown within 60 s: ${state}`));
      }, 60_000);
    });
    video.currentTime = time;
    await presented;
  }, seconds);
  return await timeInScreenshot(page, 'video');
}

/** The time that is drawn into an element, as a screenshot shows it, ms modulo 2³². */
export async function timeInScreenshot(page: Page, selector: string): Promise<number> {
  const png = (await page.locator(selector).screenshot()).toString('base64');
  const time = await page.evaluate<number | undefined>(`(async (readTimeCode) => {
    const bytes = Uint8Array.from(atob('${png}'), (text) => text.charCodeAt(0));
    const bitmap = await createImageBitmap(new Blob([bytes], { type: 'image/png' }));
    const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
    const context = canvas.getContext('2d');
    context.drawImage(bitmap, 0, 0);
    const { width, height } = bitmap;
    const { data } = context.getImageData(0, 0, width, height);
    const scale = width / ${WIDTH};
    return readTimeCode((x, y) => data[(Math.floor(y * scale) * width + Math.floor(x * scale)) * 4 + 1]);
  })(${readTimeCode})`);
  if (time === undefined) throw new Error('The screenshot shows no time code.');
  return time;
}

/** Ages of the pictures that an element shows, ms: from the drawing in the camera to the first display that shows it. */
export async function agesOfPictures(page: Page, selector: string, count: number): Promise<number[]> {
  const pairs = await page.evaluate<[number, number][]>(`((readTimeCode) => new Promise((resolve) => {
    const canvas = document.createElement('canvas');
    canvas.width = 640;
    canvas.height = 16;
    const context = canvas.getContext('2d', { willReadFrequently: true });
    const seen = [];
    let last;
    const look = () => {
      const source = document.querySelector('${selector}');
      context.drawImage(source, 0, 0, 640, 16, 0, 0, 640, 16);
      const { data } = context.getImageData(0, 0, 640, 16);
      const time = readTimeCode((x, y) => data[(y * 640 + x) * 4 + 1]);
      if (time !== undefined && time !== last) {
        // The picture that is there at the beginning may have been there for a while.
        if (last !== undefined) seen.push([time, Date.now()]);
        last = time;
      }
      if (seen.length >= ${count}) resolve(seen);
      else requestAnimationFrame(look);
    };
    look();
  }))(${readTimeCode})`);
  return pairs.map(([drawn, shown]) => (((shown % MODULUS) - drawn + MODULUS * 1.5) % MODULUS) - MODULUS / 2);
}

/** An emulated camera that draws the time, a daemon that holds it, and a browser: three processes on loopback. */
export class LiveStage implements AsyncDisposable {
  readonly page: Page;
  readonly faults: string[];
  readonly origin: string;
  readonly #stack: AsyncDisposableStack;

  private constructor(page: Page, faults: string[], origin: string, stack: AsyncDisposableStack) {
    this.page = page;
    this.faults = faults;
    this.origin = origin;
    this.#stack = stack;
  }

  static async open(): Promise<LiveStage> {
    buildPage();
    await using stack = new AsyncDisposableStack();
    const home = mkdtempSync(join(tmpdir(), 'towpath-live-'));
    stack.defer(() => rmSync(home, { recursive: true, force: true }));
    const start = (args: string[]): ChildProcess => {
      const env = {
        ...process.env,
        TOWPATH_HOME: join(home, args[0] === 'camera' && args[1] === 'emulate' ? 'c' : 'h'),
      };
      return spawn(process.execPath, [TOWPATH, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] });
    };
    const hold = async (args: string[], said: RegExp): Promise<string> => {
      const child = start(args);
      stack.defer(async () => {
        child.kill('SIGTERM');
        await finished(child, 30_000).catch(() => child.kill('SIGKILL'));
      });
      return await says(child, said, 60_000);
    };
    const run = async (args: string[]): Promise<string> => {
      const { code, stdout, stderr } = await finished(start(args), 60_000);
      if (code !== 0) throw new Error(`towpath ${args.join(' ')} ended with ${code}: ${stderr}`);
      return stdout.trim();
    };
    const emulated = ['--port', '0', '--search-port', '0', '--items', '3', '--time-code', '--json'];
    const said = await hold(['camera', 'emulate', '--address', '127.0.0.1', ...emulated], /"port":\d+/);
    const port = /"port":(\d+)/.exec(said)?.[1] ?? '';
    await run(['camera', 'add', 'feeder', '127.0.0.1', '--ports', port, '--search-port', '1']);
    await hold(['up', '--api-port', '0'], /Page: /);
    const link = await run(['dashboard']);
    const browser: Browser = await openBrowser();
    stack.defer(() => browser.close());
    const { origin } = new URL(link);
    const { page, faults } = await openTab(browser, DESKTOP, origin, { realTime: true });
    page.setDefaultTimeout(60_000);
    await page.goto(link);
    // The page has taken the token out of its address.
    await page.getByRole('navigation').first().waitFor({ timeout: 20_000 });
    return new LiveStage(page, faults, origin, stack.move());
  }

  /** Shows the camera's live video. @param decoder as in the page's address @returns the selector of the element */
  async watch(decoder: 'webcodecs' | 'mediasource'): Promise<string> {
    const { page, origin } = this;
    await page.goto(`${origin}/?decoder=${decoder}#/cameras/feeder`);
    await page.getByRole('button', { name: 'Live', exact: true }).click();
    await page
      .locator('.live-figures')
      .getByText(/\d per s/)
      .waitFor();
    return decoder === 'webcodecs' ? '.live-stage canvas' : '.live-stage video';
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}
