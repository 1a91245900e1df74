import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { chooseRelays, isGoodChoice } from '../../src/relays/relay-choice.ts';
import { relayKey } from '../../src/relays/relay-key.ts';

const keys = Array.from({ length: 8 }, (_, at) => relayKey(`r${at}`));
const figures = fc
  .array(fc.tuple(fc.constantFrom(...keys), fc.integer({ min: 1, max: 50_000 })), { maxLength: 12 })
  .map((all) => new Map(all.map(([key, tenths]) => [key, tenths / 10])));
const choice = fc.option(
  fc.record({ first: fc.constantFrom(...keys), second: fc.option(fc.constantFrom(...keys), { nil: undefined }) }),
  { nil: undefined },
);

describe('the choice of relays', () => {
  it('goes by the sum of both ends, not by what is near to one of them (C8)', () => {
    const [near, far, middle] = keys as [string, string, string];
    const own = new Map([
      [near, 2],
      [far, 120],
      [middle, 40],
    ]);
    const theirs = new Map([
      [near, 130],
      [far, 3],
      [middle, 30],
    ]);
    expect(chooseRelays(own, theirs, 'pair')?.first).toBe(middle);
    expect(chooseRelays(own, theirs, 'pair')?.second).toBe(far);
  });

  it('is the same on both ends, whatever they told each other (C8)', () => {
    fc.assert(
      fc.property(figures, figures, choice, (own, theirs, held) => {
        const here = chooseRelays(own, theirs, 'pair', held);
        expect(chooseRelays(theirs, own, 'pair', held)).toEqual(here);
        if (here === undefined) return;
        expect(own.has(here.first) && theirs.has(here.first)).toBe(true);
        expect(here.second).not.toBe(here.first);
        expect(isGoodChoice(here.first, own, theirs)).toBe(true);
      }),
    );
  });

  it('keeps the relay in use unless another is 10 ms faster and takes at most two thirds (C8)', () => {
    const [held, other] = keys as [string, string];
    const choose = (heldMs: number, otherMs: number) =>
      chooseRelays(
        new Map([
          [held, heldMs / 2],
          [other, otherMs / 2],
        ]),
        new Map([
          [held, heldMs / 2],
          [other, otherMs / 2],
        ]),
        'pair',
        { first: held, second: other },
      )?.first;
    expect([choose(100, 70), choose(100, 66), choose(24, 15), choose(30, 20)]).toEqual([held, other, held, other]);
  });

  it('spreads pairs over relays that are alike (C9)', () => {
    const same = new Map(keys.map((key, at) => [key, 20 + at / 10]));
    const counts = new Map<string, number>();
    for (let pair = 0; pair < 800; pair++) {
      const { first = '' } = chooseRelays(same, same, `pair ${pair}`) ?? {};
      counts.set(first, (counts.get(first) ?? 0) + 1);
    }
    expect(counts.size).toBe(8);
    expect(Math.max(...counts.values())).toBeLessThan(200);
  });

  it('takes no relay that only one end reaches', () => {
    expect(chooseRelays(new Map([[keys[0]!, 5]]), new Map([[keys[1]!, 5]]), 'pair')).toBeUndefined();
  });
});
