import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Browser, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  accessibilityFaults,
  buildPage,
  CHROMIUM,
  CHROMIUM_FLAGS,
  DESKTOP,
  goTo,
  openTab,
  screenshot,
} from './support/dashboard-page.ts';
import { Lab, NAT_KINDS, says } from './support/lab.ts';
import { PartyHost } from './support/party.ts';
import { wireGuardAvailable } from './support/wireguard-lab.ts';

const SERVER = '203.0.113.10';
const CAMERA_PORT = '45611';
// In CI what is missing is a failure, which the test itself then is.
const skip = (CHROMIUM === undefined || !wireGuardAvailable()) && process.env.CI !== 'true';

/** Two members behind NATs and a camera; the page is the one that the daemon of the first member serves. */
describe.skipIf(skip)('the page of a running daemon (C13, B13)', () => {
  let lab: Lab;
  let folder: string;
  let browser: Browser;
  let page: Page;
  let faults: string[];
  let ben: PartyHost;

  beforeAll(async () => {
    buildPage();
    lab = new Lab();
    folder = mkdtempSync(join(tmpdir(), 'towpath-page-'));
    const server = new PartyHost('server', lab.host('server', SERVER), folder);
    await says(
      server.start('serve', '--open', '--address', SERVER, '--allow-peer', '203.0.113.0/24'),
      /serving/,
      60_000,
    );
    const member = (name: string, outside: string) => {
      const host = lab.nat(`n${name}`, outside, NAT_KINDS['port-restricted'], [SERVER]).host(name);
      const hosts = join(folder, `hosts-${name}`);
      writeFileSync(hosts, '127.0.0.1\tlocalhost\n');
      return { host, party: new PartyHost(name, host, folder, { TOWPATH_HOSTS: hosts }) };
    };
    const [ann, other] = [member('ann', '203.0.113.21'), member('ben', '203.0.113.22')];
    ben = other.party;
    await ann.party.told('party', 'create', 'camp', '--server', SERVER, '--as', 'ann');
    const { code } = await ann.party.told<{ code: string }>('party', 'invite', '--uses', '2');
    await ben.told('party', 'join', code, '--server', SERVER, '--as', 'ben');
    const camera = ann.party.start('camera', 'emulate', '--port', CAMERA_PORT, '--search-port', '0', '--items', '12');
    await says(camera, new RegExp(CAMERA_PORT), 60_000);
    const camp = ['--ports', CAMERA_PORT, '--search-port', '45109'];
    await ann.party.told('camera', 'add', 'feeder', '127.0.0.1', ...camp);
    await Promise.all(
      [ann.party, ben].map((party) => says(party.start('up', '--api-port', '4180'), / is up: /, 60_000)),
    );
    const { stdout: link } = await ann.party.run('dashboard');

    // The browser runs on the host of the daemon, which serves the page on loopback only.
    const wrapper = join(folder, 'chromium');
    writeFileSync(wrapper, `#!/bin/sh\nexec ip netns exec ${ann.host.namespace} ${CHROMIUM} "$@"\n`);
    chmodSync(wrapper, 0o755);
    browser = await chromium.launch({ executablePath: wrapper, args: CHROMIUM_FLAGS, timeout: 60_000 });
    const tab = await openTab(browser, DESKTOP, new URL(link.trim()).origin, { realTime: true });
    ({ page, faults } = tab);
    tab.context.setDefaultTimeout(60_000);
    await page.goto(link.trim());
  }, 240_000);

  afterAll(async () => {
    await browser?.close();
    await lab?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  test('the party, why a peer is reached as it is, and its race', async () => {
    await page.getByRole('heading', { name: 'camp' }).waitFor();
    expect(page.url()).not.toContain('token');
    await page.getByRole('link', { name: /ben Direct.* ms/ }).waitFor();
    await screenshot(page, 'real-party');
    await page.getByRole('link', { name: /^ben/ }).click();
    await page.getByRole('heading', { name: 'ben', exact: true }).waitFor();
    await page.getByRole('region', { name: 'Why: Direct' }).waitFor();
    await page.locator('.waterfall-won').first().waitFor();
    await page.getByRole('button', { name: 'Ping' }).click();
    await page.getByRole('button', { name: / ms$/ }).waitFor();
    expect(await accessibilityFaults(page)).toBe('');
    await screenshot(page, 'real-peer', true);
  });

  test('a peer that leaves is shown at once, with the reason', async () => {
    await goTo(page, '/');
    await ben.run('down');
    await page.getByRole('link', { name: /ben (Offline|Not reached)/ }).waitFor();
    await goTo(page, '/events');
    await page.getByRole('listitem').filter({ hasText: 'ben' }).first().waitFor();
  });

  test('an invite, the relays and the network of the daemon', async () => {
    await goTo(page, '/invite');
    await page.getByRole('button', { name: 'Create invite' }).click();
    await page.getByText(/towpath party join /).waitFor();
    await goTo(page, '/relays');
    await page.getByRole('heading', { name: 'Relays' }).waitFor();
    await page.getByRole('meter').first().waitFor();
    await goTo(page, '/network');
    await page.getByRole('button', { name: 'Measure again' }).click();
    await page.getByRole('heading', { name: 'Peers behind' }).waitFor();
    await screenshot(page, 'real-network', true);
  });

  test('the camera: pictures, one in full, live, and deleting', async () => {
    await goTo(page, '/cameras/feeder');
    await page.getByRole('heading', { name: /^12 pictures$/ }).waitFor();
    await page.getByText('on card').first().waitFor({ state: 'detached' });
    await page.locator('.tile').first().click();
    await page.locator('.viewer-full[data-state=shown]').waitFor();
    await page.keyboard.press('Escape');

    await page.getByRole('button', { name: 'Live' }).click();
    await page
      .locator('.live-figures')
      .getByText(/\d per s/)
      .waitFor();
    await screenshot(page, 'real-live');
    await page.getByRole('button', { name: 'Stop live' }).click();

    await page.getByRole('button', { name: 'Select' }).click();
    await page.locator('.tile').first().click();
    await page.getByRole('button', { name: 'Delete 1' }).click();
    const dialog = page.getByRole('dialog', { name: 'Delete 1' });
    await dialog.getByRole('radio', { name: /In both places/ }).check();
    await dialog.getByRole('button', { name: 'Delete' }).click();
    await page.getByRole('heading', { name: /^11 pictures$/ }).waitFor();
    expect(faults).toEqual([]);
  });
});
