import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { noSelection, type PathFacts, type Selection, selectPaths } from '../src/paths/selection.ts';
import { type PathHealth, PathReason, type SelectionOptions } from '../src/index.ts';

function path(id: string, facts: Partial<PathFacts> = {}): PathFacts {
  return { id, kind: 'p2p', family: 4, health: 'good', rttMs: 20, rttVariationMs: 1, lossRatio: 0, ...facts };
}

function using(current: string, more: Partial<Selection> = {}): Selection {
  return { ...noSelection, current, ...more };
}

interface Case {
  name: string;
  paths: PathFacts[];
  before?: Selection;
  options?: SelectionOptions;
  expected: Partial<Selection>;
}

const relay = (rttMs: number, more: Partial<PathFacts> = {}) =>
  path(`relay${rttMs}`, { kind: 'relay', rttMs, ...more });
const direct = (rttMs: number, more: Partial<PathFacts> = {}) => path(`direct${rttMs}`, { rttMs, ...more });

/** Relayed paths by their round trip: over the agreed relay, over an address of it that another replaces, over others. */
const rankOf = (ranks: Record<string, number>) => (id: string) => ranks[id] ?? 4;

const CASES: Case[] = [
  {
    name: 'another address of the agreed relay replaces the one in use',
    paths: [relay(20), relay(30)],
    before: using('relay20'),
    options: { relayRank: rankOf({ relay20: 0.5, relay30: 0 }) },
    expected: { current: 'relay30', standby: 'relay20', reason: PathReason.agreed },
  },
  {
    name: 'the agreed relay is used over the address that is replaced while there is no other',
    paths: [relay(20), relay(30), relay(40)],
    before: using('relay20'),
    options: { relayRank: rankOf({ relay20: 1, relay30: 0.5, relay40: 2 }) },
    expected: { current: 'relay30', reason: PathReason.agreed },
  },
  {
    name: 'an address that is replaced takes the place of no other one of the agreed relay',
    paths: [relay(20), relay(30)],
    before: using('relay30'),
    options: { relayRank: rankOf({ relay20: 0.5, relay30: 0 }) },
    expected: { current: 'relay30', standby: 'relay20', reason: undefined },
  },
  {
    name: 'a relay that is not agreed is left for no other one that is not, whatever its rank',
    paths: [relay(20), relay(30)],
    before: using('relay20'),
    options: { relayRank: rankOf({ relay20: 2.5, relay30: 1 }) },
    expected: { current: 'relay20', reason: undefined },
  },
  {
    name: 'the standby shares neither uplink nor remote address with the current path, where there is such a path',
    paths: [
      direct(10, { ends: ['eth0', 'b'] }),
      direct(12, { ends: ['eth0', 'b'] }),
      direct(50, { ends: ['eth1', 'b'] }),
      relay(20, { ends: ['eth1', 'relay'] }),
    ],
    expected: { current: 'direct10', standby: 'direct50', draining: ['direct12', 'relay20'] },
  },
  {
    name: 'a relay is the standby rather than a second direct path between the same ends',
    paths: [
      direct(10, { ends: ['eth0', 'b'] }),
      direct(12, { ends: ['eth0', 'b'] }),
      relay(20, { ends: ['eth0', 'relay'] }),
    ],
    expected: { current: 'direct10', standby: 'relay20', draining: ['direct12'] },
  },
  {
    name: 'a suspect path is no standby although it shares nothing',
    paths: [
      direct(10, { ends: ['eth0', 'b'] }),
      direct(50, { ends: ['eth1', 'c'], health: 'suspect' }),
      relay(20, { ends: ['eth0', 'relay'] }),
    ],
    expected: { current: 'direct10', standby: 'relay20' },
  },
  {
    name: 'nothing to choose from',
    paths: [],
    expected: { current: undefined, standby: undefined, reason: undefined },
  },
  {
    name: 'the first path is used at once',
    paths: [relay(90)],
    expected: { current: 'relay90', reason: PathReason.first },
  },
  {
    name: 'the fastest direct path comes first, the next one is the standby',
    paths: [relay(5), direct(40), direct(10)],
    expected: { current: 'direct10', standby: 'direct40', draining: ['relay5'] },
  },
  {
    name: 'a verified direct path replaces a relay, also a faster one',
    paths: [relay(10), direct(50)],
    before: using('relay10'),
    expected: { current: 'direct50', standby: 'relay10', reason: PathReason.direct },
  },
  {
    name: 'a suspect direct path does not replace a relay',
    paths: [relay(10), direct(50, { health: 'suspect' })],
    before: using('relay10'),
    expected: { current: 'relay10', reason: undefined },
  },
  {
    name: 'a direct path that is 4 ms faster changes nothing',
    paths: [direct(20), direct(16)],
    before: using('direct20'),
    expected: { current: 'direct20', standby: 'direct16', reason: undefined },
  },
  {
    name: 'a direct path that is 5 ms faster takes over',
    paths: [direct(20), direct(15)],
    before: using('direct20'),
    expected: { current: 'direct15', standby: 'direct20', reason: PathReason.faster },
  },
  {
    name: 'a LAN path that is as fast replaces one that leaves the LAN',
    paths: [direct(2), path('lan2', { kind: 'lan', rttMs: 2 })],
    before: using('direct2'),
    expected: { current: 'lan2', standby: 'direct2', reason: PathReason.faster },
  },
  {
    name: 'a LAN path that is slower does not',
    paths: [direct(2), path('lan3', { kind: 'lan', rttMs: 3 })],
    before: using('direct2'),
    expected: { current: 'direct2', reason: undefined },
  },
  {
    name: 'a LAN path is left for one that is 5 ms faster alone',
    paths: [direct(2), path('lan6', { kind: 'lan', rttMs: 6 })],
    before: using('lan6'),
    expected: { current: 'lan6', reason: undefined },
  },
  {
    name: 'IPv6 counts as 3 ms faster',
    paths: [direct(20), direct(18, { family: 6 })],
    before: using('direct20'),
    expected: { current: 'direct18', reason: PathReason.faster },
  },
  {
    name: 'a path over a further uplink is left for one that is nearly as fast over the default route',
    paths: [direct(20, { furtherUplink: true }), direct(22)],
    before: using('direct20'),
    expected: { current: 'direct22', reason: PathReason.faster },
  },
  {
    name: 'a path over a further uplink is kept where it is much faster',
    paths: [direct(20, { furtherUplink: true }), direct(40)],
    before: using('direct20'),
    expected: { current: 'direct20', reason: undefined },
  },
  {
    name: 'the direct path that the remote end uses takes over, and none replaces it for speed (RFC 8445 §8) …',
    paths: [direct(20), direct(60)],
    before: using('direct20'),
    options: { nominated: 'direct60' },
    expected: { current: 'direct60', reason: PathReason.nominated },
  },
  {
    name: '… while it works',
    paths: [direct(20), direct(60, { health: 'suspect' })],
    before: using('direct20'),
    options: { nominated: 'direct60' },
    expected: { current: 'direct20', reason: undefined },
  },
  {
    name: 'the direct path that the remote end uses is kept although another is faster',
    paths: [direct(20), direct(60)],
    before: using('direct60'),
    options: { nominated: 'direct60' },
    expected: { current: 'direct60', standby: 'direct20', reason: undefined },
  },
  {
    name: 'a path is followed no sooner than 3 s after the one before was followed …',
    paths: [direct(20), direct(60)],
    before: using('direct20', { nominatedAtMs: -1_999 }),
    options: { nominated: 'direct60' },
    expected: { current: 'direct20', reason: undefined, nominatedAtMs: -1_999 },
  },
  {
    name: '… and is kept until then, also where another one is the standby',
    paths: [direct(20), direct(40), direct(60), direct(80)],
    before: using('direct20', { nominatedAtMs: -1_999 }),
    options: { nominated: 'direct60' },
    expected: { current: 'direct20', standbys: ['direct40', 'direct60'], draining: ['direct80'] },
  },
  {
    name: '… and then',
    paths: [direct(20), direct(60)],
    before: using('direct20', { nominatedAtMs: -2_000 }),
    options: { nominated: 'direct60' },
    expected: { current: 'direct60', reason: PathReason.nominated, nominatedAtMs: 1_000 },
  },
  {
    name: 'of two direct paths the one that the remote end uses replaces a relay',
    paths: [relay(10), direct(20), direct(60)],
    before: using('relay10'),
    options: { nominated: 'direct60' },
    expected: { current: 'direct60', reason: PathReason.direct },
  },
  {
    name: 'a relay replaces no direct path although the remote end uses it',
    paths: [relay(10), direct(20)],
    before: using('direct20'),
    options: { nominated: 'relay10' },
    expected: { current: 'direct20', reason: undefined },
  },
  {
    name: 'a gain within the variation of the round trips changes nothing',
    paths: [direct(40, { rttVariationMs: 30 }), direct(15)],
    before: using('direct40'),
    expected: { current: 'direct40', reason: undefined },
  },
  {
    name: 'loss costs as much as the retransmissions that it causes',
    paths: [direct(20, { lossRatio: 0.4 }), direct(60)],
    before: using('direct20'),
    expected: { current: 'direct60', reason: PathReason.faster },
  },
  {
    name: 'a relay replaces a relay only when it is 10 ms faster …',
    paths: [relay(20), relay(11)],
    before: using('relay20'),
    expected: { current: 'relay20', reason: undefined },
  },
  {
    name: '… and takes at most two thirds of the time',
    paths: [relay(100), relay(70)],
    before: using('relay100'),
    expected: { current: 'relay100', reason: undefined },
  },
  {
    name: 'a relay that is both takes over',
    paths: [relay(100), relay(60)],
    before: using('relay100'),
    expected: { current: 'relay60', reason: PathReason.faster },
  },
  {
    name: 'the relay stays while the control plane is away',
    paths: [relay(100), relay(60)],
    before: using('relay100'),
    options: { relayMayChange: false },
    expected: { current: 'relay100' },
  },
  {
    name: 'a suspect current path stays, and the standby carries the data as well',
    paths: [direct(10, { health: 'suspect' }), relay(60)],
    before: using('direct10'),
    expected: { current: 'direct10', standby: 'relay60', alsoSendOn: 'relay60' },
  },
  {
    name: 'a suspect path has a standby also where none is kept',
    paths: [direct(10, { health: 'suspect' }), relay(60)],
    before: using('direct10'),
    options: { standbys: 0 },
    expected: { current: 'direct10', standby: 'relay60', alsoSendOn: 'relay60', draining: [] },
  },
  {
    name: 'a stale path is used together with the standby until it is heard',
    paths: [direct(10, { health: 'stale' }), relay(60)],
    before: using('direct10'),
    expected: { current: 'direct10', alsoSendOn: 'relay60' },
  },
  {
    name: '… and alone where idle paths are the rule',
    paths: [direct(10, { health: 'stale' }), relay(60)],
    before: using('direct10'),
    options: { alsoWhenStale: false },
    expected: { current: 'direct10', standby: 'relay60', alsoSendOn: undefined },
  },
  {
    name: '… where a suspect one is in doubt all the same',
    paths: [direct(10, { health: 'suspect' }), relay(60)],
    before: using('direct10'),
    options: { alsoWhenStale: false },
    expected: { current: 'direct10', alsoSendOn: 'relay60' },
  },
  {
    name: 'a dead path is left for the standby',
    paths: [direct(10, { health: 'dead' }), relay(60)],
    before: using('direct10'),
    expected: { current: 'relay60', standby: undefined, reason: PathReason.probesLost },
  },
  {
    name: 'a closed path is left for the best of the others',
    paths: [relay(60), direct(80)],
    before: using('direct10'),
    expected: { current: 'direct80', reason: PathReason.closed },
  },
  {
    name: 'redundancy sends everything twice',
    paths: [direct(10), relay(60)],
    before: using('direct10'),
    options: { redundancy: 2 },
    expected: { current: 'direct10', alsoSendOn: 'relay60' },
  },
  {
    name: 'a path that is not kept drains',
    paths: [relay(60), direct(10)],
    before: using('relay60'),
    options: { standbys: 0 },
    expected: { current: 'direct10', standby: undefined, draining: ['relay60'] },
  },
  {
    name: 'a draining path is not used again',
    paths: [relay(60)],
    before: using('direct10', { draining: ['relay60'] }),
    expected: { current: undefined, draining: ['relay60'] },
  },
  {
    name: 'direct-only never uses a relay',
    paths: [relay(10)],
    options: { policy: 'direct-only' },
    expected: { current: undefined, draining: ['relay10'] },
  },
  {
    name: 'a path that the remote end does not permit is left for one that both permit',
    paths: [direct(10), relay(60)],
    before: using('direct10'),
    options: { peerPolicy: 'relay-only' },
    expected: { current: 'relay60', reason: PathReason.policy },
  },
  {
    name: 'policies that exclude each other leave no path',
    paths: [direct(10), relay(60)],
    before: using('direct10'),
    options: { policy: 'direct-only', peerPolicy: 'relay-only' },
    expected: { current: undefined, standby: undefined },
  },
  {
    name: 'relay-only leaves a direct path',
    paths: [direct(10), relay(60)],
    before: using('direct10'),
    options: { policy: 'relay-only' },
    expected: { current: 'relay60', reason: PathReason.policy },
  },
  {
    name: 'lan-only uses nothing else',
    paths: [direct(10), path('lan', { kind: 'lan', rttMs: 90 })],
    options: { policy: 'lan-only' },
    expected: { current: 'lan' },
  },
];

describe('path selection', () => {
  test.each(CASES)('$name', ({ paths, before = noSelection, options = {}, expected }) => {
    expect(selectPaths(paths, before, options, 1_000)).toMatchObject(expected);
  });

  test('a change for speed is not followed by another within 3 s', () => {
    const first = selectPaths([direct(20), direct(10)], using('direct20'), {}, 1_000);
    const swapped = [path('direct20', { rttMs: 10 }), path('direct10', { rttMs: 30 })];
    expect(selectPaths(swapped, first, {}, 3_999)).toMatchObject({ current: 'direct10', reason: undefined });
    expect(selectPaths(swapped, first, {}, 4_000)).toMatchObject({ current: 'direct20', reason: PathReason.faster });
  });

  test('two paths that are nearly alike, with loss that comes and goes, take turns twice a minute at most', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(40), fc.nat(40), fc.nat(30), fc.nat(30)), { minLength: 60 }), (steps) => {
        let selection = noSelection;
        const changes: number[] = [];
        for (const [index, [rttA, rttB, lossA, lossB]] of steps.entries()) {
          const paths = [
            path('a', { rttMs: 20 + rttA, lossRatio: lossA / 100 }),
            path('b', { rttMs: 20 + rttB, lossRatio: lossB / 100 }),
          ];
          selection = selectPaths(paths, selection, {}, index * 1_000);
          if (selection.reason === PathReason.faster) changes.push(index * 1_000);
        }
        for (const [index, atMs] of changes.entries()) {
          const third = changes[index + 2];
          if (third !== undefined) expect(third - atMs).toBeGreaterThanOrEqual(60_000);
        }
      }),
    );
  });

  test('whatever the paths: the choice is one of them, is usable, and is stable when nothing changes', () => {
    const facts: fc.Arbitrary<PathFacts> = fc.record({
      id: fc.constantFrom('a', 'b', 'c', 'd', 'e'),
      kind: fc.constantFrom('lan', 'p2p', 'relay'),
      family: fc.constantFrom(4, 6),
      health: fc.constantFrom<PathHealth[]>('good', 'stale', 'suspect', 'dead'),
      rttMs: fc.option(fc.double({ min: 0, max: 500, noNaN: true }), { nil: undefined }),
      rttVariationMs: fc.option(fc.double({ min: 0, max: 50, noNaN: true }), { nil: undefined }),
      lossRatio: fc.double({ min: 0, max: 1, noNaN: true }),
    });
    const options = fc.record({
      policy: fc.constantFrom('auto', 'direct-only', 'relay-only', 'lan-only'),
      redundancy: fc.constantFrom(1, 2),
      standbys: fc.integer({ min: 0, max: 3 }),
    });
    const sets = fc.array(fc.uniqueArray(facts, { selector: ({ id }) => id }), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(sets, options, (steps, choice) => {
        let selection = noSelection;
        for (const [index, paths] of steps.entries()) {
          selection = selectPaths(paths, selection, choice as SelectionOptions, index * 5_000);
          const places = [selection.current, ...selection.standbys, ...selection.draining].filter(
            (id) => id !== undefined,
          );
          // Every path has exactly one place.
          expect(places.toSorted()).toEqual(paths.map(({ id }) => id).toSorted());
          expect(paths.find(({ id }) => id === selection.current)?.health).not.toBe('dead');
          const again = selectPaths(paths, selection, choice as SelectionOptions, index * 5_000 + 4_000);
          expect(again.current).toBe(selection.current);
          expect(again.reason).toBeUndefined();
        }
      }),
    );
  });
});
