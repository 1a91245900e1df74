import { SeededRandom } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type IcmpError, IcmpErrors } from '../src/index.ts';
import { FakeKernel } from '../src/testing/fake-kernel.ts';

const PORTS = [49_152, 65_535] as const;

async function watched({ isWanted = (): boolean => true } = {}) {
  const kernel = new FakeKernel();
  const clock = new VirtualClock();
  const errors: IcmpError[] = [];
  const watch = await clock.runUntil(
    IcmpErrors.open(
      { system: kernel, clock, random: new SeededRandom(1) },
      { ports: PORTS, isWanted, onErrors: (found) => void errors.push(...found) },
    ),
  );
  /** Notes an error as the rules do. */
  const note = (family: 'ip' | 'ip6', key: string) => {
    const [, table] = [...kernel.tables].find(([id]) => id.startsWith(`${family} `))!;
    table.maps.get('errors')!.set(key, { value: undefined, packets: 0, bytes: 0 });
  };
  return { kernel, clock, errors, watch, note };
}

describe('ICMP errors about datagrams of this machine (RFC 8656 §11.5)', () => {
  test('are read with type, code, peer and both ports, each once', async () => {
    const { clock, errors, watch, note } = await watched();
    note('ip', `${0xcb007109} . ${50_000 * 65_536 + 9} . ${0x0303} . 0`);
    note('ip6', `0x20010db8000000000000000000000005 . ${50_001 * 65_536 + 9} . ${0x0200} . 1280`);
    note('ip6', `1 . ${50_002 * 65_536 + 9} . ${0x0104} . 0`);
    await clock.advance(2_000);
    expect(errors).toEqual([
      { port: 50_000, peer: { address: '203.0.113.9', port: 9 }, type: 3, code: 3, data: 0 },
      { port: 50_001, peer: { address: '2001:db8::5', port: 9 }, type: 2, code: 0, data: 1280 },
      { port: 50_002, peer: { address: '::1', port: 9 }, type: 1, code: 4, data: 0 },
    ]);
    watch.close();
    await clock.advance(1_000);
    expect(clock.pendingTimers).toBe(0);
  });

  test('are not asked for while nobody wants them', async () => {
    let wanted = false;
    const { kernel, clock, errors, watch, note } = await watched({ isWanted: () => wanted });
    note('ip', `${0xcb007109} . ${50_000 * 65_536 + 9} . ${0x0303} . 0`);
    await clock.advance(5_000);
    expect(kernel.lines.filter((line) => line.startsWith('list set'))).toEqual([]);
    wanted = true;
    await clock.advance(1_000);
    expect(errors).toHaveLength(1);
    watch.close();
  });

  test('are read again after the tables were deleted', async () => {
    const { kernel, clock, errors, watch, note } = await watched();
    kernel.tables.clear();
    await clock.advance(3_000);
    note('ip', `${0xcb007109} . ${50_000 * 65_536 + 9} . ${0x0b00} . 0`);
    await clock.advance(1_000);
    expect(errors).toMatchObject([{ type: 11, code: 0 }]);
    watch.close();
  });

  test('that cannot be read are left out', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.oneof(fc.string(), fc.integer().map(String)), { maxLength: 6 }), async (parts) => {
        const { clock, errors, watch, note } = await watched();
        note('ip', parts.join(' . '));
        note('ip6', parts.join(' . '));
        await clock.advance(1_000);
        for (const { port, peer } of errors) {
          expect(Number.isSafeInteger(port)).toBe(true);
          expect(peer.port).toBeGreaterThan(0);
        }
        watch.close();
      }),
      { numRuns: 100 },
    );
  });
});
