import { VirtualClock } from '@towpath/core/testing';
import { beforeEach, describe, expect, test } from 'vitest';
import { NftProcess } from '../src/nft-process.ts';
import { rejection } from '../src/splice-error.ts';
import { FakeKernel } from '../src/testing/fake-kernel.ts';

describe('NftProcess', () => {
  let system: FakeKernel;
  let clock: VirtualClock;
  let ended: string[];
  let nft: NftProcess;

  beforeEach(() => {
    system = new FakeKernel();
    system.initial = { packets: 7, bytes: 700 };
    clock = new VirtualClock();
    ended = [];
    nft = new NftProcess({ system, clock }, { batchTimeoutMs: 1_000, onEnded: ({ code }) => ended.push(code) });
  });

  test('confirms batches in order and leaves no timer', async () => {
    const first = nft.run(['add table ip t { flags owner; }', 'add set ip t s { type ipv4_addr; }'], 'a table');
    const second = nft.run(['add element ip t s { 192.0.2.1 }', 'get element ip t s { 192.0.2.1 }'], 'an element');
    expect(await first).toBe('');
    expect(await second).toContain('192.0.2.1 counter packets 7');
    expect(clock.pendingTimers).toBe(0);
    expect(system.tables.get('ip t')?.maps.get('s')?.size).toBe(1);
  });

  test('attributes an error to its batch only', async () => {
    await nft.run(['add table ip t { flags owner; }', 'add set ip t s { type ipv4_addr; }'], 'a table');
    const wrong = nft.run(['add element ip t s { 192.0.2.1 }', 'add element ip t nowhere { 192.0.2.1 }'], 'batch 2');
    const right = nft.run(['add element ip t s { 192.0.2.2 }'], 'batch 3');
    await expect(wrong).rejects.toMatchObject({ code: 'nft-rejected', message: expect.stringContaining('batch 2') });
    await right;
    expect([...system.tables.get('ip t')!.maps.get('s')!.keys()]).toEqual(['192.0.2.2']);
  });

  test.each([
    'Error: Could not process rule: Operation not permitted',
    // What nft 1.0.6 prints without the capability.
    'Operation not permitted (you must be root)\nnetlink: Error: cache initialization failed: Operation not permitted',
  ])('says what to do when the kernel forbids it: %s', async (output) => {
    system.reject = () => output;
    await expect(nft.run(['add table ip t'], 'a table')).rejects.toMatchObject({
      code: 'not-permitted',
      message: expect.stringContaining('CAP_NET_ADMIN'),
    });
  });

  test('is replaced when stuck: its batches fail, its tables stay until it is closed', async () => {
    await nft.run(['add table ip t { flags owner; }'], 'a table');
    system.children[0]!.stopped = true;
    const stuck = nft.run(['add set ip t s { type ipv4_addr; }'], 'a set');
    const waiting = nft.run(['add set ip t u { type ipv4_addr; }'], 'a set');
    const outcomes = Promise.allSettled([stuck, waiting]);
    await clock.advance(1_000);
    for (const outcome of await outcomes) expect(outcome).toMatchObject({ reason: { code: 'nft-timeout' } });
    expect(ended).toEqual(['nft-timeout']);
    expect(system.tables.size).toBe(1);
    nft.close();
    expect(system.tables.size).toBe(0);
  });

  test('tells that nft is missing, or has ended', async () => {
    const running = nft.run(['add table ip t { flags owner; }'], 'a table');
    system.children[0]!.end('exit code 1');
    await expect(running).rejects.toMatchObject({ code: 'nft-ended' });
    await expect(nft.run(['list tables'], 'tables')).rejects.toMatchObject({ code: 'nft-ended' });
    system.startFailure = { reason: 'exit code 127', missing: true };
    const missing = new NftProcess({ system, clock });
    await expect(missing.run(['list tables'], 'tables')).rejects.toMatchObject({ code: 'nft-missing' });
  });
});

test('the reason is found in what nft prints about commands of a file', () => {
  const output = [
    'In file included from <cmdline>:1:1-26:',
    '/proc/self/fd/3:1:27-27: Error: Could not process rule: No such file or directory',
    'delete element inet t m { 9 }',
    '                          ^',
  ].join('\n');
  expect(rejection(output, 'one change')).toMatchObject({
    code: 'nft-rejected',
    message: 'nft rejected one change: Could not process rule: No such file or directory',
  });
});
