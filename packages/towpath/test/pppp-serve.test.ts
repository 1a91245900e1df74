import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NodeNetwork } from '@towpath/net';
import { decodeMessage, encodeMessage, type Message } from '@towpath/pppp';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Desk, desk, freePort } from './support.ts';

interface Announcement {
  what: string;
  endpoints: { address: string; port: number }[];
}

describe('pppp serve', () => {
  let at: Desk;
  let folder: string;

  beforeEach(async () => {
    at = await desk();
    folder = mkdtempSync(join(tmpdir(), 'towpath-serve-'));
  });

  afterEach(async () => {
    await at.close();
    rmSync(folder, { recursive: true, force: true });
  });

  test('runs a rendezvous that answers, a relay, and a page of metrics that counts (A7, A10)', async () => {
    const port = await freePort();
    const running = at.towpath(
      'pppp',
      'serve',
      '--ports',
      String(port),
      '--relay-port',
      '0',
      '--metrics-port',
      '0',
      '--for',
      '1',
      '--json',
    );
    await expect.poll(() => hello(port), { interval: 20, timeout: 1_000 }).toMatchObject({ type: 'HELLO_ACK' });
    const { code, out } = await running;
    const announced = out.map((line) => JSON.parse(line) as Announcement);
    expect(announced.map(({ what }) => what)).toEqual(['rendezvous', 'relay', 'metrics']);
    expect(announced[0]?.endpoints).toEqual([{ address: '127.0.0.1', port }]);
    expect(code).toBe(0);
  });

  test('the metrics page is for Prometheus', async () => {
    const port = await freePort();
    const metricsPort = await freePort();
    const running = at.towpath(
      'pppp',
      'serve',
      '--ports',
      String(port),
      '--relay-port',
      '0',
      '--metrics-port',
      String(metricsPort),
      '--for',
      '1',
    );
    await expect.poll(() => hello(port), { interval: 20, timeout: 1_000 }).toBeDefined();
    const page = await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text();
    expect(page).toMatch(/^towpath_rendezvous_hellos [1-9]/m);
    expect(page).toMatch(/^towpath_relay_sessions 0/m);
    expect((await fetch(`http://127.0.0.1:${metricsPort}/`)).status).toBe(404);
    await running;
  });

  test.each([
    [['--address', '0.0.0.0'], 2, '--public-address'],
    [['--secrets', '/does/not/exist'], 5, 'cannot be read'],
  ])('says what is wrong with %j', async (args, code, text) => {
    const outcome = await at.towpath('pppp', 'serve', ...args, '--for', '1');
    expect(outcome.code).toBe(code);
    expect(outcome.err.join()).toContain(text);
  });

  test('refuses a file of secrets that others can read, and never repeats its content', async () => {
    const file = join(folder, 'secrets.json');
    writeFileSync(file, '{"TEST-000001-BCDEF": "hush"', { mode: 0o600 });
    const broken = await at.towpath('pppp', 'serve', '--secrets', file, '--for', '1');
    expect([broken.code, broken.err.join()]).toEqual([2, expect.stringContaining('is not JSON')]);
    expect(broken.err.join()).not.toContain('hush');
    chmodSync(file, 0o644);
    const open = await at.towpath('pppp', 'serve', '--secrets', file, '--for', '1');
    expect([open.code, open.err.join()]).toEqual([2, expect.stringContaining('chmod 600')]);
  });
});

/** What the rendezvous answers to a HELLO within 100 ms; undefined when it does not. */
async function hello(port: number): Promise<Message | undefined> {
  const { promise, resolve } = Promise.withResolvers<Message | undefined>();
  await using socket = await new NodeNetwork().bindUdp({
    address: '127.0.0.1',
    onMessage: (data) => {
      const message = decodeMessage(data);
      if (message.type !== 'unknown' && message.type !== 'malformed') resolve(message);
    },
  });
  socket.send(encodeMessage({ type: 'HELLO' }), { address: '127.0.0.1', port });
  const timer = setTimeout(() => resolve(undefined), 100);
  const answer = await promise;
  clearTimeout(timer);
  return answer;
}
