import { describe, expect, test } from 'vitest';
import {
  type AttemptReport,
  CONNECT_TIME_BOUNDS_MS,
  errorCode,
  errorMessage,
  Events,
  isAbort,
  PathHistory,
  RaceStatistics,
  TowpathError,
} from '../src/index.ts';
import { VirtualClock } from '../src/testing.ts';

describe('path history', () => {
  test('prefers what has succeeded, and among those what was fast (A9)', () => {
    const history = new PathHistory({ clock: new VirtualClock() });
    for (let n = 0; n < 4; n++) {
      history.succeeded('lan', 30);
      history.succeeded('p2p', 300);
      history.failed('relay');
    }
    const { lan = 0, p2p = 0, relay = 0 } = history.weights(['lan', 'p2p', 'relay']);
    expect(lan).toBe(1);
    expect(p2p).toBeLessThan(lan);
    expect(relay).toBeLessThan(p2p);
  });

  test('kinds without experience are equal (A9)', () => {
    expect(new PathHistory({ clock: new VirtualClock() }).weights(['lan', 'p2p'])).toEqual({ lan: 1, p2p: 1 });
  });

  test('old experience fades (A9)', async () => {
    const clock = new VirtualClock();
    const history = new PathHistory({ clock });
    for (let n = 0; n < 10; n++) history.failed('lan');
    const fresh = history.weights(['lan', 'p2p']).lan!;
    await clock.advance(30 * 24 * 3_600_000);
    const old = history.weights(['lan', 'p2p']).lan!;
    expect(fresh).toBeLessThan(0.2);
    expect(old).toBeGreaterThan(0.9);
  });

  test('survives a round through a store', () => {
    const clock = new VirtualClock();
    const history = new PathHistory({ clock });
    history.succeeded('lan', 42);
    history.succeeded('lan', 52);
    const copy = new PathHistory({ clock }, JSON.parse(JSON.stringify(history.snapshot())));
    expect(copy.snapshot()).toEqual(history.snapshot());
    expect(copy.connectMs('lan')).toBe(45);
  });
});

describe('race statistics', () => {
  const attempt = (fields: Partial<AttemptReport>): AttemptReport => ({
    id: 'x',
    kind: 'lan',
    label: 'x',
    state: 'cancelled',
    startedAtMs: 0,
    elapsedMs: 1,
    error: undefined,
    continues: false,
    ...fields,
  });

  test('count attempts, wins, times and failures by reason, per kind, and survive a store (A10)', () => {
    const statistics = new RaceStatistics();
    const error = new TowpathError('no-answer', 'silence');
    const attempts = [
      attempt({ state: 'success', startedAtMs: 10, elapsedMs: 30 }),
      attempt({ state: 'failed', error }),
      attempt({ kind: 'p2p' }),
      attempt({ kind: 'relay', startedAtMs: undefined, state: 'cancelled' }),
    ];
    statistics.record({ elapsedMs: 40, winner: 'x', attempts });
    const copy = new RaceStatistics(JSON.parse(JSON.stringify(statistics.snapshot())));
    copy.record({ elapsedMs: 1e6, winner: 'x', attempts: [attempt({ state: 'success', elapsedMs: 1e6 })] });
    const { lan, p2p, relay } = copy.snapshot();
    expect(lan).toMatchObject({ attempts: 3, wins: 2, cancelled: 0, failures: { 'no-answer': 1 } });
    expect(lan?.connectMs.counts[CONNECT_TIME_BOUNDS_MS.indexOf(50)]).toBe(1);
    expect(lan?.connectMs.counts.at(-1)).toBe(1);
    expect(p2p).toMatchObject({ attempts: 1, cancelled: 1 });
    expect(relay).toBeUndefined();
  });

  test('hostile numbers of error codes do not grow it without limit', () => {
    const statistics = new RaceStatistics();
    const attempts = Array.from({ length: 500 }, (_, at) =>
      attempt({ state: 'failed', error: new TowpathError(`code-${at}`, 'x') }),
    );
    statistics.record({ elapsedMs: 1, winner: undefined, attempts });
    const failures = statistics.snapshot().lan?.failures ?? {};
    expect(Object.keys(failures).length).toBeLessThanOrEqual(33);
    expect(failures.other).toBeGreaterThan(400);
  });
});

describe('errors', () => {
  test('carry a code, a target and a cause, and are read from any thrown value', () => {
    const cause = new Error('first\n  second');
    const error = new TowpathError('no-answer', 'Nobody there.', { target: 'camera', cause });
    expect(error).toMatchObject({ name: 'TowpathError', code: 'no-answer', target: 'camera', cause });
    expect([errorCode(error), errorCode(Object.assign(new Error(), { code: 'EADDRINUSE' })), errorCode('x')]).toEqual([
      'no-answer',
      'EADDRINUSE',
      'unknown',
    ]);
    expect(errorMessage(cause)).toBe('first second');
    expect(errorCode(AbortSignal.abort().reason)).toBe('aborted');
    expect(isAbort(error)).toBe(false);
  });
});

describe('events', () => {
  test('reach the listeners that are there, once for `once`, and leave none behind', async () => {
    const events = new Events<{ up: number }>();
    const seen: number[] = [];
    const off = events.on('up', (value) => seen.push(value));
    const second = events.once('up', { accept: (value) => value > 1 });
    events.emit('up', 1);
    events.emit('up', 2);
    off();
    events.emit('up', 3);
    expect(await second).toBe(2);
    expect(seen).toEqual([1, 2]);
    expect(events.count('up')).toBe(0);
    const abort = new AbortController();
    const waiting = expect(events.once('up', { signal: abort.signal })).rejects.toThrow('gone');
    abort.abort(new Error('gone'));
    await waiting;
    expect(events.count('up')).toBe(0);
  });
});
