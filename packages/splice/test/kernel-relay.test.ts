import { SeededRandom } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { KernelRelay, type RelaySession } from '../src/kernel-relay.ts';
import { probeKernel } from '../src/probe-kernel.ts';
import { RouteProcess } from '../src/route-process.ts';
import { devicesOf, RouteCache, routeKey } from '../src/routes.ts';
import type { SpliceError } from '../src/splice-error.ts';
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
        // An alias of the source, the destination, an alias of its port, and the destination's port.
        ['198.51.100.1 . 5001 . 203.0.113.10 . 7001', '0x0002a43cc00002011b591389'],
        ['192.0.2.1 . 5001 . 203.0.113.10 . 7002', '0x0003d3d4c63364011b5a1389'],
      ]),
    );
    const { a, b } = session(1);
    expect(system.forward({ from: a.remote, to: a.local, bytes: 100 })).toEqual({ from: b.local, to: b.remote });
    const closing = relay.close('one');
    expect(await clock.runUntil(closing)).toMatchObject({ packetsFromA: 1, bytesFromA: 100, packetsFromB: 0 });
    expect(system.forward({ from: a.remote, to: a.local, bytes: 100 })).toBeUndefined();
    expect(await relay.list()).toEqual({ complete: [], incomplete: [], unexpected: [] });
  });

  test('an end at 0.0.0.0 gets the address that the host sends to it from', async () => {
    const { a, b } = session(1);
    const open = { remote: a.remote, local: { address: '0.0.0.0', port: a.local.port } };
    expect(await relay.located({ a: open, b })).toEqual({ a, b });
    const unreachable = { ...open, remote: { address: '198.51.100.99', port: 1 } };
    await expect(relay.located({ a, b: unreachable })).rejects.toMatchObject({ code: 'no-route' });
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
    expect([...system.elements('netdev', 'limits4').values()]).toEqual(['"l1"', '"l1"']);
    const keys = [...system.elements('netdev', 'limits4').keys()];
    await relay.setAccount('alice', { bytesPerSecond: 2_000_000, quotaBytes: 5_000_000 });
    expect(system.elements('netdev', 'limits4')).toEqual(new Map(keys.map((key) => [key, '"l2"'])));
    expect(new Set(system.elements('netdev', 'quotas4').values())).toEqual(new Set(['"q2"']));
    expect(system.lines.some((line) => line.startsWith('delete limit netdev') && line.includes(' l1'))).toBe(true);
  });

  test('a device that appears or goes is followed; counters, quota and usage go on with the new tables', async () => {
    const hooked = () => {
      const chains = system.lines.filter((line) => line.includes(' hook ingress '));
      return /devices = \{ ([^}]*) \}/.exec(chains.at(-1)!)?.[1];
    };
    await relay.setAccount('alice', { quotaBytes: 100_000 });
    await relay.open('one', { ...session(1), account: 'alice' });
    const { a, b } = session(1);
    const pass = (count: number) =>
      Array.from({ length: count }, () => system.forward({ from: a.remote, to: a.local, bytes: 972 }));
    expect(pass(60).every((each) => typeof each === 'object')).toBe(true);
    system.devices.push({ name: 'eth1', addresses: ['198.51.100.7', 'fe80::7'] });
    system.devices.push({ name: 'veth2', addresses: ['fe80::8'] });
    await clock.advance(11_000);
    expect(hooked()).toBe('"eth0", "eth1"');
    const left = pass(60).filter((each) => each !== 'dropped');
    expect(left).toEqual(Array.from({ length: 40 }, () => ({ from: b.local, to: b.remote })));
    system.devices.splice(1, 1);
    await clock.advance(11_000);
    expect(hooked()).toBe('"eth0"');
    expect(await clock.runUntil(relay.usage())).toMatchObject({ bytes: new Map([['alice', 100_000]]) });
    const counted = await clock.runUntil(relay.close('one'));
    expect(counted).toEqual({ packetsFromA: 100, bytesFromA: 97_200, packetsFromB: 0, bytesFromB: 0 });
    expect(system.tables.size).toBe(1);
  });

  test('what is left of ended sessions goes soon, and with other changes if there are some', async () => {
    await relay.open('one', session(1));
    await relay.open('two', session(2));
    const closing = relay.close('one');
    await clock.advance(10);
    expect(system.elements('netdev', 'sessions4').size).toBe(2);
    expect(system.elements('netdev', 'egress').size).toBe(4);
    await relay.open('three', session(3));
    await clock.advance(0);
    expect(system.elements('netdev', 'egress').size).toBe(4);
    await closing;
    const last = relay.close('two');
    await clock.advance(2_000);
    await last;
    expect(await relay.list()).toEqual({ complete: ['three'], incomplete: [], unexpected: [] });
  });

  test('what is watched and read does not make nft read every map', async () => {
    await relay.setAccount('alice', { bytesPerSecond: 1_000_000 });
    for (let at = 1; at <= 3; at++) await relay.open(`s${at}`, { ...session(at), account: 'alice' });
    system.lines.length = 0;
    await clock.advance(1_000);
    await clock.runUntil(relay.usage());
    const commands = system.lines.filter((line) => /^(list|reset|get) /.test(line));
    const kinds = new Set(commands.map((line) => line.replace(/ netdev .*/, '')));
    // Listing one chain, or quotas or counters by name, makes nft 1.0 read all elements first.
    expect(kinds).toEqual(new Set(['list chains netdev', 'list map', 'reset counters table']));
    expect(commands.filter((line) => line.startsWith('list map'))).toHaveLength(3);
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

test('a known route is used at once while it is looked up again; one that is gone is asked for again', async () => {
  const system = FakeKernel.host([RELAY]);
  const clock = new VirtualClock();
  using ip = new RouteProcess({ system, clock });
  const cache = new RouteCache(clock, ip);
  const query = { to: '198.51.100.1', from: RELAY };
  const first = await cache.get([query]);
  expect(first.get(routeKey(query))).toMatchObject({ device: 'eth0' });
  await clock.advance(6_000);
  const looked = Promise.withResolvers<void>();
  let asked = 0;
  const run = ip.run.bind(ip);
  ip.run = async (lines) => {
    asked++;
    await looked.promise;
    return run(lines);
  };
  expect(await cache.get([query])).toEqual(first);
  expect(await cache.get([query])).toEqual(first);
  system.respond = () => ({ code: 1, stdout: '', stderr: '' });
  looked.resolve();
  await clock.advance(0);
  expect((await cache.get([query])).size).toBe(0);
  expect(asked).toBeGreaterThan(1);
});

describe('the devices of a relay', () => {
  test.each([
    ['of two uplinks both', [RELAY], { eth0: [RELAY], eth1: ['198.51.100.7'] }, ['eth0', 'eth1']],
    ['those of an address of loopback', [RELAY], { lo: ['127.0.0.1', RELAY], eth1: ['198.51.100.7'] }, ['eth1']],
    [
      'without what has only a link-local address',
      [RELAY],
      { eth0: [RELAY], eth1: ['fe80::1'], eth2: ['169.254.1.1'] },
      ['eth0'],
    ],
    ['of all addresses all', ['0.0.0.0'], { lo: ['127.0.0.1'], eth0: [RELAY] }, ['eth0']],
    ['none for another address', ['203.0.113.99'], { eth0: [RELAY] }, 'no-route'],
    ['none for loopback', ['127.0.0.1'], { lo: ['127.0.0.1'], eth0: [RELAY] }, 'no-route'],
  ])('are %s', async (_what, addresses, held, expected) => {
    const system = FakeKernel.host([]);
    system.devices = Object.entries(held).map(([name, each]) => ({ name, addresses: each }));
    const found = await devicesOf(system, addresses).catch((error: SpliceError) => error);
    expect(Array.isArray(found) ? found.map(({ name }) => name) : found.code).toEqual(expected);
  });

  test('are at most as many as a chain takes, among them the one that holds the address', async () => {
    const system = FakeKernel.host([]);
    system.devices = Array.from({ length: 300 }, (_, at) => ({ name: `br${at}`, addresses: [`10.0.${at % 256}.1`] }));
    system.devices.push({ name: 'eth0', addresses: [RELAY] });
    const found = await devicesOf(system, [RELAY]);
    expect([found.length, found[0]?.name]).toEqual([256, 'eth0']);
  });

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
