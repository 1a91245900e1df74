import { SeededRandom } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { HostSplice } from '../src/host-splice.ts';
import { FakeKernel } from '../src/testing/fake-kernel.ts';

const PEER = { address: '198.51.100.7', port: 40_001, pathPort: 40_000 };
const PEER6 = { address: '2001:DB8:0::7', port: 40_001, pathPort: 40_000 };

describe('HostSplice', () => {
  let system: FakeKernel;
  let clock: VirtualClock;
  let splice: HostSplice;
  let replaced: string[];

  beforeEach(async () => {
    system = new FakeKernel();
    system.initial = { packets: 7, bytes: 700 };
    clock = new VirtualClock();
    replaced = [];
    splice = await HostSplice.open({ system, clock, random: new SeededRandom(1) }, { wireguardPort: 51_820 });
    splice.events.on('replaced', ({ reason }) => replaced.push(reason));
  });

  afterEach(() => {
    splice.close();
    expect(clock.pendingTimers).toBe(0);
    expect(system.tables.size).toBe(0);
  });

  test('moves a peer in the order of its steps, both families (C9)', async () => {
    for (const peer of [PEER, PEER6]) {
      await splice.addOut(peer);
      expect(splice.state(peer)).toEqual({ in: false, out: true });
      expect(await splice.counters(peer)).toMatchObject({ inPackets: 0, outPackets: 7, outBytes: 700 });
      await splice.addIn(peer);
      await splice.addIn(peer);
      expect(splice.state(peer)).toEqual({ in: true, out: true });
    }
    expect(system.elements('ip', 'out_peers')).toEqual(new Map([['198.51.100.7 . 40001', '40000']]));
    expect(system.elements('ip6', 'in_peers')).toEqual(new Map([['2001:db8::7 . 40001 . 40000', undefined]]));
    for (const peer of [PEER, PEER6]) {
      await splice.removeIn(peer);
      await splice.removeOut(peer);
      await splice.removeOut(peer);
      expect(splice.state(peer)).toEqual({ in: false, out: false });
      expect(await splice.counters(peer)).toMatchObject({ inPackets: 0, outPackets: 0 });
    }
    expect(system.elements('ip', 'out_peers').size + system.elements('ip6', 'in_peers').size).toBe(0);
  });

  test('another path port takes the place of the first', async () => {
    await splice.addOut(PEER);
    await splice.addOut({ ...PEER, pathPort: 40_002 });
    expect(splice.state(PEER).out).toBe(false);
    expect(system.elements('ip', 'out_peers')).toEqual(new Map([['198.51.100.7 . 40001', '40002']]));
  });

  test.each([
    { address: '198.51.100.7; flush ruleset' },
    { address: '::ffff:198.51.100.7' },
    { address: 'fe80::1%eth0' },
    { address: '224.0.0.1' },
    { address: 'ff02::1' },
    { address: '0.0.0.0' },
    { port: 0 },
    { port: 65_536 },
    { pathPort: 1.5 },
  ])('writes nothing for %o', async (wrong) => {
    const lines = system.lines.length;
    await expect(splice.addOut({ ...PEER, ...wrong })).rejects.toMatchObject({ code: 'invalid-value' });
    expect(system.lines.length).toBe(lines);
  });

  test('makes deleted tables again within a second, with every peer', async () => {
    await splice.addOut(PEER);
    await splice.addIn(PEER6);
    system.tables.clear();
    await clock.advance(1_000);
    expect(replaced).toEqual(['the tables were deleted']);
    expect(system.elements('ip', 'out_peers').size).toBe(1);
    expect(system.elements('ip6', 'in_peers').size).toBe(1);
  });

  test('replaces nft at once when it ends, and when it does not answer', async () => {
    await splice.addOut(PEER);
    system.children.at(-1)!.end('SIGKILL');
    await clock.advance(10);
    expect(replaced).toHaveLength(1);
    system.children.at(-1)!.stopped = true;
    const change = splice.addIn(PEER);
    await clock.advance(6_000);
    await change;
    expect(replaced).toHaveLength(2);
    expect(system.elements('ip', 'out_peers').size + system.elements('ip', 'in_peers').size).toBe(2);
  });

  test('goes on trying while nft cannot be started, and says so', async () => {
    await splice.addOut(PEER);
    const failures: string[] = [];
    splice.events.on('failed', ({ code }) => failures.push(code));
    system.startFailure = { reason: 'exit code 127', missing: true };
    system.children.at(-1)!.end('SIGKILL');
    await clock.advance(3_000);
    expect(failures).toContain('nft-missing');
    system.startFailure = undefined;
    await clock.advance(6_000);
    expect(replaced).toHaveLength(1);
    expect(splice.state(PEER).out).toBe(true);
    expect(system.elements('ip', 'out_peers').size).toBe(1);
  });

  test('an error of one change does not touch the others of its batch', async () => {
    system.reject = (command) => (command.includes('198.51.100.13 ') ? 'Error: Too many open files' : undefined);
    const peers = Array.from({ length: 50 }, (_, at) => ({ ...PEER, address: `198.51.100.${at + 1}` }));
    const outcomes = await Promise.allSettled(peers.map((peer) => splice.addOut(peer)));
    expect(outcomes.flatMap(({ status }, at) => (status === 'rejected' ? [at + 1] : []))).toEqual([13]);
    expect(system.elements('ip', 'out_peers').size).toBe(49);
  });

  test('nft is replaced without a gap before its history grows large', async () => {
    splice.close();
    splice = await HostSplice.open(
      { system, clock, random: new SeededRandom(2) },
      { wireguardPort: 51_820, maxInputBytes: 5_000 },
    );
    splice.events.on('replaced', ({ gapMs }) => replaced.push(`gap ${gapMs}`));
    for (let round = 0; round < 100; round++) {
      await splice.addOut(PEER);
      await splice.removeOut(PEER);
    }
    await clock.advance(1_000);
    expect(replaced).toEqual(['gap 0']);
    expect(system.children.filter(({ ended }) => !ended)).toHaveLength(1);
  });
});
