import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  initialLink,
  type LinkEffect,
  type LinkEvent,
  type LinkPhase,
  type LinkState,
  stepLink,
} from '../src/link/machine.ts';

/** A state of each phase; `refreshing` is `connecting` after a refresh. */
const STATES = {
  idle: initialLink,
  connecting: { phase: 'connecting', tries: 2, wasUp: false, refreshed: false },
  refreshing: { phase: 'connecting', tries: 2, wasUp: false, refreshed: true },
  waiting: { phase: 'waiting', tries: 2, wasUp: true, refreshed: false },
  up: { phase: 'up', tries: 0, wasUp: true, refreshed: false },
  failed: { phase: 'failed', tries: 3, wasUp: false, refreshed: false },
  closed: { phase: 'closed', tries: 0, wasUp: true, refreshed: false },
} as const satisfies Record<string, LinkState>;

const EVENTS = {
  start: { type: 'start' },
  connected: { type: 'connected' },
  'try-failed, one more in 700': { type: 'try-failed', delayMs: 700, fatal: false },
  'try-failed, the last': { type: 'try-failed', delayMs: undefined, fatal: false },
  'try-failed, fatal': { type: 'try-failed', delayMs: undefined, fatal: true },
  timer: { type: 'timer' },
  lost: { type: 'lost' },
  refresh: { type: 'refresh' },
  close: { type: 'close' },
} as const satisfies Record<string, LinkEvent>;

type StateName = keyof typeof STATES;
type EventName = keyof typeof EVENTS;

/** What follows, as `phase tries [wasUp] [refreshed]: effects`; `-` when nothing changes and nothing is done. */
const TABLE: Record<StateName, Record<EventName, string>> = {
  idle: {
    start: 'connecting 1: new-round connect',
    connected: 'up 0 wasUp:',
    'try-failed, one more in 700': '-',
    'try-failed, the last': '-',
    'try-failed, fatal': '-',
    timer: '-',
    lost: '-',
    refresh: '-',
    close: 'closed 0: stop-waiting release',
  },
  connecting: {
    start: '-',
    connected: 'up 0 wasUp:',
    'try-failed, one more in 700': 'waiting 2: wait:700',
    'try-failed, the last': 'failed 2: gave-up',
    'try-failed, fatal': 'failed 2: gave-up',
    timer: '-',
    lost: '-',
    refresh: 'connecting 2 refreshed: new-round',
    close: 'closed 2: stop-waiting release',
  },
  refreshing: {
    start: '-',
    connected: 'up 0 wasUp:',
    'try-failed, one more in 700': 'connecting 1: new-round connect',
    'try-failed, the last': 'connecting 1: new-round connect',
    'try-failed, fatal': 'failed 2: gave-up',
    timer: '-',
    lost: '-',
    refresh: 'connecting 2 refreshed: new-round',
    close: 'closed 2: stop-waiting release',
  },
  waiting: {
    start: '-',
    connected: 'up 0 wasUp: stop-waiting',
    'try-failed, one more in 700': '-',
    'try-failed, the last': '-',
    'try-failed, fatal': '-',
    timer: 'connecting 3 wasUp: connect',
    lost: '-',
    refresh: 'connecting 1 wasUp: stop-waiting new-round connect',
    close: 'closed 2 wasUp: stop-waiting release',
  },
  up: {
    start: '-',
    connected: '-',
    'try-failed, one more in 700': '-',
    'try-failed, the last': '-',
    'try-failed, fatal': '-',
    timer: '-',
    lost: 'connecting 1 wasUp: new-round connect',
    refresh: 'up 0 wasUp: check-paths',
    close: 'closed 0 wasUp: stop-waiting release',
  },
  failed: {
    start: '-',
    connected: 'up 0 wasUp: stop-waiting',
    'try-failed, one more in 700': '-',
    'try-failed, the last': '-',
    'try-failed, fatal': '-',
    timer: 'connecting 4: connect',
    lost: '-',
    refresh: 'connecting 1: stop-waiting new-round connect',
    close: 'closed 3: stop-waiting release',
  },
  closed: {
    start: '-',
    connected: '-',
    'try-failed, one more in 700': '-',
    'try-failed, the last': '-',
    'try-failed, fatal': '-',
    timer: '-',
    lost: '-',
    refresh: '-',
    close: '-',
  },
};

function show({ phase, tries, wasUp, refreshed }: LinkState): string {
  return [phase, tries, ...(wasUp ? ['wasUp'] : []), ...(refreshed ? ['refreshed'] : [])].join(' ');
}

function outcome(before: LinkState, event: LinkEvent): string {
  const { state, effects } = stepLink(before, event);
  if (effects.length === 0 && show(state) === show(before)) return '-';
  const told = effects.map((effect) => (effect.type === 'wait' ? `wait:${effect.delayMs}` : effect.type));
  return `${show(state)}: ${told.join(' ')}`.trimEnd();
}

describe('the link as a state machine', () => {
  for (const [stateName, row] of Object.entries(TABLE)) {
    test.each(Object.entries(row))(`${stateName}, then %s (B5, B7)`, (eventName, expected) => {
      expect(outcome(STATES[stateName as StateName], EVENTS[eventName as EventName])).toBe(expected);
    });
  }

  test('whatever happens: one try, or one wait, or a path, or nothing; and nothing after it is closed', () => {
    const event: fc.Arbitrary<LinkEvent> = fc.constantFrom(...Object.values(EVENTS));
    fc.assert(
      fc.property(fc.array(event, { maxLength: 60 }), (events) => {
        let state = initialLink;
        let waiting = false;
        for (const next of events) {
          // A driver has a timer only while it waits.
          if (next.type === 'timer' && !waiting) continue;
          const before: LinkPhase = state.phase;
          const result = stepLink(state, next);
          state = result.state;
          if (next.type === 'timer') waiting = false;
          for (const effect of result.effects) waiting = afterEffect(effect, waiting);
          expect(count(result.effects, 'connect')).toBeLessThanOrEqual(1);
          if (count(result.effects, 'connect') === 1) expect([state.phase, waiting]).toEqual(['connecting', false]);
          if (state.phase === 'waiting') expect(waiting).toBe(true);
          if (state.phase === 'up' || state.phase === 'connecting' || state.phase === 'closed')
            expect(waiting).toBe(false);
          if (before === 'closed') expect(result.effects).toEqual([]);
          expect(count(result.effects, 'release')).toBe(before !== 'closed' && state.phase === 'closed' ? 1 : 0);
        }
      }),
      { numRuns: 2_000 },
    );
  });
});

function count(effects: readonly LinkEffect[], type: LinkEffect['type']): number {
  return effects.filter((effect) => effect.type === type).length;
}

/** `gave-up` may be followed by a slow try: the driver waits for it in the phase `failed`. */
function afterEffect({ type }: LinkEffect, waiting: boolean): boolean {
  if (type === 'wait' || type === 'gave-up') return true;
  return type === 'stop-waiting' ? false : waiting;
}
