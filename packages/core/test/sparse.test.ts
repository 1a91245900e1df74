import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SparseMap, SparseSet } from '../src/sparse.ts';

const steps = fc.array(fc.tuple(fc.constantFrom('set', 'delete', 'clear'), fc.nat({ max: 3 }), fc.nat()));

describe('collections that are empty most of the time', () => {
  it('are like a Map', () => {
    fc.assert(
      fc.property(steps, (list) => {
        const [sparse, map] = [new SparseMap<number, number>(), new Map<number, number>()];
        for (const [step, key, value] of list) {
          if (step === 'set') {
            sparse.set(key, value);
            map.set(key, value);
          } else if (step === 'delete') expect(sparse.delete(key)).toBe(map.delete(key));
          else for (const each of [sparse, map]) each.clear();
          expect([...sparse]).toEqual([...map]);
          expect([[...sparse.keys()], [...sparse.values()]]).toEqual([[...map.keys()], [...map.values()]]);
          expect([sparse.size, sparse.get(key), sparse.has(key)]).toEqual([map.size, map.get(key), map.has(key)]);
        }
      }),
    );
  });

  it('are like a Set', () => {
    fc.assert(
      fc.property(steps, (list) => {
        const [sparse, set] = [new SparseSet<number>(), new Set<number>()];
        for (const [step, value] of list) {
          if (step === 'set') for (const each of [sparse, set]) each.add(value);
          else if (step === 'delete') expect(sparse.delete(value)).toBe(set.delete(value));
          else for (const each of [sparse, set]) each.clear();
          expect([[...sparse], sparse.size, sparse.has(value)]).toEqual([[...set], set.size, set.has(value)]);
        }
      }),
    );
  });

  it('may lose entries while they are gone through', () => {
    const sparse = new SparseMap<string, number>();
    for (const [at, key] of ['a', 'b', 'c'].entries()) sparse.set(key, at);
    const seen: string[] = [];
    for (const [key] of sparse) {
      seen.push(key);
      sparse.delete(key);
    }
    expect([seen, sparse.size]).toEqual([['a', 'b', 'c'], 0]);
  });
});
