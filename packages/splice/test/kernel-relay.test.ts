import { SeededRandom } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { KernelRelay, type RelaySession } from '../src/kernel-relay.ts';
import { probeKernel } from '../src/probe-kernel.ts';
import { devicesOf } from '../src/routes.ts';
import { FakeKernel } from '../src/testing/fake-kernel.ts';

const RELAY = '203.0.113.10';
const OPTIONS = { form: 'netdev', addresses: [RELAY] } as const;

describe('KernelRelay', () => {
  let system: FakeKernel;
  let clock: VirtualClock;
  let relay: KernelRelay;

  beforeEach(async () => {
    system = FakeKernel.host([RELAY], { unreachable: ['198.51.100.99'] });
    clock = new VirtualClock();
    relay = await KernelRelay.open({ system, clock, random: new SeededRandom(1) }, OPTIONS);
  });

  afterEach(() => {
    relay.dispose();
    expect(clock.pendingTimers).toBe(0);
    expect(system.tables.size).toBe(0);
  });

  test('a session is complete in the maps, counted without headers, and gone after its end', async () => {
    await relay.open('one', session(1));
    expect(await relay.list()).toEqual({ complete: ['one'], incomplete: [], unexpected: [] });
    expect(system.elements('netdev', 'sessions4')).toEqual(
      new Map([
        ['198.51.100.1 . 5001 . 203.0.113.10 . 7001', '2'],
        ['192.0.2.1 . 5001 . 203.0.113.10 . 7002', '3'],
      ]),
    );
    const { a, b } = session(1);
    expect(system.forward({ from: a.remote, to: a.local, bytes: 100 })).toEqual({ from: b.local, to: b.remote });
    const closing = relay.close('one');
    expect(await clock.runUntil(closing)).toMatchObject({ packetsFromA: 1, bytesFromA: 100, packetsFromB: 0 });
    expect(system.forward({ from: a.remote, to: a.local, bytes: 100 })).toBeUndefined();
    expect(await relay.list()).toEqual({ complete: [], incomplete: [], unexpected: [] });
  });

  test.each([
    [{ a: { remote: { address: '::1', port: 1 }, local: { address: RELAY, port: 1 } } }, 'invalid-value'],
    [{ a: { remote: { address: '198.51.100.99', port: 1 }, local: { address: RELAY, port: 1 } } }, 'no-route'],
    [{ account: 'unknown' }, 'invalid-value'],
  ])('refuses %o and keeps nothing of it', async (wrong, code) => {
    await expect(relay.open('one', { ...session(1), ...wrong })).rejects.toMatchObject({ code });
    expect(relay.size).toBe(0);
    expect(system.elements('netdev', 'sessions4').size).toBe(0);
  });

  test('a session is a member of its account, also when the account changes', async () => {
    await relay.setAccount('alice', { bytesPerSecond: 1_000_000, quotaBytes: 5_000_000 });
    await relay.open('one', { ...session(1), account: 'alice' });
    expect(system.elements('netdev', 'limits')).toEqual(
      new Map([
        ['2', '"l1"'],
        ['3', '"l1"'],
      ]),
    );
    await relay.setAccount('alice', { bytesPerSecond: 2_000_000 });
    expect(system.elements('netdev', 'limits')).toEqual(
      new Map([
        ['2', '"l2"'],
        ['3', '"l2"'],
      ]),
    );
    expect(new Set(system.elements('netdev', 'quotas').values())).toEqual(new Set(['"q2"']));
    expect(system.lines.some((line) => line.startsWith('delete limit netdev') && line.includes(' l1'))).toBe(true);
  });

  test('random openings, ends and failures of nft leave exactly what is open', async () => {
    const random = new SeededRandom(7);
    const open = new Set<string>();
    const ending = new Set<string>();
    const running: Promise<unknown>[] = [];
    for (let step = 0; step < 2_000; step++) {
      const at = random.integer(0, 200);
      const id = `s${at}`;
      if (open.has(id)) {
        open.delete(id);
        ending.add(id);
        // What ends while nft fails has no counters; that it ends all the same is checked below.
        const done = () => ending.delete(id);
        running.push(relay.close(id).then(done, done));
      } else if (!ending.has(id)) {
        open.add(id);
        // One that is closed before it is open is told so.
        running.push(relay.open(id, session(at)).catch(({ code }) => expect(code).toBe('closed')));
      }
      if (random.next() < 0.02) system.children.at(-1)!.end('SIGKILL');
      if (random.next() < 0.1) await clock.advance(random.integer(0, 50));
    }
    await clock.advance(60_000);
    await Promise.all(running);
    const { complete, incomplete, unexpected } = await relay.list();
    expect([complete.sort(), incomplete, unexpected]).toEqual([[...open].sort(), [], []]);
  });
});

describe('probeKernel', () => {
  test.each([
    [{ reason: 'exit code 127', missing: true }, /nft is not installed/],
    [{ reason: 'exit code 1', missing: false, output: 'netlink: Operation not permitted\n' }, /CAP_NET_ADMIN/],
  ])('says why not: %o', async (failure, expected) => {
    const system = FakeKernel.host([RELAY]);
    system.startFailure = failure;
    const components = { system, clock: new VirtualClock(), random: new SeededRandom(1) };
    expect(await probeKernel(components, [RELAY])).toEqual({ usable: false, reason: expect.stringMatching(expected) });
  });

  test('falls back to routing when ingress is not supported, unless the host does not forward', async () => {
    const system = FakeKernel.host([RELAY]);
    system.reject = (command) => (command.includes('netdev') ? 'Error: Operation not supported' : undefined);
    const components = { system, clock: new VirtualClock(), random: new SeededRandom(1) };
    expect(await probeKernel(components, [RELAY])).toEqual({
      usable: false,
      reason: expect.stringContaining('net.ipv4.ip_forward=1'),
    });
    system.files.set('/proc/sys/net/ipv4/ip_forward', '1\n');
    expect(await probeKernel(components, [RELAY])).toMatchObject({ usable: true, form: 'inet' });
    expect(system.tables.size).toBe(0);
  });
});

function session(at: number): RelaySession {
  const port = 5_000 + at;
  return {
    a: { remote: { address: '198.51.100.1', port }, local: { address: RELAY, port: 7_001 } },
    b: { remote: { address: '192.0.2.1', port }, local: { address: RELAY, port: 7_002 } },
  };
}

describe('the devices of a relay', () => {
  const run = (outcome: { code: number | undefined; stdout: string; stderr: string }) =>
    devicesOf(Object.assign(FakeKernel.host([RELAY]), { run: async () => outcome }), [RELAY]);

  test('are not known without the program ip, which is said with what to install', async () => {
    const missing = run({ code: undefined, stdout: '', stderr: 'spawn ip ENOENT' });
    await expect(missing).rejects.toMatchObject({
      code: 'no-route',
      message: 'The program ip is not installed. Next: install the packages iproute2 and nftables.',
    });
    await expect(run({ code: 1, stdout: '', stderr: 'denied' })).rejects.toMatchObject({
      message: 'ip addr cannot be run: denied',
    });
  });
});
