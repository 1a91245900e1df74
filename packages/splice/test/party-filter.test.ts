import { SeededRandom } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { PartyFilter } from '../src/party-filter.ts';
import { FakeKernel } from '../src/testing/fake-kernel.ts';

const OPTIONS = {
  interfaceName: 'tp-0123456789',
  interfacePrefix: 'tp-',
  instance: '0123456789',
  address: '10.66.3.4',
  network: { address: '10.66.0.0', prefixLength: 16 },
};
const CAMERAS = { address: '192.168.43.0', prefixLength: 24 };

describe('PartyFilter (C4, C14)', () => {
  let system: FakeKernel;
  let clock: VirtualClock;
  let filter: PartyFilter | undefined;

  beforeEach(() => {
    system = new FakeKernel();
    clock = new VirtualClock();
  });
  afterEach(() => {
    filter?.close();
    filter = undefined;
    expect([clock.pendingTimers, system.tables.size]).toEqual([0, 0]);
  });

  const open = async (options: Partial<typeof OPTIONS & { gateway: boolean }> = {}) => {
    filter = await PartyFilter.open({ system, clock, random: new SeededRandom(1) }, { ...OPTIONS, ...options });
    return filter;
  };
  const chains = () => [...system.tables.values()][0]!.chains;

  test('drops what belongs to the party on other interfaces, and what leaves or enters it otherwise', async () => {
    await open();
    expect(Object.fromEntries(chains())).toEqual({
      pre: [
        'iifname "lo" accept',
        'iifname "tp-0123456789" goto members',
        'ip daddr { 10.66.3.4, 10.66.0.0, 10.66.255.255 } counter name strangers drop',
        'ip saddr @networks fib saddr oifname "tp-0123456789" counter name forged drop',
      ],
      members: [
        'ip daddr { 10.66.3.4, 10.66.0.0, 10.66.255.255, 224.0.0.0/4, 255.255.255.255 } accept',
        'iifname vmap @offers',
        'counter name not_offered drop',
      ],
      forward: [
        'iifname "tp-*" oifname "tp-0123456789" counter name into_party drop',
        'iifname "tp-0123456789" ip daddr 224.0.0.0/4 counter name not_offered drop',
      ],
      post: ['oifname "tp-0123456789" fib saddr type != local counter name into_party drop'],
    });
    expect([...system.elements('ip', 'networks').keys()]).toEqual(['10.66.0.0/16']);
  });

  test('switches on connection tracking only where a network is offered', async () => {
    await open();
    expect(system.lines.join('\n')).not.toMatch(/\bct\b/);
    filter?.close();
    await open({ gateway: true });
    expect(chains().get('post')?.[0]).toBe('oifname "tp-0123456789" ct state established,related accept');
  });

  test('forwards only what is offered to a member, with the own address as the source, and nothing back but replies', async () => {
    const made = await open({ gateway: true });
    await made.setOffers([
      { address: '192.168.1.0', prefixLength: 24 },
      { ...CAMERAS, from: ['10.66.0.7', '10.66.0.9'] },
      { address: '192.168.44.0', prefixLength: 24, from: [] },
    ]);
    expect(chains().get('forward')?.slice(2)).toEqual([
      'iifname vmap @offers',
      'iifname "tp-0123456789" counter name not_offered drop',
      'oifname "tp-0123456789" ct state established,related accept',
      'oifname "tp-0123456789" counter name into_party drop',
    ]);
    expect(chains().get('source_nat')).toEqual(['oifname != "tp-0123456789" ip saddr vmap @sources']);
    expect([...system.elements('ip', 'sources')]).toEqual([['10.66.0.0/16', 'jump sources_1']]);
    expect(chains().get('sources_1')).toEqual([
      'ip saddr { 10.66.0.0/16 } ip daddr 192.168.1.0/24 masquerade',
      'ip saddr { 10.66.0.7, 10.66.0.9 } ip daddr 192.168.43.0/24 masquerade',
    ]);
    expect(chains().get('offers_1')).toEqual([
      'ip saddr { 10.66.0.0/16 } ip daddr 192.168.1.0/24 accept',
      'ip saddr { 10.66.0.7, 10.66.0.9 } ip daddr 192.168.43.0/24 accept',
    ]);
    const before = system.lines.length;
    await made.setOffers([]);
    expect(system.elements('ip', 'sources').size).toBe(0);
    // One line and its mark: members are taken off the forwarding and the translation together.
    expect(system.lines.length - before).toBe(2);
  });

  test('replaces offers and accepted networks in one step each, and has them again after a flush', async () => {
    const made = await open({ gateway: true });
    await made.setOffers([CAMERAS, { ...CAMERAS, from: ['10.66.0.7', '10.66.0.9'] }, { ...CAMERAS, from: [] }]);
    await made.setOffers([{ ...CAMERAS, from: ['10.66.0.7'] }]);
    await made.setNetworks([
      { address: '192.168.43.9', prefixLength: 32 },
      CAMERAS,
      { address: '10.66.1.0', prefixLength: 24 },
      // Neither a default route nor another family.
      { address: '0.0.0.0', prefixLength: 0 },
      { address: 'fd00::', prefixLength: 64 },
    ]);
    const now = () => [
      [...system.elements('ip', 'offers')],
      [...chains()].filter(([name]) => name.startsWith('offers')),
      [...system.elements('ip', 'sources')],
      [...chains()].filter(([name]) => name.startsWith('sources')),
      [...system.elements('ip', 'networks').keys()],
    ];
    const wanted = [
      [['"tp-0123456789"', 'jump offers_2']],
      [['offers_2', ['ip saddr { 10.66.0.7 } ip daddr 192.168.43.0/24 accept']]],
      [['10.66.0.0/16', 'jump sources_2']],
      [['sources_2', ['ip saddr { 10.66.0.7 } ip daddr 192.168.43.0/24 masquerade']]],
      ['10.66.0.0/16', '192.168.43.0/24'],
    ];
    expect(now()).toEqual(wanted);
    // A change ends before it is looked whether the rules are there.
    await made.counts();
    system.tables.clear();
    await made.check();
    expect(now()).toEqual(wanted);
    await made.setOffers([{ ...CAMERAS, from: [] }]);
    await made.setNetworks([]);
    expect(now()).toEqual([[], [], [], [], ['10.66.0.0/16']]);
  });

  test('goes on counting when the rules were made again', async () => {
    const made = await open();
    system.counters.set('forged', 3);
    expect(await made.counts()).toEqual({ strangers: 0, forged: 3, notOffered: 0, intoParty: 0 });
    system.tables.clear();
    await made.check();
    system.counters.set('forged', 2).set('into_party', 1);
    expect(await made.counts()).toEqual({ strangers: 0, forged: 5, notOffered: 0, intoParty: 1 });
  });

  test.each([
    { interfaceName: 'tp"; flush ruleset' },
    { interfacePrefix: 'tp"; flush ruleset' },
    { address: '10.66.3.4 }; flush ruleset' },
    { network: { address: '10.66.0.0/16; flush ruleset', prefixLength: 16 } },
  ])('lets nothing but checked values reach nft: %j', async (wrong) => {
    await expect(open(wrong)).rejects.toMatchObject({ code: 'invalid-value' });
    expect(system.lines).toEqual([]);
  });

  test.each([
    { ...CAMERAS, address: '192.168.43.0 } accept' },
    { ...CAMERAS, from: ['0.0.0.0/0 } accept'] },
    { address: '0.0.0.0', prefixLength: 0 },
  ])('offers nothing but checked values: %j', async (wrong) => {
    const made = await open({ gateway: true });
    await expect(made.setOffers([wrong])).rejects.toMatchObject({ code: 'invalid-value' });
    expect(system.elements('ip', 'offers').size).toBe(0);
  });
});
