import type { Peer } from '@towpath/dashboard/api';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { FAKE_TOKEN, FakeDaemon, type FakeDaemonOptions } from '../../packages/dashboard/test/fake-daemon.ts';
import { FAKE_NOW, FAKE_PARTY } from '../../packages/dashboard/test/fake-data.ts';
import { FakePictures } from '../../packages/dashboard/test/fake-pictures.ts';
import {
  accessibilityFaults,
  buildPage,
  CHROMIUM,
  DESKTOP,
  describeFrames,
  goTo,
  type Look,
  memoryOf,
  openBrowser,
  openTab,
  PHONE,
  screenshot,
  scrollThrough,
  type Tab,
  type TabOptions,
} from './support/dashboard-page.ts';

// In CI what is missing is a failure, which the tests themselves then are.
const skip = CHROMIUM === undefined && process.env.CI !== 'true';

describe.skipIf(skip)(skip ? 'the dashboard (skipped: Chromium missing)' : 'the dashboard in Chromium (C13)', () => {
  let browser: Browser;
  let folder: string;
  const drawn = new FakePictures();

  beforeAll(async () => {
    folder = buildPage();
    browser = await openBrowser();
  });
  afterAll(() => browser?.close());

  const startDaemon = (options: Omit<FakeDaemonOptions, 'page'> = {}): Promise<FakeDaemon> =>
    new FakeDaemon({ page: folder, drawn, ...options }).listen();

  /** A daemon and a page that is signed in to it. */
  async function open(
    options: Omit<FakeDaemonOptions, 'page'> & TabOptions & { look?: Look; search?: string } = {},
  ): Promise<Tab & { daemon: FakeDaemon } & AsyncDisposable> {
    const { look = DESKTOP, expected = [], realTime = false, search = '', ...size } = options;
    const daemon = await startDaemon(size);
    const tab = await openTab(browser, look, daemon.url, { expected, realTime });
    await tab.page.goto(daemon.link.replace('/#', `/${search}#`));
    await tab.page.getByRole('navigation').waitFor();
    return {
      ...tab,
      daemon,
      [Symbol.asyncDispose]: async () => {
        await tab.context.close();
        await daemon.stop();
      },
    };
  }

  /** Five minutes of latency, for the lists. */
  function emitLatency(daemon: FakeDaemon): void {
    for (let age = 60; age > 0; age--) {
      daemon.emit(
        ...daemon.data.peers.flatMap((peer, index) =>
          peer.latencyMs === null || peer.path === null
            ? []
            : [
                {
                  type: 'latency' as const,
                  party: FAKE_PARTY,
                  peer: peer.id,
                  sample: {
                    atMs: FAKE_NOW - age * 5_000,
                    rttMs:
                      peer.latencyMs *
                      (1 + 0.07 * Math.sin(age * 0.35 + index) + 0.03 * Math.sin(age * 1.7 + index * 3)),
                    kind: peer.path.kind,
                  },
                },
              ],
        ),
      );
    }
  }

  /** A peer that was not reached for a moment, for the events. */
  function emitOutage(daemon: FakeDaemon): void {
    const relayed = daemon.data.peers.find(({ name }) => name === 'boathouse')!;
    daemon.emit(
      {
        type: 'peer',
        party: FAKE_PARTY,
        peer: {
          ...relayed,
          status: 'failed',
          reason: { code: 'echo-lost', text: 'Echoes through the tunnel are not answered.' },
        },
      },
      { type: 'peer', party: FAKE_PARTY, peer: relayed },
    );
  }

  /** Route, and what is on the page when it is complete. */
  const PAGES: Record<string, readonly [route: string, ready: (page: Page) => Promise<unknown>]> = {
    party: ['/', (page) => page.getByText('Median latency').waitFor()],
    peer: [`/peers/${FAKE_PARTY}/peer-001`, (page) => page.locator('.chart canvas').waitFor()],
    relayed: [`/peers/${FAKE_PARTY}/peer-005`, (page) => page.getByText('What would make it direct').waitFor()],
    offline: [`/peers/${FAKE_PARTY}/peer-010`, (page) => page.getByText('What to do').waitFor()],
    invite: [
      '/invite',
      async (page) => {
        await page.getByRole('button', { name: 'Create invite' }).click();
        await page.getByRole('img', { name: 'QR code of the invite link' }).waitFor();
      },
    ],
    relays: ['/relays', (page) => page.getByRole('heading', { name: 'relay-near' }).waitFor()],
    network: ['/network', (page) => page.getByRole('heading', { name: 'Peers behind' }).waitFor()],
    cameras: ['/cameras', (page) => loaded(page, '.newest img')],
    camera: ['/cameras/feeder', (page) => loaded(page, '.tile img')],
    picture: [
      '/cameras/feeder/2026-05-14/100-0415',
      (page) => page.locator('.viewer-full[data-state=shown]').waitFor(),
    ],
    unreached: ['/cameras/north-gate', (page) => loaded(page, '.tile img')],
    events: ['/events', (page) => page.getByText('boathouse').first().waitFor()],
    lost: ['/nowhere', (page) => page.getByText('There is no such page').waitFor()],
  };
  const WHOLE = new Set(['peer', 'relayed', 'network', 'party']);

  async function loaded(page: Page, images: string): Promise<void> {
    await page.locator(images).first().waitFor();
    await page.waitForFunction(
      (selector) => [...document.querySelectorAll<HTMLImageElement>(selector)].every(({ complete }) => complete),
      images,
    );
  }

  test.each([DESKTOP, PHONE])(
    'every page at $name width: accessible, complete, nothing from elsewhere',
    async (look) => {
      await using tab = await open({ look });
      const { page, daemon, faults } = tab;
      emitLatency(daemon);
      emitOutage(daemon);
      const found: string[] = [];
      for (const [name, [route, ready]] of Object.entries(PAGES)) {
        await goTo(page, route);
        await ready(page);
        const inaccessible = await accessibilityFaults(page);
        if (inaccessible !== '') found.push(`${name}: ${inaccessible}`);
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        if (wide > 0) found.push(`${name}: ${wide} px wider than the window`);
        await screenshot(
          page,
          look.name === 'desktop' ? name : `${name}-${look.name}`,
          look === DESKTOP && WHOLE.has(name),
        );
      }
      expect(found.join('\n')).toBe('');
      expect(faults).toEqual([]);
    },
  );

  test('dark on a desktop, light on a phone: accessible as well, and the choice is kept', async () => {
    const looks: Look[] = [
      { ...DESKTOP, name: 'desktop-dark', scheme: 'dark' },
      { ...PHONE, name: 'phone-light', scheme: 'light' },
    ];
    for (const look of looks) {
      await using tab = await open({ look });
      emitLatency(tab.daemon);
      emitOutage(tab.daemon);
      for (const [name, [route, ready]] of Object.entries(PAGES)) {
        await goTo(tab.page, route);
        await ready(tab.page);
        expect(await accessibilityFaults(tab.page), `${name}, ${look.name}`).toBe('');
        await screenshot(tab.page, `${name}-${look.name}`);
      }
      if (look.name !== 'desktop-dark') continue;
      const ground = () => tab.page.evaluate(() => getComputedStyle(document.body).backgroundColor);
      const dark = await ground();
      await tab.page.getByRole('button', { name: /^Colours/ }).click();
      await expect.poll(ground).not.toBe(dark);
      const light = await ground();
      await tab.page.reload();
      await tab.page.getByRole('navigation').waitFor();
      expect(await ground()).toBe(light);
    }
  });

  test('the token leaves the address at once, is in no storage, and a reload stays signed in', async () => {
    await using tab = await open();
    const { page } = tab;
    expect(page.url()).not.toContain(FAKE_TOKEN);
    const stored = await page.evaluate(() =>
      JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, history.state]),
    );
    expect(stored).not.toContain(FAKE_TOKEN);
    expect(tab.daemon.requests.filter((request) => request === 'POST /v1/session')).toHaveLength(1);
    await page.reload();
    await page.getByRole('navigation').waitFor();
    expect(tab.faults).toEqual([]);
  });

  test('without a token the page says how to get one; a wrong one is refused, a pasted link is taken', async () => {
    await using daemon = await startDaemon();
    const { page, context } = await openTab(browser, DESKTOP, daemon.url, { expected: [/401/] });
    await page.goto(daemon.url);
    await page.getByText('towpath dashboard').waitFor();
    expect(await accessibilityFaults(page)).toBe('');
    await screenshot(page, 'sign-in');
    const field = page.getByLabel('Link or token');
    await field.fill('x');
    await field.press('Enter');
    await page.getByText('no link of the daemon').waitFor();
    await field.fill('wrong-token-0123456789');
    await field.press('Enter');
    await page.getByText('not this daemon').waitFor();
    await page.getByLabel('Link or token').fill(daemon.link);
    await page.getByLabel('Link or token').press('Enter');
    await page.getByRole('heading', { name: 'Lakeside' }).waitFor();
    await context.close();
  });

  test('nothing there yet: every page says so, and what to do', async () => {
    await using tab = await open({ empty: true });
    const texts: Record<string, string> = {
      '/': 'Not in a party yet',
      '/cameras': 'No camera yet',
      '/invite': 'Not in a party yet',
      '/relays': 'No relay',
      '/network': 'Not measured yet',
      '/events': 'Nothing has changed since',
      '/cameras/nobody': 'There is no such camera',
    };
    for (const [route, text] of Object.entries(texts)) {
      await goTo(tab.page, route);
      await tab.page.getByText(text).waitFor();
      expect(await accessibilityFaults(tab.page), route).toBe('');
    }
    await goTo(tab.page, '/');
    await screenshot(tab.page, 'empty');
    expect(tab.faults).toEqual([]);
  });

  test('a daemon that goes away is said so, what was known stays, and the page follows when it is back', async () => {
    await using tab = await open({ expected: [/ERR_CONNECTION|WebSocket/] });
    const { page, daemon } = tab;
    await page.getByText('Live', { exact: true }).waitFor();
    const port = Number(new URL(daemon.url).port);
    await daemon.stop();
    await page.getByText('The daemon does not answer. What is shown is of 18:42.').waitFor();
    await page.getByText('anna-laptop').first().waitFor();
    expect(await accessibilityFaults(page)).toBe('');
    await screenshot(page, 'daemon-away');
    await daemon.listen(port);
    await page
      .getByRole('button', { name: 'Now' })
      .click({ timeout: 5_000 })
      .catch(() => undefined);
    await page.getByText('Live', { exact: true }).waitFor();
    const peer = daemon.data.peers[0]!;
    daemon.emit({ type: 'peer', party: FAKE_PARTY, peer: { ...peer, latencyMs: 123 } });
    await page.getByRole('link', { name: /attic-nas.*123/ }).waitFor();
    expect(tab.faults).toEqual([]);
  });

  test('a request that fails is said so in its place, with a way to try again', async () => {
    await using tab = await open({ expected: [/500/] });
    const { page, daemon } = tab;
    daemon.fail('relays', 500, 'The store is locked by another process.');
    await goTo(page, '/relays');
    await page.getByText('The store is locked by another process.').waitFor();
    expect(await accessibilityFaults(page)).toBe('');
    daemon.works();
    await page.getByRole('button', { name: 'Try again' }).click();
    await page.getByRole('heading', { name: 'relay-near' }).waitFor();
    daemon.fail('createInvite', 500, 'This invite could not be stored.');
    await goTo(page, '/invite');
    await page.getByRole('button', { name: 'Create invite' }).click();
    await page.getByText('This invite could not be stored.').waitFor();
    expect(tab.faults).toEqual([]);
  });

  test('text of devices and peers is only ever text', async () => {
    await using tab = await open();
    const { page, daemon } = tab;
    const hostile = '<img src=x onerror="document.title=1"><script>document.title=1</script>\u202e{{7*7}}';
    const peer: Peer = { ...daemon.data.peers[0]!, name: hostile };
    daemon.emit(
      { type: 'peer', party: FAKE_PARTY, peer },
      { type: 'peer', party: FAKE_PARTY, peer: { ...peer, online: false } },
      { type: 'camera', camera: { ...daemon.data.cameras[0]!, problem: { code: 'x', message: hostile } } },
      { type: 'notice', level: 'error', notice: { code: 'x', message: hostile } },
    );
    for (const route of ['/', '/events', '/cameras', '/cameras/feeder']) {
      await goTo(page, route);
      await page.getByText('onerror=').first().waitFor();
    }
    expect(await page.locator('img[src="x"]').count()).toBe(0);
    expect(await page.title()).toContain('Towpath');
    expect(tab.faults).toEqual([]);
  });

  test('the keyboard reaches the content, a peer, and a picture, and comes back', async () => {
    await using tab = await open();
    const { page } = tab;
    await page.keyboard.press('Tab');
    await expect.poll(() => page.evaluate(() => document.activeElement?.textContent)).toBe('To the content');
    await page.keyboard.press('Enter');
    expect(await page.evaluate(() => document.activeElement?.id)).toBe('main');
    await page.getByRole('link', { name: /anna-laptop/ }).focus();
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'anna-laptop' }).waitFor();

    await goTo(page, '/cameras/feeder');
    await loaded(page, '.tile img');
    await page.getByRole('button', { name: 'Photo 100/0415' }).press('Enter');
    const dialog = page.getByRole('dialog', { name: 'Photo 100/0415' });
    await dialog.waitFor();
    await page.keyboard.press('ArrowRight');
    await page.getByRole('dialog', { name: '100/0414' }).waitFor();
    await page.keyboard.press('ArrowLeft');
    await dialog.waitFor();
    await page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'detached' });
    expect(page.url()).toMatch(/#\/cameras\/feeder$/);
    expect(tab.faults).toEqual([]);
  });

  test('invite: a code, a link and a QR code are shown once; an invite is revoked after a question', async () => {
    await using tab = await open();
    const { page, daemon } = tab;
    await goTo(page, '/invite');
    await page.getByRole('button', { name: '1 week' }).click();
    await page.getByRole('button', { name: 'five' }).click();
    await page.getByRole('button', { name: 'Create invite' }).click();
    await page.getByText('K7QF-2M9X-TR4C', { exact: true }).waitFor();
    expect(daemon.data.invites[0]).toMatchObject({ maxUses: 5, role: 'member' });
    await page.getByRole('button', { name: 'Done' }).click();
    expect(await page.getByText('K7QF-2M9X-TR4C').count()).toBe(0);
    await page.getByRole('button', { name: 'Revoke' }).first().click();
    await page.getByRole('dialog').getByRole('button', { name: 'Revoke' }).click();
    await page.getByText('revoked').waitFor();
    expect(daemon.data.invites[0]?.state).toBe('revoked');
  });

  test('pictures: fetched from the card with progress, played, saved under a safe name, deleted after a question (B13)', async () => {
    await using tab = await open();
    const { page, daemon } = tab;
    await goTo(page, '/cameras/feeder');
    await page.getByRole('button', { name: 'Fetch 4 missing' }).click();
    await page.getByRole('progressbar', { name: 'Download from feeder' }).waitFor();
    await screenshot(page, 'download');
    await page.getByText('4 pictures fetched from feeder').waitFor();
    expect(await page.getByText('on card').count()).toBe(0);

    const video = daemon.data.media.get('feeder')!.find(({ kind }) => kind === 'video')!;
    await goTo(page, `/cameras/feeder/${video.day}/${video.id}`);
    const playing = page.locator('video.viewer-picture');
    await playing.waitFor();
    await expect.poll(() => playing.evaluate((element: HTMLVideoElement) => element.currentTime)).toBeGreaterThan(0.1);
    const save = page.getByRole('link', { name: 'Save the file' });
    expect(await save.getAttribute('download')).toMatch(/^feeder_\d{8}T\d{6}_100_\d{4}\.mp4$/);
    const [download] = await Promise.all([page.waitForEvent('download'), save.click()]);
    expect(download.suggestedFilename()).toBe(`${video.id}.mp4`);
    await download.cancel();
    await page.keyboard.press('Escape');

    const before = daemon.data.media.get('feeder')!.length;
    await page.getByRole('button', { name: 'Select' }).click();
    await page.getByRole('button', { name: 'Photo 100/0415' }).click();
    await page.getByRole('button', { name: 'Photo 100/0414' }).click();
    await page.getByRole('button', { name: 'Delete 2' }).click();
    const dialog = page.getByRole('dialog', { name: 'Delete 2 pictures of feeder?' });
    await dialog.getByRole('radio', { name: /In both places/ }).check();
    expect(await accessibilityFaults(page)).toBe('');
    await screenshot(page, 'delete');
    await dialog.getByRole('button', { name: 'Delete' }).click();
    await dialog.waitFor({ state: 'detached' });
    await page.getByRole('button', { name: 'Photo 100/0415' }).waitFor({ state: 'detached' });
    await page.getByRole('heading', { name: `${before - 2} pictures` }).waitFor();
    expect(daemon.data.media.get('feeder')).toHaveLength(before - 2);
    expect(tab.faults).toEqual([]);
  });

  test('what is only on the card is not deleted there without saying so twice', async () => {
    await using tab = await open();
    const { page, daemon } = tab;
    const [unsaved] = daemon.data.media.get('feeder')!;
    await goTo(page, `/cameras/feeder/${unsaved!.day}/${unsaved!.id}`);
    await page.getByText('still on the camera’s card').waitFor();
    await page.getByRole('button', { name: 'Delete' }).click();
    const dialog = page.getByRole('dialog', { name: /^Delete 1/ });
    const button = dialog.getByRole('button', { name: 'Delete' });
    expect(await button.isDisabled()).toBe(true);
    await dialog.getByRole('checkbox').check();
    expect(await button.isDisabled()).toBe(false);
  });

  test.each(['webcodecs', 'mediasource'] as const)(
    'live view with %s: pictures move, and the delay is shown (B13)',
    async (decoder) => {
      await using tab = await open({ search: `?decoder=${decoder}`, realTime: true });
      const { page } = tab;
      await goTo(page, '/cameras/feeder');
      await page.getByRole('button', { name: 'Live' }).click();
      await page.getByText(decoder === 'webcodecs' ? 'WebCodecs' : 'Media Source').waitFor();
      const sample = () =>
        page.evaluate(
          (selector) => {
            const source = document.querySelector<HTMLCanvasElement | HTMLVideoElement>(selector)!;
            const copy = new OffscreenCanvas(64, 36).getContext('2d')!;
            copy.drawImage(source, 0, 0, 64, 36);
            return [...copy.getImageData(0, 0, 64, 36).data].join();
          },
          `.live-stage ${decoder === 'webcodecs' ? 'canvas' : 'video'}`,
        );
      const first = await sample();
      await expect.poll(sample).not.toBe(first);
      await expect.poll(() => page.locator('.live-figures').textContent()).toMatch(/Delay[\d.]+\sm?sPictures\d+ per s/);
      expect(await accessibilityFaults(page)).toBe('');
      if (decoder === 'webcodecs') await screenshot(page, 'live');
      await page.getByRole('button', { name: 'Stop live' }).click();
      await page.locator('.live-stage').waitFor({ state: 'detached' });
      expect(tab.faults).toEqual([]);
    },
  );

  test('200 peers and 5,000 pictures: only what is seen is drawn, and a jump to the end shows the oldest', async () => {
    await using tab = await open({ peers: 200, pictures: 5_000 });
    const { page, daemon } = tab;
    await page.getByRole('heading', { name: 'Lakeside' }).waitFor();
    expect(await page.locator('.peer-item').count()).toBeLessThan(60);
    const peers = await scrollThrough(page, 90, 60);
    await screenshot(page, 'many-peers');
    await goTo(page, '/cameras/feeder');
    await loaded(page, '.tile img');
    const pictures = await scrollThrough(page, 120, 90);
    expect(await page.locator('.tile').count()).toBeLessThan(120);
    await page.evaluate(() => scrollTo(0, document.body.scrollHeight));
    const oldest = daemon.data.media.get('feeder')!.at(-1)!;
    await page.getByRole('button', { name: oldest.name }).waitFor();
    const asked = daemon.requests.filter((request) => request.endsWith('/media')).length;
    expect(asked).toBeLessThan(daemon.data.days('feeder').length);
    expect(await page.locator('.tile').count()).toBeLessThan(120);
    console.info(
      `Scrolling 200 peers: ${describeFrames(peers)}\nScrolling 5,000 pictures: ${describeFrames(pictures)}`,
    );
    expect(tab.faults).toEqual([]);
  });

  test.each([
    ['200 peers', '/', '.peer-item', 8],
    ['5,000 pictures', '/cameras/feeder', '.tile img', 4],
  ])(
    'scrolling %s: a commit for a row that comes into view, a layout for a frame, no element measured',
    async (_name, route, ready, overscan) => {
      await using tab = await open({ peers: 200, pictures: 5_000 });
      const { page, context } = tab;
      await context.addInitScript(countWork);
      await page.reload();
      await page.getByRole('navigation').waitFor();
      await goTo(page, route);
      await page.locator(ready).first().waitFor();
      // What is looked at for the first time is read from the daemon; afterwards scrolling is all there is to do.
      const [frames, distancePx] = [100, 60];
      await scrollThrough(page, frames, distancePx);
      await page.waitForLoadState('networkidle');
      await page.evaluate(() => scrollTo(0, 0));
      await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve))));
      const session = await context.newCDPSession(page);
      await session.send('Performance.enable');
      const layouts = async (): Promise<number> => {
        const { metrics } = await session.send('Performance.getMetrics');
        return metrics.find(({ name }) => name === 'LayoutCount')!.value;
      };
      const rowPx = await page.evaluate((selector) => {
        const row = document.querySelector(selector)!.closest('.peer-item, .gallery-row')!;
        return row.getBoundingClientRect().height;
      }, ready);
      const before = await layouts();
      await page.evaluate(() => (globalThis as unknown as { work: Work }).work.reset());
      await scrollThrough(page, frames, distancePx);
      const { commits, measured } = await page.evaluate(() => (globalThis as unknown as { work: Work }).work);
      const laidOut = (await layouts()) - before;
      console.info(`${frames} frames: ${commits} commits, ${laidOut} layouts, ${measured} elements measured`);
      // Two for each row, one as it comes and one as another goes; a few as scrolling begins and ends.
      expect(commits).toBeLessThanOrEqual(2 * Math.ceil((frames * distancePx) / rowPx) + overscan);
      expect(laidOut).toBeLessThanOrEqual(1.5 * frames);
      expect(measured).toBe(0);
      expect(tab.faults).toEqual([]);
    },
  );

  test('a page that is open for long does not grow: an hour of events of 25 peers', async () => {
    await using tab = await open({ peers: 25 });
    const { page, daemon } = tab;
    await goTo(page, `/peers/${FAKE_PARTY}/peer-001`);
    await page.locator('.chart canvas').waitFor();
    // 720 readings of each peer are an hour.
    const emitRounds = async (rounds: number, from: number): Promise<void> => {
      for (let round = 0; round < rounds; round++) {
        const atMs = FAKE_NOW + (from + round) * 5_000;
        daemon.emit(
          ...daemon.data.peers.flatMap((peer) => [
            {
              type: 'latency' as const,
              party: FAKE_PARTY,
              peer: peer.id,
              sample: { atMs, rttMs: 20 + (round % 7), kind: 'p2p' as const },
            },
            {
              type: 'peer' as const,
              party: FAKE_PARTY,
              peer: { ...peer, online: round % 2 === 0, receivedBytes: from + round },
            },
          ]),
        );
        if (round % 20 === 0) await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(resolve)));
      }
      // What waits to be drawn counts too: the page has taken everything when it shows what came last.
      await page.getByText(`${from + rounds - 1} B`, { exact: true }).waitFor();
      await expect.poll(() => page.evaluate(() => document.querySelectorAll('.chart canvas').length)).toBe(1);
    };
    await emitRounds(360, 0);
    const half = await memoryOf(page);
    await emitRounds(360, 360);
    const full = await memoryOf(page);
    console.info(`Heap after half an hour and an hour of events: ${half.heapBytes}, ${full.heapBytes} bytes`);
    expect(full.heapBytes / half.heapBytes).toBeLessThan(1.25);
    expect(full.elements / half.elements).toBeLessThan(1.1);
    await goTo(page, '/events');
    await expect.poll(() => page.locator('ol.rows > li').count()).toBe(500);
    expect(tab.faults).toEqual([]);
  });
});

interface Work {
  /** Updates of the page by React. */
  commits: number;
  /** Calls that make the browser lay out the page at once. */
  measured: number;
  reset(): void;
}

/** Runs in the page before it begins: counts what scripts do. */
function countWork(): void {
  const work: Work = {
    commits: 0,
    measured: 0,
    reset: () => {
      work.commits = 0;
      work.measured = 0;
    },
  };
  // The hook that React's developer tools use.
  const hook = {
    supportsFiber: true,
    inject: () => 1,
    onCommitFiberRoot: () => void work.commits++,
    onCommitFiberUnmount: () => {},
    onPostCommitFiberRoot: () => {},
  };
  const { getBoundingClientRect } = Element.prototype;
  Element.prototype.getBoundingClientRect = function measure(this: Element) {
    work.measured++;
    return getBoundingClientRect.call(this);
  };
  Object.assign(globalThis, { work, __REACT_DEVTOOLS_GLOBAL_HOOK__: hook });
}
