import { SeededRandom, silentLog } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import { parseSubnet } from '@towpath/net';
import { FakeKernel } from '@towpath/splice/testing';
import { describe, expect, it } from 'vitest';
import { FilterControl } from '../../src/filter/filter-control.ts';

function rig() {
  const warnings: string[] = [];
  const log = { ...silentLog, warn: (message: string) => void warnings.push(message) };
  const components = { system: new FakeKernel(), clock: new VirtualClock(), random: new SeededRandom(1), log };
  const options = {
    interfaceName: 'tp-0123456789',
    address: '10.66.3.4',
    network: parseSubnet('10.66.0.0/16')!,
    offers: [parseSubnet('192.168.77.0/24')!],
  };
  return { ...components, components, options, warnings };
}

describe('FilterControl', () => {
  it('filters offers and accepted networks, reads what was dropped, and leaves nothing (C4, C14)', async () => {
    const { system, clock, components, options } = rig();
    const filter = await FilterControl.open(components, options);
    await filter.addNetwork('192.168.43.0/24');
    await filter.addNetwork('192.168.44.0/24');
    await filter.removeNetwork('192.168.43.0/24');
    expect([...system.elements('ip', 'networks').keys()]).toEqual(['10.66.0.0/16', '192.168.44.0/24']);
    expect(system.elements('ip', 'offers').size).toBe(1);
    system.counters.set('strangers', 7);
    await clock.advance(5_000);
    await filter.read();
    expect(filter.status).toEqual({
      problem: undefined,
      dropped: { strangers: 7, forged: 0, notOffered: 0, intoParty: 0 },
    });
    filter.close();
    expect([system.tables.size, clock.pendingTimers]).toEqual([0, 0]);
  });

  it('says that nothing is filtered where nft is missing or refuses, and the party goes on', async () => {
    const { system, clock, components, options, warnings } = rig();
    system.startFailure = { reason: 'exit code 127', missing: true };
    const filter = await FilterControl.open(components, { ...options, offers: [] });
    await filter.addNetwork('192.168.43.0/24');
    await filter.setOffers([]);
    await filter.read();
    expect(filter.status.problem).toContain('The program nft is not installed.');
    expect(warnings).toEqual([expect.stringContaining('does not keep its parties apart')]);
    filter.close();
    expect(clock.pendingTimers).toBe(0);
  });

  it('offers no network where the rules cannot be made (C14)', async () => {
    const { system, clock, components, options } = rig();
    system.startFailure = { reason: 'exit code 127', missing: true };
    await expect(FilterControl.open(components, options)).rejects.toMatchObject({
      code: 'program-missing',
      message: expect.stringContaining('No network can be offered: The program nft is not installed.'),
    });
    system.startFailure = undefined;
    system.reject = () => 'Error: Operation not permitted';
    await expect(FilterControl.open(components, options)).rejects.toMatchObject({ code: 'permission-denied' });
    expect([system.tables.size, clock.pendingTimers]).toEqual([0, 0]);
  });

  it('says so while the rules cannot be made again, and no longer when they are', async () => {
    const { system, clock, components, options } = rig();
    const filter = await FilterControl.open(components, options);
    system.reject = () => 'Error: Operation not permitted';
    system.tables.clear();
    await clock.advance(1_000);
    expect(filter.status.problem).toContain('not permitted');
    system.reject = () => undefined;
    await clock.advance(10_000);
    expect(filter.status.problem).toBeUndefined();
    expect(system.tables.size).toBe(1);
    filter.close();
    expect(clock.pendingTimers).toBe(0);
  });
});
