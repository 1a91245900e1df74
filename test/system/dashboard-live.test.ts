import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { agesOfPictures, LiveStage, showFile, timeAt, timeInScreenshot } from './support/dashboard-live.ts';
import { CHROMIUM, openBrowser } from './support/dashboard-page.ts';
import { record } from './support/live-recording.ts';

const missing = CHROMIUM === undefined;
if (missing) console.warn('live-chromium: Chromium is not installed (Debian: apt-get install chromium)');

/** Pictures whose age is read: 4 s of them. How old they may be is measured by the bench live-delay. */
const PICTURES = 60;
const SECOND_MS = 1_000;

describe.skipIf(missing && process.env.CI !== 'true')('live video of a daemon, seen in Chromium (B13)', () => {
  let stage: LiveStage;

  beforeAll(async () => {
    stage = await LiveStage.open();
  }, 240_000);

  afterAll(() => stage?.[Symbol.asyncDispose]());

  /** New pictures come one after the other, and none is from the future. */
  const expectLive = (ages: number[]) => {
    expect(ages).toHaveLength(PICTURES);
    expect(Math.min(...ages)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...ages)).toBeLessThan(60 * SECOND_MS);
  };

  test.each(['webcodecs', 'mediasource'] as const)(
    'the page plays it with %s and says how old it is',
    async (decoder) => {
      const element = await stage.watch(decoder);
      const one = await timeInScreenshot(stage.page, element);
      expectLive(await agesOfPictures(stage.page, element, PICTURES));
      // The screen moves on.
      const two = await timeInScreenshot(stage.page, element);
      expect(two - one).toBeGreaterThan(2 * SECOND_MS);
      await stage.page
        .locator('.live-figures')
        .getByText(/\d\sm?s/)
        .first()
        .waitFor();
      expect(stage.faults).toEqual([]);
    },
  );

  test('the API sends it as MP4, which a video element plays', async () => {
    const { page, origin } = stage;
    await page.goto(`${origin}/#/cameras`);
    await page.evaluate(async () => {
      const video = document.createElement('video');
      video.id = 'plain';
      video.muted = true;
      video.src = '/v1/cameras/feeder/live.mp4';
      document.body.append(video);
      await video.play();
    });
    expectLive(await agesOfPictures(page, '#plain', PICTURES));
    expect(await page.evaluate(() => document.querySelector<HTMLVideoElement>('#plain')?.videoWidth)).toBe(1_280);
    expect(stage.faults).toEqual([]);
  });
});

describe.skipIf(missing && process.env.CI !== 'true')('a minute of live video as MP4, seen in Chromium (B13)', () => {
  const folder = mkdtempSync(join(tmpdir(), 'towpath-mp4-'));
  let browser: Browser;

  beforeAll(async () => {
    browser = await openBrowser();
  });

  afterAll(async () => {
    await browser?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  test.each([0, 0.05])('at a loss of %s the screen shows at each time the picture of that time', async (loss) => {
    const { file } = await record(folder, loss);
    const page = await browser.newPage();
    await showFile(page, readFileSync(file));
    const start = await timeAt(page, 0);
    for (const seconds of [20, 40, 59]) {
      const shown = (await timeAt(page, seconds)) - start;
      // One picture lasts 67 ms; lost datagrams delay what follows them.
      expect(Math.abs(shown - seconds * SECOND_MS)).toBeLessThan(loss === 0 ? 100 : 1_500);
    }
    await page.close();
  });
});
