import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BrowserContext, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Lab, type LabHost, labAvailable, says } from './support/lab.ts';

const CHROMIUM = process.env.CHROMIUM ?? 'chromium';
const browserMissing = spawnSync(CHROMIUM, ['--version'], { stdio: 'ignore' }).error !== undefined;
// In CI what is missing is a failure, which the tests themselves then are.
const skip = (browserMissing || !labAvailable()) && process.env.CI !== 'true';
const why = browserMissing ? 'Chromium missing' : 'root, ip or nft missing';
const title = skip ? `a browser behind our relay (skipped: ${why})` : 'a browser behind our relay';

/** Two relays for each data plane. */
const RELAYS = { user: ['203.0.113.50', '203.0.113.51'], kernel: ['203.0.113.52', '203.0.113.53'] } as const;
const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** Connects two peer connections of the page over the relay alone; resolves with the relayed addresses. */
const connectPair = (page: Page, relay: string, name: string, transport: 'udp' | 'tcp'): Promise<string[]> =>
  page.evaluate(`connectPair('${name}', 'turn:${relay}:3478?transport=${transport}')`);

/** Sends over the channel of a pair; resolves with the answer. */
const echo = (page: Page, name: string, text: string): Promise<string> => page.evaluate(`echo('${name}', '${text}')`);

describe.skipIf(skip)(title, () => {
  let lab: Lab;
  let folder: string;
  let context: BrowserContext;
  let page: Page;

  beforeAll(async () => {
    lab = new Lab();
    folder = mkdtempSync(join(tmpdir(), 'towpath-browser-'));
    const client = lab.host('browser', '203.0.113.70');
    // Browsers use the address of the default route, where a page may not use the camera.
    execFileSync('ip', ['-n', client.namespace, 'route', 'add', 'default', 'dev', 'eth0']);
    // The browser runs in the namespace of its host.
    const wrapper = join(folder, 'chromium');
    writeFileSync(wrapper, `#!/bin/sh\nexec ip netns exec ${client.namespace} ${CHROMIUM} "$@"\n`);
    chmodSync(wrapper, 0o755);
    context = await chromium.launchPersistentContext(join(folder, 'profile'), {
      executablePath: wrapper,
      args: FLAGS,
      timeout: 60_000,
    });
    page = await context.newPage();
    await page.addScriptTag({ path: join(import.meta.dirname, 'support/rtc-page.js'), type: 'module' });
  });

  afterAll(async () => {
    await context?.close();
    await lab?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const relay = async (plane: string, address: string, alternate: string) => {
    const host: LabHost = lab.host(`r${address.split('.')[3]}`, address);
    const args = ['test/system/support/draining-relay.ts', address, '3478', alternate, plane];
    const child = host.spawn(process.execPath, args);
    await says(child, 'ready');
    return child;
  };

  test.each(['user', 'kernel'] as const)(
    'goes on over a relay that drains, and new connections use the other one, data plane %s (F)',
    async (plane) => {
      const [one, two] = RELAYS[plane];
      const first = await relay(plane, one, two);
      await relay(plane, two, one);
      expect(new Set(await connectPair(page, one, `old ${plane}`, 'udp'))).toEqual(new Set([one]));
      expect(await echo(page, `old ${plane}`, 'one')).toBe('echo one');
      first.kill('SIGUSR2');
      await says(first, 'draining');
      for (const transport of ['udp', 'tcp'] as const) {
        const name = `${transport} ${plane}`;
        expect(new Set(await connectPair(page, one, name, transport))).toEqual(new Set([two]));
        expect(await echo(page, name, transport)).toBe(`echo ${transport}`);
      }
      expect(await echo(page, `old ${plane}`, 'two')).toBe('echo two');
    },
  );
});
