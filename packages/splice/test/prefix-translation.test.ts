import { SeededRandom } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import { expect, test } from 'vitest';
import { PrefixTranslation } from '../src/prefix-translation.ts';
import { FakeKernel } from '../src/testing/fake-kernel.ts';

const OPTIONS = {
  interfaceName: 'tp-0123456789',
  instance: '0123456789',
  inside: { address: '10.67.0.0', prefixLength: 16 },
  outside: { address: '10.66.0.0', prefixLength: 16 },
};

function components() {
  return { system: new FakeKernel(), clock: new VirtualClock(), random: new SeededRandom(1) };
}

const chainsOf = (system: FakeKernel) => [...system.tables.values()].map(({ chains }) => [...chains.keys()]);

test('translates both directions on one interface, and is made again when somebody removes it', async () => {
  const made = components();
  const { system, clock } = made;
  const translation = await PrefixTranslation.open(made, OPTIONS);
  const written = system.lines.join('\n');
  expect(written).toContain(
    'iifname "tp-0123456789" ip saddr 10.66.0.0/16 ip saddr set ip saddr & 0.0.255.255 | 10.67.0.0',
  );
  expect(written).toContain(
    'oifname "tp-0123456789" ip daddr 10.67.0.0/16 ip daddr set ip daddr & 0.0.255.255 | 10.66.0.0',
  );
  system.tables.clear();
  await translation.check();
  expect(chainsOf(system)).toEqual([['pre', 'post']]);
  translation.close();
  expect([system.tables.size, clock.pendingTimers]).toEqual([0, 0]);
});

test.each([
  { interfaceName: 'tp"; flush ruleset' },
  { inside: { address: '10.67.0.0/16; flush ruleset', prefixLength: 16 } },
  { outside: { address: '10.66.0.0', prefixLength: 33 } },
])('lets nothing but checked values reach nft: %j', async (wrong) => {
  const made = components();
  await expect(PrefixTranslation.open(made, { ...OPTIONS, ...wrong })).rejects.toMatchObject({ code: 'invalid-value' });
  expect(made.system.lines).toEqual([]);
});
