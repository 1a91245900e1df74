import { chmodSync, writeFileSync } from 'node:fs';
import { NodeNetwork } from '@towpath/net';
import { connectByRelay } from '@towpath/pppp';
import { decodeMessage, encodeMessage, type Message } from '@towpath/pppp/codec';
import { DeviceRegistration, PpppDevice } from '@towpath/pppp/device';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { components, CommandLine } from './command-line.ts';

const OFTEN = { interval: 20 };
const TIMEOUT_MS = 60_000;

describe('pppp serve', { timeout: TIMEOUT_MS }, () => {
  let commandLine: CommandLine;

  beforeEach(() => {
    commandLine = new CommandLine();
  });

  afterEach(() => commandLine[Symbol.dispose]());

  const serve = (...more: string[]) =>
    commandLine.start(['pppp', 'serve', '--ports', '0', '--relay-port', '0', '--json', ...more]);

  test('runs a rendezvous that answers, a relay, and a page of metrics for Prometheus (A7, A10)', async () => {
    const running = serve('--metrics-port', '0');
    const [rendezvous] = await running.listening('rendezvous');
    expect((await running.listening('relay')).length).toBe(1);
    const [metrics] = await running.listening('metrics');
    expect(await hello(rendezvous?.port ?? 0)).toMatchObject({ type: 'HELLO_ACK' });
    const page = await (await fetch(`http://127.0.0.1:${metrics?.port}/metrics`)).text();
    expect(page).toMatch(/^towpath_rendezvous_hellos_total [1-9]/m);
    expect(page).toMatch(/^towpath_relay_sessions 0/m);
    expect(page).toContain('# TYPE towpath_relay_sessions gauge');
    expect(page).toContain('# TYPE towpath_rendezvous_hellos_total counter');
    expect((await fetch(`http://127.0.0.1:${metrics?.port}/`)).status).toBe(404);
    expect(await running.stop()).toBe(130);
    expect(running.err).toEqual([]);
  });

  test('prints which devices come and go, who asks for them and what is relayed (A8)', async () => {
    const running = serve();
    const [rendezvous] = await running.listening('rendezvous');
    const { network, clock, random } = components;
    const servers = [rendezvous!];
    const uid = 'TEST-000001-BCDEF';
    await using device = await PpppDevice.open(
      { network, clock },
      {
        uid,
        address: '127.0.0.1',
        searchPort: false,
        onSession: (session) => session.attach({ onData: () => {} }),
      },
    );
    await using registration = new DeviceRegistration({ device, network, clock, random }, { servers });
    const printed = (type: string) => running.out.map((line) => JSON.parse(line)).find((line) => line.type === type);
    await expect.poll(() => printed('online'), OFTEN).toMatchObject({ uid, endpoint: device.listen, over: 'udp' });
    expect(registration.status[0]?.server).toEqual(rendezvous);
    const session = await connectByRelay({
      network,
      clock,
      random,
      servers,
      uid,
      transport: 'udp',
      timeoutMs: TIMEOUT_MS,
    });
    await session.close();
    await expect.poll(() => printed('client'), OFTEN).toMatchObject({ uid, pathKind: 'relay', result: 0 });
    expect(printed('relayed')).toMatchObject({ uid, device: { address: '127.0.0.1' } });
    await expect.poll(() => printed('ended'), OFTEN).toMatchObject({ uid, bytes: expect.any(Number) });
    await running.stop();
  });

  test('ends by itself when its time is up', async () => {
    expect(await serve('--no-relay', '--for', '0.1').code).toBe(0);
  });

  test.each([
    [['--address', '0.0.0.0'], 2, '--public-address'],
    [['--secrets', '/does/not/exist'], 5, 'does not exist. Next: check the path'],
    [['--clients-need-secret'], 2, '--secrets FILE'],
  ])('says what is wrong with %j', async (args, code, text) => {
    const outcome = await commandLine.run(['pppp', 'serve', ...args, '--for', '1']);
    expect([outcome.code, outcome.err]).toEqual([code, expect.stringContaining(text)]);
  });

  test('refuses a file of secrets that others can read, and never repeats its content', async () => {
    const file = commandLine.file('secrets.json');
    writeFileSync(file, '{"TEST-000001-BCDEF": "hush"', { mode: 0o600 });
    const broken = await commandLine.run(['pppp', 'serve', '--secrets', file, '--for', '1']);
    expect([broken.code, broken.err]).toEqual([2, expect.stringContaining('is not JSON')]);
    expect(broken.err).not.toContain('hush');
    chmodSync(file, 0o644);
    const open = await commandLine.run(['pppp', 'serve', '--secrets', file, '--for', '1']);
    expect([open.code, open.err]).toEqual([2, expect.stringContaining('chmod 600')]);
  });
});

/** What the rendezvous answers to a HELLO. */
async function hello(port: number): Promise<Message> {
  const { promise, resolve } = Promise.withResolvers<Message>();
  await using socket = await new NodeNetwork().bindUdp({
    address: '127.0.0.1',
    onMessage: (data) => {
      const message = decodeMessage(data);
      if (message.type !== 'unknown' && message.type !== 'malformed') resolve(message);
    },
  });
  socket.send(encodeMessage({ type: 'HELLO' }), { address: '127.0.0.1', port });
  return await promise;
}
