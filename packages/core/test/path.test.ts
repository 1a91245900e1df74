import { describe, expect, test } from 'vitest';
import { errorCode, errorMessage, Events, isAbort, PathHistory, TowpathError, VirtualClock } from '../src/index.ts';

describe('path history', () => {
  test('prefers what has succeeded, and among those what was fast (A9)', () => {
    const history = new PathHistory(new VirtualClock());
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

  test('ways without experience are equal (A9)', () => {
    expect(new PathHistory(new VirtualClock()).weights(['lan', 'p2p'])).toEqual({ lan: 1, p2p: 1 });
  });

  test('old experience fades (A9)', async () => {
    const clock = new VirtualClock();
    const history = new PathHistory(clock);
    for (let n = 0; n < 10; n++) history.failed('lan');
    const fresh = history.weights(['lan', 'p2p']).lan!;
    await clock.advance(30 * 24 * 3_600_000);
    const old = history.weights(['lan', 'p2p']).lan!;
    expect(fresh).toBeLessThan(0.2);
    expect(old).toBeGreaterThan(0.9);
  });

  test('survives a round through a store', () => {
    const clock = new VirtualClock();
    const history = new PathHistory(clock);
    history.succeeded('lan', 42);
    history.succeeded('lan', 52);
    const copy = new PathHistory(clock, JSON.parse(JSON.stringify(history.snapshot())));
    expect(copy.snapshot()).toEqual(history.snapshot());
    expect(copy.connectMs('lan')).toBe(45);
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
