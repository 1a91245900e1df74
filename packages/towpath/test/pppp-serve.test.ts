import { chmodSync, writeFileSync } from 'node:fs';
import { NodeNetwork } from '@towpath/net';
import { decodeMessage, encodeMessage, type Message } from '@towpath/pppp';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Desk } from './command-line.ts';

/** Commands load their code when they run, which takes its time on a busy machine. */
const TIMEOUT_MS = 20_000;

describe('pppp serve', { timeout: TIMEOUT_MS }, () => {
  let desk: Desk;

  beforeEach(() => {
    desk = new Desk();
  });

  afterEach(() => desk[Symbol.dispose]());

  const serve = (...more: string[]) =>
    desk.start(['pppp', 'serve', '--ports', '0', '--relay-port', '0', '--json', ...more]);

  test('runs a rendezvous that answers, a relay, and a page of metrics for Prometheus (A7, A10)', async () => {
    const running = serve('--metrics-port', '0');
    const [rendezvous] = await running.listening('rendezvous');
    expect((await running.listening('relay')).length).toBe(1);
    const [metrics] = await running.listening('metrics');
    expect(await hello(rendezvous?.port ?? 0)).toMatchObject({ type: 'HELLO_ACK' });
    const page = await (await fetch(`http://127.0.0.1:${metrics?.port}/metrics`)).text();
    expect(page).toMatch(/^towpath_rendezvous_hellos [1-9]/m);
    expect(page).toMatch(/^towpath_relay_sessions 0/m);
    expect((await fetch(`http://127.0.0.1:${metrics?.port}/`)).status).toBe(404);
    expect(await running.stop()).toBe(130);
    expect(running.err).toEqual([]);
  });

  test('ends by itself when its time is up', async () => {
    expect(await serve('--no-relay', '--for', '0.1').code).toBe(0);
  });

  test.each([
    [['--address', '0.0.0.0'], 2, '--public-address'],
    [['--secrets', '/does/not/exist'], 5, 'cannot be read'],
  ])('says what is wrong with %j', async (args, code, text) => {
    const outcome = await desk.run(['pppp', 'serve', ...args, '--for', '1']);
    expect([outcome.code, outcome.err]).toEqual([code, expect.stringContaining(text)]);
  });

  test('refuses a file of secrets that others can read, and never repeats its content', async () => {
    const file = desk.file('secrets.json');
    writeFileSync(file, '{"TEST-000001-BCDEF": "hush"', { mode: 0o600 });
    const broken = await desk.run(['pppp', 'serve', '--secrets', file, '--for', '1']);
    expect([broken.code, broken.err]).toEqual([2, expect.stringContaining('is not JSON')]);
    expect(broken.err).not.toContain('hush');
    chmodSync(file, 0o644);
    const open = await desk.run(['pppp', 'serve', '--secrets', file, '--for', '1']);
    expect([open.code, open.err]).toEqual([2, expect.stringContaining('chmod 600')]);
  });
});

/** What the rendezvous answers to a HELLO within 5 s; undefined when it does not. */
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
  const timer = setTimeout(() => resolve(undefined), 5_000);
  const answer = await promise;
  clearTimeout(timer);
  return answer;
}
