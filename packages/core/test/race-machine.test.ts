import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { initialRace, type RaceEffect, type RaceEvent, type RaceState, stepRace } from '../src/race/machine.ts';

const kinds = (staggerMs: number) => () => ({ delayMs: 0, staggerMs });

function run(
  events: RaceEvent[],
  staggerMs = 10,
  collect = false,
  settleMs = 0,
): { state: RaceState; effects: string[] } {
  let state = initialRace(collect, settleMs);
  const effects: string[] = [];
  for (const event of events) {
    const result = stepRace(state, event, kinds(staggerMs));
    state = result.state;
    effects.push(...result.effects.map(show));
  }
  return { state, effects };
}

function show(effect: RaceEffect): string {
  switch (effect.type) {
    case 'wake':
      return `wake@${effect.atMs}`;
    case 'lost':
      return `lost:${effect.reason}`;
    case 'over':
      return 'over';
    default:
      return `${effect.type} ${effect.id}`;
  }
}

const entry = (id: string, kind = 'lan', rank = 0) => ({ id, kind, rank });
const add = (atMs: number, ...entries: ReturnType<typeof entry>[]): RaceEvent => ({ type: 'add', entries, atMs });

describe('the race as a state machine', () => {
  const table: [string, RaceEvent[], string[]][] = [
    [
      'starts one candidate of a kind, then the next after the stagger (A2)',
      [add(0, entry('a'), entry('b')), { type: 'tick', atMs: 10 }],
      ['start a', 'wake@10', 'start b'],
    ],
    [
      'starts the next candidate at once when one fails (A2)',
      [add(0, entry('a'), entry('b')), { type: 'failed', id: 'a', atMs: 3 }],
      ['start a', 'wake@10', 'failed a', 'start b'],
    ],
    [
      'runs kinds side by side (A2)',
      [add(0, entry('a', 'lan'), entry('b', 'p2p'), entry('c', 'relay'))],
      ['start a', 'start b', 'start c'],
    ],
    [
      'catches up when its wake-up came late',
      [add(0, entry('a'), entry('b'), entry('c')), { type: 'tick', atMs: 25 }],
      ['start a', 'wake@10', 'start b', 'start c'],
    ],
    [
      'cancels the rest at the first success (A3)',
      [
        add(0, entry('a', 'lan'), entry('b', 'p2p')),
        { type: 'seal', atMs: 0 },
        { type: 'succeeded', id: 'b', atMs: 5 },
      ],
      ['start a', 'start b', 'won b', 'cancel a', 'over'],
    ],
    [
      'undoes a second success (A3)',
      [
        add(0, entry('a', 'lan'), entry('b', 'p2p')),
        { type: 'seal', atMs: 0 },
        { type: 'succeeded', id: 'b', atMs: 5 },
        { type: 'succeeded', id: 'a', atMs: 6 },
      ],
      ['start a', 'start b', 'won b', 'cancel a', 'over', 'undo a'],
    ],
    [
      'is lost when all have failed and no more will come',
      [add(0, entry('a')), { type: 'failed', id: 'a', atMs: 1 }, { type: 'seal', atMs: 2 }],
      ['start a', 'failed a', 'lost:all-failed', 'over'],
    ],
    [
      'stops everything at the limit (A6)',
      [add(0, entry('a'), entry('b')), { type: 'stop', reason: 'limit', atMs: 9 }],
      ['start a', 'wake@10', 'cancel a', 'lost:limit', 'over'],
    ],
  ];
  test.each(table)('%s', (_name, events, expected) => {
    expect(run(events).effects).toEqual(expected);
  });

  test('lets only better-ranked attempts go on after a win, when asked to (A7)', () => {
    const { effects, state } = run(
      [
        add(0, entry('relay', 'relay', 2), entry('other', 'x', 2), entry('direct', 'p2p', 1)),
        { type: 'seal', atMs: 0 },
        { type: 'succeeded', id: 'relay', atMs: 5 },
        { type: 'succeeded', id: 'direct', atMs: 9 },
      ],
      10,
      true,
    );
    expect(effects).toEqual([
      'start relay',
      'start other',
      'start direct',
      'won relay',
      'cancel other',
      'found direct',
      'over',
    ]);
    expect(state.phase).toBe('over');
  });

  const collecting: [string, RaceEvent[], string[]][] = [
    [
      'lets attempts of the same rank go on for the settling time, and ends them then',
      [
        add(0, entry('a', 'x', 1), entry('b', 'y', 1), entry('c', 'z', 1), entry('relay', 'relay', 2)),
        { type: 'seal', atMs: 0 },
        { type: 'succeeded', id: 'a', atMs: 5 },
        { type: 'succeeded', id: 'b', atMs: 30 },
        { type: 'tick', atMs: 55 },
      ],
      [
        'start a',
        'start b',
        'start c',
        'start relay',
        'won a',
        'cancel relay',
        'wake@55',
        'found b',
        'wake@55',
        'cancel c',
        'over',
      ],
    ],
    [
      'a better success within the settling time ends the worse ones',
      [
        add(0, entry('a', 'x', 1), entry('b', 'y', 1), entry('best', 'z', 0)),
        { type: 'seal', atMs: 0 },
        { type: 'succeeded', id: 'a', atMs: 5 },
        { type: 'succeeded', id: 'best', atMs: 6 },
      ],
      ['start a', 'start b', 'start best', 'won a', 'wake@55', 'found best', 'cancel b', 'wake@55', 'over'],
    ],
    [
      'hands a success over that comes although its attempt was cancelled',
      [
        add(0, entry('a', 'x', 1), entry('b', 'y', 2)),
        { type: 'seal', atMs: 0 },
        { type: 'succeeded', id: 'a', atMs: 5 },
        { type: 'succeeded', id: 'b', atMs: 90 },
      ],
      ['start a', 'start b', 'won a', 'cancel b', 'wake@55', 'over', 'found b'],
    ],
    [
      'undoes a late success after an abort',
      [
        add(0, entry('a', 'x', 1), entry('b', 'y', 0)),
        { type: 'succeeded', id: 'a', atMs: 5 },
        { type: 'stop', reason: 'abort', atMs: 6 },
        { type: 'succeeded', id: 'b', atMs: 7 },
      ],
      ['start a', 'start b', 'won a', 'wake@55', 'cancel b', 'over', 'undo b'],
    ],
    [
      'cancels a withdrawn attempt and undoes its late success',
      [
        add(0, entry('a', 'x', 1), entry('b', 'y', 1)),
        { type: 'withdraw', id: 'b', atMs: 2 },
        { type: 'succeeded', id: 'a', atMs: 5 },
        { type: 'succeeded', id: 'b', atMs: 6 },
      ],
      ['start a', 'start b', 'cancel b', 'won a', 'wake@55', 'undo b', 'wake@55'],
    ],
    [
      'keeps what succeeds at the end of the settling time, before the timer',
      [
        add(0, entry('a'), entry('b')),
        { type: 'tick', atMs: 10 },
        { type: 'succeeded', id: 'a', atMs: 11 },
        { type: 'succeeded', id: 'b', atMs: 61 },
      ],
      ['start a', 'wake@10', 'start b', 'won a', 'wake@61', 'found b'],
    ],
    [
      'is lost when the last candidate is withdrawn',
      [
        add(0, entry('a'), entry('b')),
        { type: 'seal', atMs: 0 },
        { type: 'withdraw', id: 'b', atMs: 1 },
        { type: 'withdraw', id: 'a', atMs: 2 },
      ],
      ['start a', 'wake@10', 'wake@10', 'cancel a', 'lost:all-failed', 'over'],
    ],
  ];
  test.each(collecting)('%s', (_name, events, expected) => {
    expect(run(events, 10, true, 50).effects).toEqual(expected);
  });

  test('whatever the order of events: one outcome, no running attempt after the end, every surplus success undone (A3)', () => {
    const ids = ['a', 'b', 'c', 'd', 'e'];
    const event = fc.oneof(
      fc.record({ type: fc.constant('tick' as const) }),
      fc.record({ type: fc.constant('seal' as const) }),
      fc.record({
        type: fc.constantFrom('succeeded' as const, 'failed' as const, 'withdraw' as const),
        id: fc.constantFrom(...ids),
      }),
      fc.record({ type: fc.constant('stop' as const), reason: fc.constantFrom('limit' as const, 'abort' as const) }),
      fc.record({
        type: fc.constant('add' as const),
        entries: fc.array(
          fc.record({
            id: fc.constantFrom(...ids),
            kind: fc.constantFrom('x', 'y'),
            rank: fc.integer({ min: 0, max: 2 }),
          }),
          { maxLength: 3 },
        ),
      }),
    );
    fc.assert(
      fc.property(
        fc.array(event, { maxLength: 40 }),
        fc.boolean(),
        fc.integer({ min: 0, max: 5 }),
        fc.integer({ min: 0, max: 5 }),
        (events, collect, stagger, settleMs) => {
          let state = initialRace(collect, settleMs);
          const running = new Set<string>();
          const count = { won: 0, lost: 0, over: 0, kept: 0 };
          const known = new Set<string>();
          events.forEach((raw, index) => {
            if ((raw.type === 'succeeded' || raw.type === 'failed') && !known.has(raw.id)) return;
            if (raw.type === 'add') for (const { id } of raw.entries) known.add(id);
            const { state: next, effects } = stepRace(state, { ...raw, atMs: index } as RaceEvent, kinds(stagger));
            state = next;
            const wasRunning = raw.type === 'succeeded' && running.has(raw.id);
            if (raw.type === 'succeeded' || raw.type === 'failed') running.delete(raw.id);
            let handled = false;
            for (const effect of effects) {
              if (effect.type === 'start') {
                expect(running.has(effect.id)).toBe(false);
                running.add(effect.id);
              } else if (effect.type === 'cancel') {
                expect(running.delete(effect.id)).toBe(true);
              } else if (effect.type === 'won' || effect.type === 'found') {
                handled = true;
                if (effect.type === 'won') count.won++;
              } else if (effect.type === 'undo') handled = true;
              else if (effect.type === 'lost') count.lost++;
              else if (effect.type === 'over') count.over++;
            }
            if (raw.type === 'succeeded') expect(handled).toBe(true);
            if (wasRunning) expect(effects.some(({ type }) => type === 'won' || type === 'found')).toBe(true);
            expect(count.won + count.lost).toBeLessThanOrEqual(1);
            expect(count.over).toBeLessThanOrEqual(1);
            if (count.over === 1) expect([...running]).toEqual([]);
          });
        },
      ),
      { numRuns: 500 },
    );
  });
});
